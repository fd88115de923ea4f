"""What every test needs: one thread, no hub, no telemetry, and a home folder of its own."""

import os

# Before any library reads them.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
os.environ["HF_HUB_DISABLE_TELEMETRY"] = "1"

import pytest

from studio.home import Home


def pytest_addoption(parser):
    parser.addoption("--gpu", action="store_true", help="also run the tests that need a GPU")
    parser.addoption(
        "--comfy-real",
        action="store_true",
        help="refuse to run where the tests with a real ComfyUI would be skipped",
    )


def pytest_collection_modifyitems(config, items):
    if config.getoption("--comfy-real"):
        require_comfyui(items)
    if not config.getoption("--gpu"):
        for item in items:
            if "gpu" in item.keywords:
                item.add_marker(pytest.mark.skip(reason="needs a GPU: run pytest with --gpu"))


def require_comfyui(items):
    for item in items:
        if item.get_closest_marker("comfy") is None:
            continue
        for skipped in item.iter_markers("skipif"):
            if skipped.args[0]:
                raise pytest.UsageError(f"--comfy-real: {skipped.kwargs['reason']}")


@pytest.fixture
def home(tmp_path):
    return Home(tmp_path / "home")


@pytest.fixture(scope="session")
def demo_home(tmp_path_factory):
    """One home for all tests that run demo weights: they are built once."""
    return Home(tmp_path_factory.mktemp("demo-home"))
