"""The Modal app's containers without Modal: the page over HTTP, a worker, a script's request."""

import asyncio
import io
import subprocess
import sys
import threading
import time
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import httpx
import pytest
import uvicorn
from page_server import free_port
from PIL import Image
from worker_processes import WorkerProcesses

import app
from studio.cli_request import run_elsewhere
from studio.errors import BadInput
from studio.home import Home
from studio.host_modal import run_request
from studio.modes import MODES
from studio.production import Production
from studio.recipe_read import read_recipe
from studio.remote_work import RemoteWork, worker_home
from studio.studio import open_studio, running

ROOT = Path(app.__file__).parent
PROG = "generate"


@contextmanager
def page_container(home, workers, auth=None):
    """What `modal_app.page` makes, on a port of this machine."""
    app.prepare_gradio(home)
    from studio.page import build_page, page_app

    studio = open_studio(home, RemoteWork(home, workers), 2)

    @asynccontextmanager
    async def lifespan(_):
        with running(studio):
            yield

    served = page_app(build_page(studio), studio, lifespan=lifespan, auth=auth)
    port = free_port()
    server = uvicorn.Server(uvicorn.Config(served, port=port, log_level="error"))
    thread = threading.Thread(target=lambda: asyncio.run(server.serve()))
    thread.start()
    url = f"http://127.0.0.1:{port}"
    try:
        wait_for(lambda: server.started)
        yield url
    finally:
        server.should_exit = True
        thread.join()


@pytest.fixture(scope="module")
def container(tmp_path_factory):
    folder = tmp_path_factory.mktemp("modal")
    home = Home(folder / "my-models-volume", folder / "own disk")
    workers = WorkerProcesses(folder, "painter", 2)
    with page_container(home, workers) as url:
        yield home, url
    workers.stop()
    assert home.database_copy.exists(), "the table is on the volume when the container goes"


@pytest.fixture
def visitor(container):
    with httpx.Client(base_url=container[1], timeout=20) as client:
        client.get("/").raise_for_status()
        yield client


def wait_for(happened, seconds=30):
    deadline = time.monotonic() + seconds
    while not (value := happened()):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    return value


def submit(client, prompt):
    info = client.get("/gradio_api/info").json()["named_endpoints"]["/photo"]["parameters"]
    values = {one["parameter_name"]: one["parameter_default"] for one in info} | {"prompt": prompt}
    answer = client.post("/gradio_api/run/photo", json={"data": list(values.values())})
    answer.raise_for_status()
    return answer.json()["data"][0]


def over(client, job_id):
    job = client.get(f"/jobs/{job_id}").json()
    return None if job["live"] else job


def test_page_shows_what_a_worker_says_and_serves_its_file(container, visitor):
    job_id = submit(visitor, "a cat")
    job = wait_for(lambda: over(visitor, job_id))
    assert (job["state"], job["notes"]) == ("done", ["Painted."])
    assert visitor.get(f"/media/{job['id']}/0").content.isdigit()
    home = container[0]
    assert [path.suffix for path in home.outputs.rglob("*.*")] == [".png"]
    assert not home.root.joinpath("jobs.sqlite3").exists(), "SQLite must not work on a volume"


def test_page_waits_for_a_gpu_and_hears_a_cancel(visitor):
    jobs = [submit(visitor, "slow") for _ in range(3)]
    wait_for(lambda: visitor.get(f"/jobs/{jobs[1]}").json()["progress"])
    labels = {visitor.get(f"/jobs/{job}").json()["stateLabel"] for job in jobs}
    assert labels == {"Working", "Waiting"}
    for job in jobs:
        visitor.post(f"/jobs/{job}/cancel").raise_for_status()
        assert wait_for(lambda job=job: over(visitor, job))["state"] == "cancelled"


def test_strangers_see_neither_the_job_nor_its_traceback(container, visitor):
    job_id = submit(visitor, "break")
    job = wait_for(lambda: over(visitor, job_id))
    assert job["state"] == "failed" and job["failure"]["details"] is None
    with httpx.Client(base_url=container[1]) as stranger:
        stranger.get("/")
        assert stranger.get(f"/jobs/{job['id']}").status_code == 404


def test_page_with_a_login_asks_for_it(tmp_path):
    home = Home(tmp_path / "volume", tmp_path / "own")
    with page_container(home, None, ("me", "secret")) as url:
        assert httpx.get(f"{url}/config").status_code == 401


# The worker


def test_worker_home_reads_models_from_the_volume_and_writes_elsewhere(tmp_path):
    volume, own = tmp_path / "volume", tmp_path / "own"
    (volume / "models" / "loras").mkdir(parents=True)
    for _ in range(2):
        home = worker_home(volume, own)
    assert (home.models / "loras").is_dir()
    writes = (home.outputs, home.inputs, home.scratch, home.database, home.demo)
    assert all(place.is_relative_to(own) for place in writes)


def test_import_runners_looks_at_no_gpu():
    """A snapshot taken after PyTorch has counted no GPUs would have it count none for ever."""
    program = (
        "import sys, torch\n"
        "def look(): raise AssertionError('a GPU was looked at')\n"
        "torch.cuda.is_available = torch.cuda.device_count = look\n"
        "from studio.diffusers_engine import import_runners; import_runners()\n"
        "assert 'studio.diffusers_video' in sys.modules"
    )
    subprocess.run([sys.executable, "-c", program], cwd=ROOT, check=True, timeout=120)


# A script's request


@pytest.fixture(scope="module")
def make(demo_home):
    return Production(demo_home)


@pytest.fixture
def run(make, demo_home):
    return lambda mode, raw, files: run_request(make, demo_home, mode, raw, files)


SMALL = ("--width", "128", "--height", "128", "--preset", "fast", "--seed", "3")


def test_script_gets_the_file_and_its_path(run, tmp_path, capsys):
    target = tmp_path / "cat.png"
    arguments = ["--mode", "photo", "--prompt", "a cat", *SMALL, "-o", str(target)]
    assert run_elsewhere(arguments, run, PROG) == 0
    said = capsys.readouterr()
    assert said.out == f"{target}\n"
    assert "diffusers, weights: demo" in said.err
    assert read_recipe(target).recipe.seed == 3
    assert run_elsewhere(arguments, run, PROG) == 0
    assert capsys.readouterr().out == f"{tmp_path / 'cat_2.png'}\n", "nothing is overwritten"


def test_script_sends_its_files_and_gets_one_result_each(run, tmp_path, capsys, media):
    files = [media.path("image", 0), media.path("image", 1)]
    arguments = ["--mode", "edit", "--prompt", "winter", "--image", *files, "--preset", "fast"]
    assert run_elsewhere([*arguments, "--seed", "5", "-o", str(tmp_path)], run, PROG) == 0
    made = [Path(line) for line in capsys.readouterr().out.splitlines()]
    assert [path.name for path in made] == ["5.png", "5_2.png"]
    recipes = [read_recipe(path).recipe for path in made]
    assert [one.inputs[0].name for one in recipes] == [Path(file).name for file in files]
    Image.open(io.BytesIO(made[0].read_bytes())).verify()


def test_script_is_told_what_is_wrong_and_gets_no_file(run, tmp_path, capsys):
    arguments = ["--mode", "photo", "--prompt", "a", "--weights", "none such", "-o", str(tmp_path)]
    assert run_elsewhere(arguments, run, PROG) == 1
    assert "There are no weights called 'none such' here" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())
    missing = ["--mode", "edit", "--prompt", "a", "--image", str(tmp_path / "none.png")]
    with pytest.raises(BadInput, match="not a file"):
        run_elsewhere(missing, run, PROG)


@pytest.mark.parametrize("mode_id", MODES)
def test_script_has_the_flags_of_every_mode(mode_id, capsys):
    with pytest.raises(SystemExit) as ended:
        run_elsewhere(["--mode", mode_id, "--help"], None, PROG)
    assert ended.value.code == 0
    assert all(field.flag in capsys.readouterr().out for field in MODES[mode_id].fields[:1])


def test_script_needs_no_heavy_package():
    """It runs where `modal run` does: with what requirements-modal.txt has."""
    program = (
        "import sys; import studio.cli_request, studio.remote_work\n"
        "heavy = {'numpy', 'PIL', 'av', 'torch', 'gradio', 'huggingface_hub'} & set(sys.modules)\n"
        "sys.exit(str(heavy) if heavy else 0)"
    )
    subprocess.run([sys.executable, "-c", program], cwd=ROOT, check=True, timeout=60)
