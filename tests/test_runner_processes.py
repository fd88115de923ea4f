"""Several processes on one home, real ones that are really killed, and `run_one` beside them."""

import logging
import multiprocessing
import threading
import time
from dataclasses import replace
from pathlib import Path

import pytest
from filelock import FileLock
from runner_work import (
    PLAN,
    Painter,
    make,
    submit,
    wait_until,
    wait_until_over,
)

from studio.errors import StudioError
from studio.events import StageStarted, StepDone
from studio.home import Home, home_at
from studio.jobs import CancelOutcome, Job, JobTable
from studio.runner import ItemResult, Runner
from studio.runner_report import ItemReport

SPAWN = multiprocessing.get_context("spawn")


def run_for_ever(root: Path, began) -> None:
    home = Home(root)
    table = JobTable(home.database)
    painter = Painter(home)

    def work(job: Job, item, report: ItemReport) -> ItemResult:
        began.set()
        return painter(job, item, report)

    Runner(table, work, home).start()
    time.sleep(120)


@pytest.fixture
def elsewhere(home: Home):
    """Another process with a runner on the same home; killed at the end at the latest."""
    began = SPAWN.Event()
    process = SPAWN.Process(target=run_for_ever, args=(home.root, began), daemon=True)
    process.start()
    process.began = began
    yield process
    process.kill()
    process.join()


def test_kill_loses_no_job_and_one_call_runs_it_again(table, home, elsewhere, running):
    job, waiting = submit(table, what="for ever"), submit(table)
    assert elsewhere.began.wait(30)
    wait_until(lambda: table.get(job.id).progress.step)
    elsewhere.kill()
    elsewhere.join()
    assert table.get(job.id).state == "running"
    Runner(table, Painter(home), home).recover()
    assert table.get(job.id).state == table.get(job.id).items[0].state == "interrupted"
    assert table.get(waiting.id).state == "queued"
    table.rerun("ann", job.id)
    running(lambda job, item, report: make(home, job))
    assert wait_until_over(table, job).state == "done"
    assert wait_until_over(table, waiting).state == "done"


def test_idle_runner_notices_that_another_process_has_died(table, home, elsewhere, running):
    job = submit(table, what="for ever")
    assert elsewhere.began.wait(30)
    running(Painter(home))
    time.sleep(0.3)
    assert table.get(job.id).state == "running"
    elsewhere.kill()
    assert wait_until_over(table, job).state == "interrupted"


def test_cancel_reaches_another_process(table, home, elsewhere):
    job = submit(table, what="for ever")
    assert elsewhere.began.wait(30)
    here = Runner(table, Painter(home), home)
    assert here.cancel("ann", job.id) is CancelOutcome.STOPPING
    assert wait_until_over(table, job).state == "cancelled"


def test_run_one_waits_for_another_process_and_hears_of_its_own_job(table, home, elsewhere):
    first, mine = submit(table, what="for ever"), submit(table)
    assert elsewhere.began.wait(30)
    heard = []
    threading.Timer(0.3, table.request_cancel, ("ann", first.id)).start()
    done = Runner(table, Painter(home), home).run_one(mine.id, heard.append)
    assert done.id == mine.id and done.state == "done"
    assert heard[0] == replace(PLAN, extent=None)
    assert StageStarted in {type(event) for event in heard}


def test_run_one_runs_its_job_ahead_of_the_queue_and_passes_events_on(table, home):
    other, mine = submit(table), submit(table)
    heard = []
    done = Runner(table, Painter(home), home).run_one(mine.id, heard.append)
    assert done.state == "done"
    assert heard[:3] == [PLAN, StageStarted(0), StageStarted(1, 8)]
    assert [event.done for event in heard if isinstance(event, StepDone)] == list(range(1, 9))
    assert table.get(other.id).state == "queued"


def test_run_one_waits_for_the_lock_and_ends_when_its_job_is_cancelled(table, home):
    job = submit(table)
    lock = FileLock(home.engine_lock, thread_local=False)
    lock.acquire()
    threading.Timer(0.2, table.request_cancel, ("ann", job.id)).start()
    waited = []
    waiter = threading.Thread(
        target=lambda: waited.append(Runner(table, Painter(home), home).run_one(job.id))
    )
    waiter.start()
    waiter.join(20)
    lock.release()
    assert waited[0].state == "cancelled"


def test_run_one_passes_ctrl_c_on_and_marks_the_job(table, home):
    def work(job: Job, item, report: ItemReport) -> ItemResult:
        raise KeyboardInterrupt

    job = submit(table)
    with pytest.raises(KeyboardInterrupt):
        Runner(table, work, home).run_one(job.id)
    assert table.get(job.id).state == "interrupted"
    assert Runner(table, Painter(home), home).run_one(table.rerun("ann", job.id).id).state == "done"


def test_run_one_says_that_a_job_is_unknown(table, home):
    with pytest.raises(StudioError, match="There is no such job"):
        Runner(table, Painter(home), home).run_one("f" * 32)


def test_recover_leaves_the_job_of_a_living_process_alone(table, home, elsewhere):
    job = submit(table, what="for ever")
    assert elsewhere.began.wait(30)
    Runner(table, Painter(home), home).recover()
    assert table.get(job.id).state == "running"


def test_runner_says_that_its_folder_cannot_be_locked(tmp_path):
    (tmp_path / "home").write_text("a file")
    home = home_at(tmp_path / "home")
    with pytest.raises(StudioError, match="cannot be locked; choose a home"):
        Runner(JobTable(home.database), Painter(home), home).start()


def test_only_one_of_two_runners_works_at_a_time(table, home, running, caplog):
    busy, most = [], []

    def work(job: Job, item, report: ItemReport) -> ItemResult:
        busy.append(job.id)
        most.append(len(busy))
        time.sleep(0.02)
        busy.remove(job.id)
        return make(home, job)

    jobs = [submit(table) for _ in range(10)]
    running(work)
    running(work)
    for job in jobs:
        assert wait_until_over(table, job).state == "done"
    assert most == [1] * 10
    assert not [record for record in caplog.records if record.levelno >= logging.ERROR]
