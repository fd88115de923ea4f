"""The Ray runner with the real package: two workers on the CPU, killed and told to stop."""

import importlib.util
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import contextmanager
from pathlib import Path

import httpx
import psutil
import pytest
from page_server import free_port
from worker_processes import Painter, dying, tries_of

import app
from studio import host_ray
from studio.errors import BadInput, StudioError
from studio.home import Home
from studio.host_ray import (
    NOT_INSTALLED,
    RayWorkers,
    Worker,
    _own_home,
    ray_workers,
    share_out,
)
from studio.jobs import CancelOutcome, JobTable
from studio.recipe_read import read_recipe
from studio.remote_work import LOST, RemoteWork
from studio.runner import BEGUN_ANEW, Runner

ROOT = Path(app.__file__).parent
with_ray = pytest.mark.skipif(
    importlib.util.find_spec("ray") is None, reason="needs the package ray: requirements-ray.txt"
)

PATIENCE = 120
"""Seconds for what takes one or two where nothing else runs."""


def wait_for(happened, seconds=PATIENCE):
    deadline = time.monotonic() + seconds
    while not (value := happened()):
        assert time.monotonic() < deadline, "it has not happened"
        time.sleep(0.02)
    return value


@contextmanager
def place_for_ray(**more):
    """An environment where Ray finds the tests and leaves its files in a folder that goes."""
    before = dict(os.environ)
    # Its sockets' paths must be short.
    folder = tempfile.mkdtemp(prefix="aio-ray-")
    path = os.pathsep.join(filter(None, (os.environ.get("PYTHONPATH"), str(ROOT / "tests"))))
    os.environ.pop("RAY_ADDRESS", None)
    os.environ |= {"RAY_TMPDIR": folder, "PYTHONPATH": path, **more}
    try:
        yield
    finally:
        os.environ.clear()
        os.environ |= before
        shutil.rmtree(folder, ignore_errors=True)


def started_by(process):
    return process.children(recursive=True)


def running(processes):
    """Those that have not ended. Nobody may be there to collect one whose parent has."""
    for process in processes:
        try:
            if process.is_running() and process.status() != psutil.STATUS_ZOMBIE:
                yield process
        except psutil.NoSuchProcess:
            continue


# One Ray for all that a painter does


class Painters:
    """Two workers, a runner that has started, and what the test looks at."""

    def __init__(self, home, workers):
        self.home, self.workers = home, workers
        self.table = JobTable(home.database)
        self.runner = Runner(self.table, RemoteWork(home, workers), home, at_once=workers.count)
        self.runner.start()
        (self.folder,) = (home.scratch / "workers").iterdir()

    def ask(self, prompt):
        return self.table.submit("ann", "photo", {"prompt": prompt, "preset": "fast"}, 7, {})

    def job(self, job):
        return self.table.get(job.id)

    def over(self, job):
        wait_for(lambda: not self.job(job).is_live)
        return self.job(job)

    def tries(self, job):
        return tries_of(self.folder, job, job.items[0])

    def go(self):
        (self.folder / "go").touch()

    def stay(self):
        (self.folder / "go").unlink(missing_ok=True)


@pytest.fixture(scope="module")
def on_ray(tmp_path_factory):
    home = Home(tmp_path_factory.mktemp("ray") / "home")
    before, mine = set(started_by(psutil.Process())), set()
    with place_for_ray():
        try:
            with ray_workers(home, 2, Painter) as workers:
                studio = Painters(home, workers)
                mine |= set(started_by(psutil.Process())) - before
                yield studio
                studio.runner.stop()
        finally:
            mine |= set(started_by(psutil.Process())) - before
            wait_for(lambda: not list(running(mine)))


@pytest.fixture
def painters(on_ray):
    yield on_ray
    on_ray.go()
    for job in on_ray.table.list_for("ann", ("queued", "running")):
        on_ray.runner.cancel("ann", job.id)
        on_ray.over(job)
    on_ray.stay()


@with_ray
def test_two_workers_make_jobs_side_by_side_and_cancel_frees_both(painters):
    jobs = [painters.ask("wait"), painters.ask("wait")]
    wait_for(lambda: all(painters.tries(job) for job in jobs))
    assert len({painters.tries(job)[0] for job in jobs}) == 2
    waiting = painters.ask("a cat")
    assert painters.job(waiting).state == "queued"
    for job in jobs:
        assert painters.runner.cancel("ann", job.id) is CancelOutcome.STOPPING
    assert [painters.over(job).state for job in jobs] == ["cancelled", "cancelled"]
    made = painters.over(waiting)
    assert made.state == "done" and made.notes == ("Painted.",)
    assert made.items[0].findings == ("It is all black.",)
    assert (painters.home.root / made.outputs[0]).read_bytes().isdigit()


@with_ray
def test_job_of_a_killed_worker_is_begun_anew_and_made_once(painters):
    job = painters.ask("wait")
    wait_for(lambda: painters.tries(job))
    before = set(painters.home.outputs.rglob("*.png"))
    os.kill(painters.tries(job)[0], signal.SIGKILL)
    wait_for(lambda: len(painters.tries(job)) == 2)
    painters.go()
    made = painters.over(job)
    assert (made.state, made.losses) == ("done", 1)
    assert BEGUN_ANEW in made.notes
    maker = painters.tries(job)[1]
    assert (painters.home.root / made.outputs[0]).read_bytes() == str(maker).encode()
    after = set(painters.home.outputs.rglob("*.png"))
    assert after - before == {painters.home.root / made.outputs[0]}
    assert not list(painters.home.scratch.glob(".partial-*"))


@with_ray
def test_job_that_loses_two_workers_fails_and_both_are_replaced(painters):
    job = painters.over(painters.ask("die"))
    assert (job.state, job.failure.sentence) == ("failed", LOST)
    assert len(painters.tries(job)) == 2
    after = [painters.ask("wait"), painters.ask("wait")]
    wait_for(lambda: all(painters.tries(one) for one in after))
    painters.go()
    assert [painters.over(one).state for one in after] == ["done", "done"]
    assert not {painters.tries(one)[0] for one in after} & set(painters.tries(job))


@with_ray
def test_workers_that_are_killed_while_they_are_idle_cost_no_job_a_try(painters):
    jobs = [painters.ask("wait"), painters.ask("wait")]
    wait_for(lambda: all(painters.tries(job) for job in jobs))
    painters.go()
    for job in jobs:
        painters.over(job)
        os.kill(painters.tries(job)[0], signal.SIGKILL)
    made = [painters.over(painters.ask("a cat")) for _ in range(2)]
    assert [(job.state, job.losses) for job in made] == [("done", 0), ("done", 0)]


@with_ray
@pytest.mark.parametrize(
    ("resources", "work_at", "sentence"),
    [
        ({"num_cpus": 0}, dying, "A worker could not be started: every machine needs"),
        ({"num_cpus": 1000}, Painter, "Only 0 of 1 workers could be started"),
    ],
)
def test_workers_that_do_not_start_are_said(painters, monkeypatch, resources, work_at, sentence):
    if work_at is Painter:
        monkeypatch.setattr(host_ray, "START_SECONDS", 0.5)
    workers = RayWorkers(painters.workers._ray, painters.home, 1, resources, work_at)
    with pytest.raises(StudioError, match=sentence):
        workers.wait_until_ready()
    workers.close()


# Without Ray


def test_worker_takes_a_folder_that_no_living_one_has_and_clears_it(tmp_path):
    home = Home(tmp_path / "home")
    first, lock = _own_home(home)
    second, _ = _own_home(home)
    assert first.root != second.root
    (first.scratch / "half").mkdir(parents=True)
    (first.demo / "kept").mkdir(parents=True)
    lock.release()
    again, _ = _own_home(home)
    assert again.root == first.root
    assert not again.scratch.exists() and (again.demo / "kept").exists()


def test_worker_says_which_folder_its_machine_lacks(tmp_path):
    worker = Worker(Home(tmp_path / "home"), {}, Painter)
    with pytest.raises(StudioError, match=r"folder \S+models is not on the machine"):
        worker.ready([tmp_path / "models"])


@pytest.mark.parametrize(
    ("machines", "asked", "count", "each"),
    [
        ([{"CPU": 4.0}], None, 1, {"num_cpus": 1}),
        ([{"CPU": 2.0}], 2, 2, {"num_cpus": 1}),
        ([{"CPU": 32.0, "GPU": 4.0}], None, 4, {"num_gpus": 1, "num_cpus": 8}),
        ([{"CPU": 32.0, "GPU": 4.0}], 1, 1, {"num_gpus": 1, "num_cpus": 8}),
        ([{"CPU": 64.0, "GPU": 1.0}, {"CPU": 8.0, "GPU": 8.0}], None, 9, {"num_cpus": 1}),
        ([{"CPU": 16.0}, {"CPU": 8.0, "GPU": 2.0}], None, 2, {"num_cpus": 4}),
        ([{"CPU": 1.0, "GPU": 2.0}], None, 2, {"num_cpus": 0}),
    ],
)
def test_share_out_gives_each_gpu_a_worker_and_its_part_of_the_cpus(machines, asked, count, each):
    found, resources = share_out(machines, asked)
    assert found == count
    gpu = {"num_gpus": 1} if any("GPU" in machine for machine in machines) else {}
    assert resources == {**gpu, **each}


@pytest.mark.parametrize(("machine", "asked"), [({"CPU": 2.0}, 3), ({"GPU": 2.0}, 3), ({}, 0)])
def test_share_out_refuses_more_workers_than_there_is_room_for(machine, asked):
    with pytest.raises(BadInput, match="give '--workers' a number from 1 to"):
        share_out([machine], asked)


def test_app_says_how_to_install_ray_and_that_workers_need_it(tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "ray", None)
    where = ["--home", str(tmp_path), "--port", str(free_port())]
    assert app.main([*where, "--runner", "ray"]) == 2
    assert NOT_INSTALLED in capsys.readouterr().err
    assert app.main([*where, "--workers", "2"]) == 2
    assert "'--workers' is for '--runner ray'" in capsys.readouterr().err


def test_local_runner_imports_no_ray():
    program = (
        "import sys; import app, studio.studio, studio.host_ray; sys.exit('ray' in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", program], cwd=ROOT, check=True, timeout=PATIENCE)


# The page, with demo weights


@contextmanager
def page_on_ray(home):
    """`python app.py --runner ray` with two workers, and its address."""
    command = [sys.executable, "app.py", "--runner", "ray", "--workers", "2"]
    where = ["--home", str(home.root), "--port", str(free_port())]
    process = subprocess.Popen([*command, *where], cwd=ROOT, stdout=subprocess.PIPE, text=True)
    said = []

    def listen():
        said.extend(iter(process.stdout.readline, ""))

    listener = threading.Thread(target=listen, daemon=True)
    listener.start()
    started = []
    try:
        wait_for(lambda: any(line.startswith("AIO Studio is at ") for line in said))
        started = started_by(psutil.Process(process.pid))
        yield process, next(word for line in said for word in line.split() if "://" in word)
    finally:
        if process.poll() is None:
            started += started_by(psutil.Process(process.pid))
            process.terminate()
        status = ended(process)
        listener.join()
        process.stdout.close()
        wait_for(lambda: not list(running(started)))
    assert status == 0


def ended(process):
    try:
        return process.wait(PATIENCE)
    finally:
        process.kill()


def workers_of(process):
    children = started_by(psutil.Process(process.pid))
    return [one for one in running(children) if " ".join(one.cmdline()).startswith("ray::Worker")]


def ask_for_picture(client, seed):
    info = client.get("/gradio_api/info").json()["named_endpoints"]["/photo"]["parameters"]
    values = {one["parameter_name"]: one["parameter_default"] for one in info}
    values |= {"prompt": "a cat", "seed": seed, "width": 128, "height": 128, "preset": "fast"}
    answer = client.post("/gradio_api/run/photo", json={"data": list(values.values())})
    return answer.json()["data"][0]


@with_ray
def test_page_on_two_workers_makes_all_its_jobs_though_one_is_killed(tmp_path):
    home = Home(tmp_path / "home")
    with place_for_ray(), page_on_ray(home) as (process, url), httpx.Client(base_url=url) as client:
        client.get("/").raise_for_status()
        ids = [ask_for_picture(client, seed) for seed in (1, 2, 3)]

        def jobs():
            return [client.get(f"/jobs/{job_id}").json() for job_id in ids]

        wait_for(lambda: [job["state"] for job in jobs()[:2]] == ["running", "running"])
        workers_of(process)[0].kill()
        wait_for(lambda: not any(job["live"] for job in jobs()))
        ended = jobs()
    assert [job["state"] for job in ended] == ["done"] * 3
    assert [BEGUN_ANEW in job["notes"] for job in ended].count(True) == 1
    made = home.outputs.rglob("*.png")
    assert sorted(read_recipe(path).recipe.seed for path in made) == [1, 2, 3]
