"""Jobs whose items are made in other processes: what they say arrives, and so does the file."""

import time
from contextlib import contextmanager

import pytest
from requests_of_modes import raw_request
from worker_processes import WorkerProcesses, tries_of

from studio.errors import EngineFailed
from studio.events import Note, PreviewReady, StageStarted, StepDone
from studio.jobs import CancelOutcome, JobTable
from studio.recipe_read import read_recipe
from studio.remote_work import LOST, RemoteWork, _inputs_of
from studio.runner import BEGUN_ANEW, Planned, Runner
from studio.submission import submit


@contextmanager
def remote_studio(home, folder, kind, count=1):
    workers = WorkerProcesses(folder, kind, count)
    table = JobTable(home.database)
    runner = Runner(table, RemoteWork(home, workers), home, at_once=count)
    try:
        yield table, runner
    finally:
        runner.stop()
        workers.stop()


@pytest.fixture
def painters(home, tmp_path):
    with remote_studio(home, tmp_path / "workers", "painter", 2) as studio:
        yield studio


@pytest.fixture(scope="module")
def real(tmp_path_factory):
    """A page's home, and one warm worker with demo weights for all tests."""
    from studio.home import Home

    folder = tmp_path_factory.mktemp("remote")
    home = Home(folder / "page")
    with remote_studio(home, folder, "production") as (table, runner):
        yield home, table, runner


def ask(table, prompt):
    return table.submit("ann", "photo", {"prompt": prompt, "preset": "fast"}, 7, {})


def files_below(folder):
    return {path for path in folder.rglob("*") if path.is_file()}


def wait_for(happened, seconds=60):
    deadline = time.monotonic() + seconds
    while not happened():
        assert time.monotonic() < deadline
        time.sleep(0.01)


# With demo weights


def test_production_on_a_worker_makes_the_same_file_with_its_recipe(real):
    home, table, runner = real
    raw = {"prompt": "a red circle", "seed": 1, "width": 128, "height": 128, "preset": "fast"}
    heard = []
    job = runner.run_one(submit(table, home, "ann", "photo", raw).id, heard.append)
    assert job.state == "done", job.failure
    path = home.root / job.outputs[0]
    recipe = read_recipe(path).recipe
    assert (recipe.mode, recipe.seed, recipe.demo) == ("photo", 1, True)
    assert recipe.timings, "the worker's own clock"
    assert (job.items[0].engine, job.items[0].weights) == ("diffusers", "demo")
    assert job.items[0].details["width"] == 128
    plans = [event for event in heard if isinstance(event, Planned)]
    assert [plan.engine for plan in plans] == ["", "diffusers"]
    for kind in (StageStarted, StepDone, PreviewReady):
        assert any(isinstance(event, kind) for event in heard), kind
    assert job.timings["worker"] > 0
    assert not list((home.root.parent / "worker 0" / "outputs").rglob("*.png"))
    assert not (home.root.parent / "worker 0" / "jobs.sqlite3").exists()


def test_worker_gets_the_files_that_its_item_is_made_of(real, media):
    home, table, runner = real
    raw = raw_request("edit", media, preset="fast")
    raw["image"] = [media.path("image", 0), media.path("image", 1)]
    job = submit(table, home, "ann", "edit", raw)
    assert [len(_inputs_of(home, job, item)) for item in job.items] == [1, 1]
    job = runner.run_one(job.id)
    assert [item.state for item in job.items] == ["done", "done"], job.failure
    for item in job.items:
        recipe = read_recipe(home.root / item.output).recipe
        assert [one.sha256 for one in recipe.inputs] == [item.source.sha256]


def test_worker_says_what_the_user_is_told_of_a_bad_request(real):
    _, table, runner = real
    job = table.submit("ann", "photo", {"prompt": "a", "weights": "none such"}, 1, {})
    failed = runner.run_one(job.id)
    assert failed.failure.kind == "BadInput"
    assert failed.failure.sentence.startswith("There are no weights called 'none such' here")


# With a painter that does what the prompt says


def test_what_a_worker_says_is_in_the_row(painters, home):
    table, runner = painters
    job = runner.run_one(ask(table, "a cat").id)
    item = job.items[0]
    assert (job.state, job.notes, item.findings) == ("done", ("Painted.",), ("It is all black.",))
    assert item.output.endswith("_photo_7.png")
    assert (home.root / item.output).read_bytes().isdigit()


def test_failure_of_a_worker_keeps_its_sentence_stage_and_traceback(painters):
    table, runner = painters
    failure = runner.run_one(ask(table, "fail").id).failure
    assert failure.sentence == "It cannot be painted: choose a smaller size."
    assert (failure.kind, failure.stage) == ("EngineFailed", "Sampling")
    assert "worker_processes.py" in failure.details
    failure = runner.run_one(ask(table, "break").id).failure
    assert failure.kind == "Unexpected"
    assert "ZeroDivisionError: in the worker" in failure.details


def test_job_of_a_worker_that_dies_is_begun_anew_once(painters, home, tmp_path):
    table, runner = painters
    job = runner.run_one(ask(table, "die once").id)
    assert (job.state, job.losses, job.failure) == ("done", 1, None)
    assert BEGUN_ANEW in job.notes
    first, second = tries_of(tmp_path / "workers", job, job.items[0])
    assert (home.root / job.outputs[0]).read_bytes() == str(second).encode() != str(first).encode()
    assert files_below(home.outputs) == {home.root / job.outputs[0]}
    assert not files_below(home.scratch), "no half file is left"


def test_job_that_loses_two_workers_fails_and_no_other_does(painters, tmp_path):
    table, runner = painters
    job = runner.run_one(ask(table, "die").id)
    assert (job.failure.sentence, job.failure.kind) == (LOST, "WorkerLost")
    assert len(tries_of(tmp_path / "workers", job, job.items[0])) == 2
    assert runner.run_one(ask(table, "a cat").id).state == "done"
    again = runner.run_one(table.rerun("ann", job.id).id)
    assert again.state == "failed"
    assert len(tries_of(tmp_path / "workers", job, job.items[0])) == 4, "a rerun has both tries"


def test_items_that_were_made_before_a_worker_died_are_not_made_again(
    painters, home, tmp_path, media
):
    table, runner = painters
    raw = raw_request("edit", media, prompt="die once")
    raw["image"] = [media.path("image", 0), media.path("image", 1)]
    job = runner.run_one(submit(table, home, "ann", "edit", raw).id)
    assert [item.state for item in job.items] == ["done", "done"]
    tries = [len(tries_of(tmp_path / "workers", job, item)) for item in job.items]
    assert tries == [1, 2]
    assert files_below(home.outputs) == {home.root / output for output in job.outputs}


def test_error_of_the_studio_on_the_way_to_a_worker_is_no_loss(home):
    class Refusing:
        def make(self, order):
            raise EngineFailed("It took too long: choose a smaller size.")
            yield

        def cancel(self, order_id):
            raise AssertionError("nothing is there to be told to stop")

    table = JobTable(home.database)
    job = Runner(table, RemoteWork(home, Refusing()), home).run_one(ask(table, "a cat").id)
    assert (job.failure.kind, job.losses) == ("EngineFailed", 0)
    assert job.failure.sentence == "It took too long: choose a smaller size."


def test_cancel_reaches_the_worker_and_frees_it(painters, home):
    table, runner = painters
    runner.start()
    jobs = [ask(table, "slow") for _ in range(2)]
    for job in jobs:
        wait_for(lambda job=job: table.get(job.id).progress.step > 3)
    begun = time.monotonic()
    for job in jobs:
        assert runner.cancel("ann", job.id) is CancelOutcome.STOPPING
        wait_for(lambda job=job: not table.get(job.id).is_live)
    assert time.monotonic() - begun < 1
    # Both workers were busy for ten seconds; this one would wait for them.
    after = ask(table, "a cat")
    wait_for(lambda: not table.get(after.id).is_live)
    assert time.monotonic() - begun < 3
    states = [table.get(job.id).state for job in (*jobs, after)]
    assert states == ["cancelled", "cancelled", "done"]


def test_stop_interrupts_what_a_worker_makes(painters):
    table, runner = painters
    runner.start()
    job = ask(table, "slow")
    wait_for(lambda: table.get(job.id).progress.step > 3)
    assert runner.stop()
    assert table.get(job.id).state == "interrupted"


def test_workers_make_jobs_side_by_side(painters, home):
    table, runner = painters
    runner.start()
    jobs = [ask(table, f"cat {number}") for number in range(6)]
    wait_for(lambda: not any(table.get(job.id).is_live for job in jobs))
    made_by = {(home.root / table.get(job.id).outputs[0]).read_bytes() for job in jobs}
    assert len(made_by) == 2


def test_note_is_heard_once(painters):
    table, runner = painters
    heard = []
    runner.run_one(ask(table, "a cat").id, heard.append)
    assert [event for event in heard if isinstance(event, Note)] == [Note("Painted.")]
