"""`modal_app.py` with the real modal package and no account: what is declared, and what runs."""

import asyncio
import importlib.util
import os
import shutil
import subprocess
import sys
import threading
import time
from pathlib import Path
from types import SimpleNamespace

import httpx
import pytest
from page_server import free_port

modal = pytest.importorskip("modal", reason="needs the package modal: requirements-modal.txt")

ROOT = Path(__file__).parent.parent
FILE = ROOT / "modal_app.py"
PARAMETERS = (
    "AIO_MODAL_GPU",
    "AIO_MODAL_SCALEDOWN",
    "AIO_MODAL_MAX_WORKERS",
    "AIO_MODAL_VOLUME",
    "AIO_MODAL_AUTH",
)


class Declared:
    """`modal_app` as imported with some parameters, and what its decorators were given."""

    def __init__(self, patch, **parameters):
        self.given = {}
        for name in PARAMETERS:
            patch.delenv(name, raising=False)
        for name, value in parameters.items():
            patch.setenv(name, value)
        self._record(patch, "cls")
        self._record(patch, "function")
        spec = importlib.util.spec_from_file_location("modal_app", FILE)
        self.module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(self.module)

    def _record(self, patch, method):
        real = getattr(modal.App, method)

        def recording(app, **given):
            decorate = real(app, **given)

            def decorated(what):
                made = decorate(what)
                self.given[getattr(what, "__name__", "page")] = given
                return made

            return decorated

        patch.setattr(modal.App, method, recording)


@pytest.fixture
def declared(monkeypatch):
    return lambda **parameters: Declared(monkeypatch, **parameters)


def test_app_has_a_page_and_workers_and_scripts_start_no_page(declared):
    module = declared().module
    deployed, scripts = module.app._local_state, module.scripts._local_state
    assert module.app.name == "aio-studio"
    assert set(deployed.functions) == {"Worker.*", "page"}
    assert deployed.web_endpoints == ["page"]
    assert set(scripts.functions) == {"fetch"}
    assert set(scripts.local_entrypoints) == {"generate"}
    # A web function that stays would start with every `modal run`, on the same volume.
    assert not scripts.web_endpoints


def test_deploy_and_run_choose_the_app_that_is_meant():
    """As `modal deploy` and `modal run` find them in the file."""
    from modal.cli.import_refs import import_and_filter, import_app_from_ref, parse_import_ref

    found = import_app_from_ref(parse_import_ref(str(FILE)), base_cmd="modal deploy")
    assert found.name == "aio-studio"
    runnable, *_ = import_and_filter(
        parse_import_ref(f"{FILE}::generate"), base_cmd="modal run", accept_local_entrypoint=True
    )
    assert runnable.app.name == "aio-studio-scripts"


def test_worker_has_a_gpu_the_volume_a_snapshot_and_limits(declared):
    app = declared(
        AIO_MODAL_GPU="H100,A100-80GB",
        AIO_MODAL_SCALEDOWN="60",
        AIO_MODAL_MAX_WORKERS="5",
        AIO_MODAL_VOLUME="another",
    )
    given, module = app.given["Worker"], app.module
    assert given["gpu"] == ["H100", "A100-80GB"]
    assert given["scaledown_window"] == 60
    assert given["max_containers"] == 5
    assert given["enable_memory_snapshot"] is True
    assert given["volumes"] == {module.MOUNT: module.volume}
    spec = module.Worker._get_class_service_function()._spec_
    assert spec.gpus == ["H100", "A100-80GB"] and module.volume.name == "another"


def test_page_is_one_container_without_a_gpu_that_stays(declared):
    given = declared().given["page"]
    assert (given["min_containers"], given["max_containers"]) == (1, 1)
    assert "gpu" not in given
    module = declared().module
    assert module.page._spec_.volumes.keys() == {"/mnt/my-models-volume"}
    assert "AIO_MODAL_AUTH" in repr(module.page._spec_.secrets)
    assert "huggingface-secret" in repr(module.fetch._spec_.secrets)


def test_container_reads_the_parameters_that_it_needs_from_its_image(declared, monkeypatch):
    given = {}
    real = modal.Image.env

    def env(image, values):
        given.update(values)
        return real(image, values)

    monkeypatch.setattr(modal.Image, "env", env)
    declared(AIO_MODAL_MAX_WORKERS="7", AIO_MODAL_VOLUME="another")
    assert given["AIO_MODAL_MAX_WORKERS"] == "7"
    assert given["AIO_MODAL_VOLUME"] == "another"
    assert given["HF_HOME"] == "/mnt/my-models-volume/huggingface"
    assert given["AIO_COMFYUI"] == "/opt/aio/comfyui"


def test_everything_that_the_image_is_made_of_is_in_the_repository(declared, monkeypatch):
    """Modal itself looks for these only when the app is deployed."""
    taken = []
    for method in ("add_local_file", "add_local_dir", "pip_install_from_requirements"):
        real = getattr(modal.Image, method)

        def taking(image, path, *more, real=real, **given):
            taken.append(Path(path))
            return real(image, path, *more, **given)

        monkeypatch.setattr(modal.Image, method, taking)
    declared()
    assert {path.name for path in taken} >= {"requirements.txt", "constraints.txt", "workflows"}
    assert all(path.exists() for path in taken)


def test_comfyui_is_installed_by_the_modules_that_its_layer_has(declared, tmp_path):
    """Only their imports: the installation itself needs the network."""
    module = declared().module
    (tmp_path / "studio").mkdir()
    for path in (ROOT / "studio").iterdir():
        if not module.is_no_installer(path):
            shutil.copy(path, tmp_path / "studio")
    imports = module.INSTALL_COMFYUI.rpartition(";")[0]
    subprocess.run([sys.executable, "-c", imports], cwd=tmp_path, check=True, timeout=60)


@pytest.mark.parametrize("entry", ["generate", "fetch"])
def test_modal_run_finds_the_entry(entry, tmp_path):
    environ = {**os.environ, "HOME": str(tmp_path)}
    command = [sys.executable, "-m", "modal", "run", f"{FILE}::{entry}", "--help"]
    said = subprocess.check_output(command, cwd=tmp_path, env=environ, text=True, timeout=120)
    assert f"modal_app.py::{entry}" in said


# What runs in the containers


class Volume:
    """A folder that is there already; counts what it is told."""

    def __init__(self):
        self.reloads = self.commits = 0

    def reload(self):
        self.reloads += 1

    def commit(self):
        self.commits += 1


class Flags(dict):
    """`modal.Dict`, as far as it is used."""

    contains = dict.__contains__
    put = dict.__setitem__


@pytest.fixture
def containers(declared, monkeypatch, tmp_path, demo_home):
    """The module as containers see it: its volume is a folder, and nothing goes over a network."""
    module = declared().module
    mount = tmp_path / "mnt" / "my-models-volume"
    mount.mkdir(parents=True)
    monkeypatch.setattr(module, "MOUNT", str(mount))
    monkeypatch.setattr(module, "volume", Volume())
    monkeypatch.setattr(module, "cancelled", Flags())
    monkeypatch.setenv("MODAL_IS_REMOTE", "1")
    monkeypatch.setenv("HOME", str(tmp_path / "root"))
    # Built once for all tests.
    (tmp_path / "root" / "aio-studio").mkdir(parents=True)
    (tmp_path / "root" / "aio-studio" / "demo").symlink_to(demo_home.demo)
    demo_home.demo.mkdir(parents=True, exist_ok=True)
    return module


def wait_for(happened, seconds=60):
    deadline = time.monotonic() + seconds
    while not (value := happened()):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    return value


def test_script_runs_on_a_worker_with_both_its_hooks(containers, tmp_path, monkeypatch, capsys):
    worker = containers.Worker()
    run = SimpleNamespace(remote_gen=worker.run.local)
    deployed = {("aio-studio", "Worker"): lambda: SimpleNamespace(run=run)}
    found = SimpleNamespace(from_name=lambda *name: deployed[name])
    monkeypatch.setattr(modal, "Cls", found)
    entry = containers.scripts._local_state.local_entrypoints["generate"].info.raw_f
    size = ("--width", "128", "--height", "128", "--preset", "fast")
    entry("--mode", "photo", "--prompt", "a cat", *size, "-o", str(tmp_path / "cat.png"))
    assert capsys.readouterr().out == f"{tmp_path / 'cat.png'}\n"
    assert "studio.diffusers_video" in sys.modules, "the hook of the snapshot has run"
    assert containers.volume.reloads == 1
    assert not list(Path(containers.MOUNT).rglob("*.*")), "a worker writes nothing to the volume"
    with pytest.raises(SystemExit) as ended:
        entry("--mode", "edit", "--prompt", "a", "--image", "none.png")
    assert ended.value.code == 2


def test_page_hands_its_job_to_a_worker_and_keeps_the_file_on_the_volume(containers, monkeypatch):
    import uvicorn

    worker = containers.Worker()
    monkeypatch.setattr(containers.GpuWorkers, "make", lambda self, order: worker.make.local(order))
    port = free_port()
    server = uvicorn.Server(uvicorn.Config(containers.page.local(), port=port, log_level="error"))
    thread = threading.Thread(target=lambda: asyncio.run(server.serve()))
    thread.start()
    try:
        wait_for(lambda: server.started)
        job = _made_by_the_page(f"http://127.0.0.1:{port}")
    finally:
        server.should_exit = True
        thread.join()
    assert job["state"] == "done", job["failure"]
    mount = Path(containers.MOUNT)
    assert len(list((mount / "outputs").rglob("*.png"))) == 1
    assert (mount / "jobs-copy.sqlite3").is_file() and not (mount / "jobs.sqlite3").exists()
    assert containers.volume.commits > 0


def _made_by_the_page(url):
    with httpx.Client(base_url=url, timeout=30) as client:
        client.get("/").raise_for_status()
        info = client.get("/gradio_api/info").json()["named_endpoints"]["/photo"]["parameters"]
        values = {one["parameter_name"]: one["parameter_default"] for one in info}
        values |= {"prompt": "a cat", "width": 128, "height": 128, "preset": "fast"}
        answer = client.post("/gradio_api/run/photo", json={"data": list(values.values())})
        job_id = answer.json()["data"][0]
        wait_for(lambda: not client.get(f"/jobs/{job_id}").json()["live"])
        return client.get(f"/jobs/{job_id}").json()


def test_cancel_sets_the_flag_that_the_worker_looks_at(containers, monkeypatch):
    asked = []
    monkeypatch.setattr("studio.remote_work.serve", lambda *given: asked.append(given[3]) or [])
    worker = containers.Worker()
    order = type("Order", (), {"id": "abc"})()
    list(worker.make.local(order))
    assert not asked[0]()
    containers.GpuWorkers().cancel("abc")
    assert asked[0]()


def test_commit_says_plainly_that_the_volume_refuses(containers, monkeypatch):
    from studio.errors import StudioError

    def refuse():
        raise modal.exception.Error("away")

    monkeypatch.setattr(containers.volume, "commit", refuse)
    with pytest.raises(StudioError, match="could not keep the files"):
        containers.commit()
