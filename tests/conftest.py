"""What every test needs: one thread, no hub, no telemetry, and a home folder of its own."""

import os
import sys
import sysconfig
import tempfile

# Before any library reads them. The user's own models have no part in the tests.
os.environ["HF_HOME"] = tempfile.mkdtemp(prefix="aio-studio-hub-")
os.environ.pop("HF_HUB_CACHE", None)
os.environ.pop("AIO_MODELS", None)
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
os.environ["HF_HUB_DISABLE_TELEMETRY"] = "1"

# It looks for ComfyUI's requirements before those that cannot be loaded are hidden.
import comfy_here
import page_visit
import pytest
from comfy_runs import ComfyRuns
from requests_of_modes import Media

from studio.home import Home
from studio.jobs import JobTable
from studio.runner import Runner
from studio.torch_companions import hide_broken_companions

# Test modules import transformers, which one that was built for another torch takes down.
hide_broken_companions()


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


@pytest.fixture(autouse=True)
def turn(request, tmp_path_factory):
    """Tests that measure are run alone, though two processes share the work.

    Whoever is to be alone holds the gate, where the others pass, and waits until they are done.
    """
    if "PYTEST_XDIST_WORKER" not in os.environ:
        yield
        return
    import fcntl  # Windows has none

    folder = tmp_path_factory.getbasetemp().parent
    alone = request.node.get_closest_marker("alone") is not None
    with (folder / "gate.lock").open("a") as gate, (folder / "turn.lock").open("a") as lock:
        fcntl.flock(gate, fcntl.LOCK_EX)
        if not alone:
            fcntl.flock(gate, fcntl.LOCK_UN)
        fcntl.flock(lock, fcntl.LOCK_EX if alone else fcntl.LOCK_SH)
        yield


@pytest.fixture
def home(tmp_path):
    return Home(tmp_path / "home")


@pytest.fixture
def table(home):
    return JobTable(home.database)


@pytest.fixture
def running(table, home):
    """Starts a runner with the given work; every runner is stopped at the end."""
    runners = []

    def start(work):
        runners.append(Runner(table, work, home))
        runners[-1].start()
        return runners[-1]

    yield start
    for runner in runners:
        runner.stop()


@pytest.fixture(scope="session")
def demo_home(tmp_path_factory):
    """One home for all tests that run demo weights: they are built once."""
    return Home(tmp_path_factory.mktemp("demo-home"))


@pytest.fixture(scope="module")
def comfyui_named():
    """AIO_COMFYUI names the ComfyUI that was found, for as long as a module's tests run.

    Gives what undoes it, for more that is to last as long.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AIO_COMFYUI", str(comfy_here.PLACE))
        yield patch


@pytest.fixture(scope="session")
def started_comfyui(tmp_path_factory, demo_home):
    """The one ComfyUI that this process can hold, with a home of its own."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AIO_COMFYUI", str(comfy_here.PLACE))
        return comfy_here.start(tmp_path_factory.mktemp("comfy") / "home", demo_home)


@pytest.fixture(scope="module")
def comfy_home(comfyui_named, started_comfyui):
    return started_comfyui[0]


@pytest.fixture(scope="module")
def comfy_engine(comfyui_named, started_comfyui):
    from studio.comfy_boot import boot

    home, engine = started_comfyui
    # Its folders may be those of another module's home by now.
    boot(home)
    return engine


@pytest.fixture(scope="session")
def media(tmp_path_factory):
    """Two different files of every kind."""
    return Media(tmp_path_factory.mktemp("media"))


@pytest.fixture
def runs(comfy_home, comfy_engine, media, tmp_path):
    return ComfyRuns(comfy_home, comfy_engine, media, tmp_path)


@pytest.fixture
def hub(tmp_path, monkeypatch):
    """A Hub on loopback, and huggingface_hub's cache in `tmp_path / "cache"`."""
    from local_hub import LocalHub, connected

    with connected(LocalHub(), tmp_path / "cache", monkeypatch) as started:
        yield started


@pytest.fixture
def site(tmp_path, monkeypatch):
    """The only packages that are installed: PyTorch, and what a test adds."""
    from comfy_origin import Site

    folder = tmp_path / "site"
    folder.mkdir()
    paths = [str(folder), sysconfig.get_path("stdlib"), sysconfig.get_path("platstdlib")]
    monkeypatch.setattr(sys, "path", paths)
    found = Site(folder)
    found.add("torch", "2.13.0+cpu")
    return found


@pytest.fixture(scope="module")
def chromium():
    # No longer than a module: its event loop would stand in the way of ComfyUI's.
    with page_visit.started_chromium() as browser:
        yield browser


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """A page for the tests of one module."""
    from page_server import Server

    started = Server(Home(tmp_path_factory.mktemp("page-home")))
    yield started
    started.stop()


@pytest.fixture
def slow(server):
    """Jobs with "slow" in their prompt wait; calling this lets them end."""
    yield server.work.go_on.set
    server.end_slow_jobs()


@pytest.fixture
def visitor(server):
    with server.visitor() as client:
        yield client
