"""Jobs side by side in one process, and turns between processes."""

import threading
import time
from contextlib import ExitStack

import pytest

from studio.errors import StudioError
from studio.events import StepDone
from studio.jobs import JobTable
from studio.runner import ItemResult, Runner
from studio.runner_turns import Turns


def turns(path, at_once=1, on_first=lambda: None):
    return Turns(path, at_once, on_first)


def wait_for(happened, seconds=10):
    deadline = time.monotonic() + seconds
    while not happened():
        assert time.monotonic() < deadline
        time.sleep(0.005)


def test_turns_of_a_process_are_as_many_as_allowed(tmp_path):
    seats = turns(tmp_path / "lock", at_once=2)
    with seats.turn() as first, seats.turn() as second, seats.turn() as third:
        assert (first, second, third) == (True, True, False)
    with seats.turn() as again:
        assert again


def test_turn_keeps_other_processes_out_until_the_last_has_left(tmp_path):
    mine, others = turns(tmp_path / "lock", at_once=2), turns(tmp_path / "lock")
    with ExitStack() as last:
        with mine.turn():
            last.enter_context(mine.turn())
        with others.turn() as theirs:
            assert not theirs
    with others.turn() as theirs:
        assert theirs


def test_turn_is_left_by_another_thread_than_took_the_lock(tmp_path):
    mine, others = turns(tmp_path / "lock", at_once=2), turns(tmp_path / "lock")
    left = threading.Event()

    def first():
        with mine.turn():
            left.wait(10)

    thread = threading.Thread(target=first)
    thread.start()
    wait_for(lambda: mine._taken)
    with mine.turn():
        left.set()
        thread.join()
    with others.turn() as theirs:
        assert theirs


def test_on_first_is_called_once_and_its_failure_gives_the_lock_back(tmp_path):
    calls = []
    seats = turns(tmp_path / "lock", 2, lambda: calls.append(1))
    with seats.turn(), seats.turn():
        assert len(calls) == 1

    def fail():
        raise StudioError("The table is closed.")

    failing = turns(tmp_path / "lock", 1, fail)
    with pytest.raises(StudioError), failing.turn():
        pass
    with seats.turn() as mine:
        assert mine


def test_runner_runs_two_jobs_side_by_side_and_a_third_after_them(home):
    table, together, go_on = JobTable(home.database), [], threading.Event()

    def work(job, item, report):
        together.append(job.id)
        while not go_on.wait(0.01):
            report(StepDone(1, 2))
        return ItemResult(home.outputs / f"{job.id}.png")

    jobs = [table.submit("ann", "photo", {"prompt": "a"}, 1, {}) for _ in range(3)]
    runner = Runner(table, work, home, at_once=2)
    runner.start()
    try:
        wait_for(lambda: len(together) == 2)
        time.sleep(0.1)
        states = [table.get(job.id).state for job in jobs]
        assert states == ["running", "running", "queued"]
        runner.cancel("ann", jobs[0].id)
        wait_for(lambda: len(together) == 3)
        assert table.get(jobs[1].id).state == "running"
        go_on.set()
        wait_for(lambda: not any(table.get(job.id).is_live for job in jobs))
    finally:
        runner.stop()
    assert [table.get(job.id).state for job in jobs] == ["cancelled", "done", "done"]
