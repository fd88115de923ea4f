"""A runner whose work loses its worker."""

from collections.abc import Callable

from runner_work import PLAN, make, submit

from studio.errors import WorkerLost
from studio.events import StageStarted
from studio.home import Home
from studio.jobs import Job, JobTable
from studio.runner import BEGUN_ANEW, ItemResult, Runner


def lose(times: int, home: Home, before: Callable[[], object] = lambda: None):
    """Work that loses its first `times` workers; `before` runs ahead of each loss."""
    left = [times]

    def work(job: Job, item, report) -> ItemResult:
        report(PLAN)
        report(StageStarted(1, 4))
        if left[0]:
            left[0] -= 1
            before()
            raise WorkerLost("It was lost.")
        return make(home, job, item.index)

    return work


def test_job_whose_worker_was_lost_is_the_next_of_the_queue(table: JobTable, home: Home):
    job = submit(table)
    seen: list[Job] = []
    later: list[Job] = []

    def meanwhile() -> None:
        seen.append(table.get(job.id))
        later.extend(submit(table) for _ in range(2))

    stopped = Runner(table, lose(1, home, meanwhile), home)
    stopped._take_one()
    given_back = table.get(job.id)
    assert (given_back.state, given_back.losses, given_back.notes) == ("queued", 1, (BEGUN_ANEW,))
    assert seen[0].progress.stage == 1 and given_back.progress.stage is None
    assert given_back.items[0].state == "queued" and given_back.started is None
    assert table.queue_positions("ann") == {job.id: 1, later[0].id: 2, later[1].id: 3}
    stopped._take_one()
    assert table.get(job.id).state == "done"


def test_job_that_was_given_back_is_kept_over_a_restart_and_fails_the_next_time(
    table: JobTable, home: Home
):
    job = submit(table)
    Runner(table, lose(1, home), home)._take_one()
    Runner(JobTable(home.database), lose(1, home), home)._take_one()
    failed = table.get(job.id)
    assert (failed.state, failed.failure.kind) == ("failed", "WorkerLost")
    assert table.rerun("ann", job.id).losses == 0


def test_job_that_was_being_cancelled_when_its_worker_was_lost_is_cancelled(
    table: JobTable, home: Home
):
    job = submit(table)
    Runner(table, lose(1, home, lambda: table.request_cancel("ann", job.id)), home)._take_one()
    cancelled = table.get(job.id)
    assert (cancelled.state, cancelled.items[0].state) == ("cancelled", "cancelled")


def test_job_that_the_closing_studio_called_interrupted_is_not_queued_again(
    table: JobTable, home: Home
):
    job = submit(table)
    Runner(table, lose(1, home, lambda: table.finish(job.id, "interrupted")), home)._take_one()
    assert table.get(job.id).state == "interrupted"
