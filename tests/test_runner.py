"""The runner, with real threads and a real table."""

import sqlite3
import threading
import time

import pytest
from runner_work import IMAGES, PLAN, SHORT, Painter, make, submit, wait_until, wait_until_over

from studio.errors import BadInput, OutOfMemory
from studio.events import Note, PreviewReady, StageStarted, StepDone, StillAtWork
from studio.jobs import CancelOutcome, Job, JobTable
from studio.runner import ItemResult, Runner
from studio.runner_report import ItemReport


def test_runner_runs_a_job_and_its_row_says_everything(table, home, running):
    job = submit(table)
    running(Painter(home))
    done = wait_until_over(table, job)
    item = done.items[0]
    assert done.state == item.state == "done" and done.failure is None
    assert item.output == f"outputs/2026-09-01/{job.id}_0.png"
    assert item.findings == ("It is all black.",) and item.details == {"width": 64}
    assert (item.engine, item.weights) == ("diffusers", "demo")
    assert list(done.timings) == ["load", "sample", "save"]
    assert done.timings["sample"] >= 8 * SHORT
    assert done.progress.stages == PLAN.stages and done.progress.label == "Saving"
    assert done.seconds >= sum(done.timings.values()) - 0.01
    assert len(table.stage_seconds("edit", "fast", "diffusers", "demo")) == 1


def test_runner_takes_queued_jobs_in_order_and_wakes_for_new_ones(table, home, running):
    jobs = [submit(table) for _ in range(3)]
    painter = Painter(home)
    runner = running(painter)
    wait_until_over(table, jobs[-1])
    late = submit(table)
    runner.wake()
    wait_until_over(table, late)
    assert [job_id for job_id, _ in painter.began] == [job.id for job in (*jobs, late)]


def test_runner_notices_a_job_that_another_process_has_queued(table, home, running):
    running(Painter(home))
    time.sleep(0.05)
    assert wait_until_over(table, submit(table)).state == "done"


def test_progress_covers_all_items_and_never_passes_one(table, home, running):
    job = submit(table, items=IMAGES)
    seen = []

    def work(job: Job, item, report: ItemReport) -> ItemResult:
        for event in (PLAN, StageStarted(0), StageStarted(1, 2), StepDone(1, 2)):
            report(event)
            seen.append(report.progress.fraction)
        report(StageStarted(7, 2))
        seen.append(report.progress.fraction)
        return make(home, job, item.index)

    running(work)
    wait_until_over(table, job)
    assert seen[:5] == pytest.approx([0, 0, 1 / 9, 1 / 6, 1 / 3])
    assert seen == sorted(seen) and seen[-1] == 1


def test_batch_goes_on_after_a_failed_item_and_names_it(table, home, running):
    job = submit(table, what="not b.png", items=IMAGES)
    running(Painter(home))
    done = wait_until_over(table, job)
    assert done.state == "done"
    assert [item.state for item in done.items] == ["done", "failed", "done"]
    assert done.failed_items[0].failure.sentence == "The image b.png cannot be edited."
    assert done.notes == ("1 of 3 could not be made: b.png.",)
    assert done.can_rerun


def test_batch_that_makes_nothing_has_failed(table, home, running):
    job = submit(table, what="not a.png, b.png, c.png", items=IMAGES)
    running(Painter(home))
    failed = wait_until_over(table, job)
    assert failed.state == "failed"
    assert failed.failure.sentence == (
        "None of the 3 could be made. The first: The image a.png cannot be edited."
    )


def test_rerun_of_a_batch_makes_only_what_is_missing(table, home, running):
    job = submit(table, what="not b.png", items=IMAGES)
    painter = Painter(home)
    running(painter)
    wait_until_over(table, job)
    table.rerun("ann", job.id)
    wait_until_over(table, job)
    assert painter.began[3:] == [(job.id, 1)]


@pytest.mark.parametrize(
    ("error", "kind", "sentence", "stage"),
    [
        (BadInput("The image is empty."), "BadInput", "The image is empty.", "Sampling"),
        (OutOfMemory("No memory.", "Decoding"), "OutOfMemory", "No memory.", "Decoding"),
        (ValueError("tensor 3"), "Unexpected", "The studio hit an unexpected error", "Sampling"),
        (MemoryError(), "Unexpected", "The studio hit an unexpected error", "Sampling"),
        (KeyboardInterrupt(), "Unexpected", "The studio hit an unexpected error", "Sampling"),
        (SystemExit(3), "Unexpected", "The studio hit an unexpected error", "Sampling"),
    ],
)
def test_failure_is_told_and_the_next_job_runs(
    table, home, running, caplog, error, kind, sentence, stage
):
    def work(job: Job, item, report: ItemReport) -> ItemResult:
        report(PLAN)
        report(StageStarted(1))
        if job.params["prompt"] == "fail":
            raise error
        return make(home, job)

    bad, good = submit(table, what="fail"), submit(table)
    running(work)
    failed = wait_until_over(table, bad)
    assert wait_until_over(table, good).state == "done"
    assert failed.state == failed.items[0].state == "failed"
    assert failed.failure == failed.items[0].failure
    assert failed.failure.kind == kind and failed.failure.stage == stage
    assert failed.failure.sentence.startswith(sentence)
    assert "Traceback" not in failed.failure.sentence
    assert failed.failure.details.startswith("Traceback")
    assert type(error).__name__ in failed.failure.details.splitlines()[-1]
    tracebacks = [record for record in caplog.records if "Traceback" in record.getMessage()]
    assert len(tracebacks) == (kind == "Unexpected")
    assert list(failed.timings) == ["sample"]


def test_work_that_publishes_outside_the_home_fails(table, home, running, tmp_path):
    job = submit(table)
    running(lambda job, item, report: ItemResult(tmp_path / "elsewhere.png"))
    assert wait_until_over(table, job).failure.kind == "Unexpected"


def test_cancel_stops_within_one_step_and_says_what_it_met(table, home, running):
    painter = Painter(home, step_seconds=0.05)
    job, waiting = submit(table, what="for ever"), submit(table)
    runner = running(painter)
    wait_until(lambda: painter.steps >= 2)
    assert runner.cancel("ann", waiting.id) is CancelOutcome.WAS_QUEUED
    assert runner.cancel("bob", job.id) is CancelOutcome.UNKNOWN
    steps = painter.steps
    assert runner.cancel("ann", job.id) is CancelOutcome.STOPPING
    cancelled = wait_until_over(table, job)
    assert painter.steps <= steps + 1
    assert cancelled.state == cancelled.items[0].state == "cancelled"
    assert cancelled.failure is None
    assert runner.cancel("ann", job.id) is CancelOutcome.HAD_FINISHED
    assert [job_id for job_id, _ in painter.began] == [job.id]


def test_cancel_keeps_the_items_that_are_done(table, home, running):
    job = submit(table, items=IMAGES)

    def work(job: Job, item, report: ItemReport) -> ItemResult:
        if item.index == 1:
            table.request_cancel("ann", job.id)
        report(PLAN)
        return make(home, job, item.index)

    running(work)
    cancelled = wait_until_over(table, job)
    assert cancelled.state == "cancelled"
    assert [item.state for item in cancelled.items] == ["done", "cancelled", "cancelled"]


def test_cancel_before_the_first_event_is_not_lost(table, home, running):
    job, started, go = submit(table, items=IMAGES[:2]), threading.Event(), threading.Event()

    def silent_work(job: Job, item, report: ItemReport) -> ItemResult:
        started.set()
        go.wait(20)
        return make(home, job, item.index)

    runner = running(silent_work)
    started.wait(20)
    assert runner.cancel("ann", job.id) is CancelOutcome.STOPPING
    go.set()
    cancelled = wait_until_over(table, job)
    assert [item.state for item in cancelled.items] == ["done", "cancelled"]


def test_work_that_has_nothing_to_tell_hears_of_a_cancel(table, home):
    heard = []

    def work(job, item, report):
        report(PLAN)
        runner.cancel("ann", job.id)
        report(StillAtWork())

    runner = Runner(table, work, home)
    job = runner.run_one(submit(table).id, heard.append)
    assert job.state == "cancelled"
    assert heard == [PLAN]


def test_steps_are_written_at_most_ten_times_a_second(table, home, running):
    job = submit(table)
    written = []

    def work(job: Job, item, report: ItemReport) -> ItemResult:
        watcher = sqlite3.connect(home.database)

        def writes_after(event) -> int:
            version = watcher.execute("PRAGMA data_version").fetchone()
            report(event)
            return watcher.execute("PRAGMA data_version").fetchone() != version

        stages = [writes_after(PLAN), writes_after(StageStarted(1, 400))]
        started = time.monotonic()
        steps = [writes_after(StepDone(step, 400)) or time.sleep(SHORT) for step in range(1, 400)]
        seconds = time.monotonic() - started
        ends = [writes_after(StepDone(400, 400)), writes_after(StageStarted(2))]
        written.append((stages, sum(filter(None, steps)), seconds, ends))
        return make(home, job)

    running(work)
    assert wait_until_over(table, job).state == "done"
    ((stages, steps, seconds, ends),) = written
    assert stages == ends == [True, True]
    assert 2 <= steps <= seconds / 0.1 + 1


def test_preview_is_kept_only_while_the_job_runs(table, home, running):
    job, go = submit(table), threading.Event()

    def work(job: Job, item, report: ItemReport) -> ItemResult:
        report(PreviewReady(b"first"))
        report(PreviewReady(b"second"))
        go.wait(20)
        return make(home, job)

    runner = running(work)
    wait_until(lambda: runner.latest_preview(job.id) == b"second")
    go.set()
    wait_until_over(table, job)
    wait_until(lambda: runner.latest_preview(job.id) is None)


def test_notes_are_kept_once(table, home, running):
    job = submit(table, items=IMAGES)

    def work(job: Job, item, report: ItemReport) -> ItemResult:
        report(Note("The LoRA fits in part."))
        return make(home, job, item.index)

    running(work)
    assert wait_until_over(table, job).notes == ("The LoRA fits in part.",)


def test_timings_of_a_repeated_stage_add_up(table, home, running):
    job = submit(table)

    def work(job: Job, item, report: ItemReport) -> ItemResult:
        report(PLAN)
        for stage in (0, 1, 0):
            report(StageStarted(stage))
            time.sleep(0.02)
        assert report.timings()["load"] >= 0.04
        return make(home, job)

    running(work)
    done = wait_until_over(table, job)
    assert done.state == "done" and list(done.timings) == ["load", "sample"]


def test_stop_interrupts_what_runs_and_leaves_what_is_queued(table, home):
    painter = Painter(home)
    job, waiting = submit(table, what="for ever"), submit(table)
    runner = Runner(table, painter, home)
    runner.start()
    wait_until(lambda: painter.steps)
    assert runner.stop()
    assert table.get(job.id).state == "interrupted"
    assert table.get(waiting.id).state == "queued"


def test_stop_does_not_wait_for_ever_and_a_late_result_still_counts(table, home):
    job, started, go = submit(table), threading.Event(), threading.Event()

    def deaf_work(job: Job, item, report: ItemReport) -> ItemResult:
        started.set()
        go.wait(20)
        return make(home, job)

    runner = Runner(table, deaf_work, home)
    runner.start()
    started.wait(20)
    assert not runner.stop(timeout=0.05)
    assert table.get(job.id).state == "interrupted"
    go.set()
    wait_until(lambda: table.get(job.id).state == "done")


def test_runner_survives_a_table_that_is_locked_for_long(home, caplog):
    table = JobTable(home.database, busy_seconds=0.05)
    job, next_job = submit(table), submit(table)
    inside = threading.Event()

    def work(job: Job, item, report: ItemReport) -> ItemResult:
        report(PLAN)
        if not inside.is_set():
            locker = sqlite3.connect(home.database, isolation_level=None, check_same_thread=False)
            locker.execute("BEGIN IMMEDIATE")
            threading.Timer(0.5, locker.execute, ("ROLLBACK",)).start()
            inside.set()
        report(StageStarted(1))
        return make(home, job)

    runner = Runner(table, work, home)
    runner.start()
    assert wait_until_over(table, job).state == "done"
    assert wait_until_over(table, next_job).state == "done"
    assert runner.stop()
    assert "its progress could not be saved" in caplog.text
    assert "The running job waits for it" in caplog.text


def test_runner_survives_a_broken_table_and_logs_it_once(table, home, running, caplog):
    submit(table)
    with sqlite3.connect(home.database) as connection:
        connection.execute("ALTER TABLE items RENAME TO hidden")
    running(Painter(home))
    wait_until(lambda: "The queue has stopped for a moment" in caplog.text)
    time.sleep(0.6)
    assert caplog.text.count("The queue has stopped for a moment") == 1
    with sqlite3.connect(home.database) as connection:
        connection.execute("ALTER TABLE hidden RENAME TO items")
    wait_until_over(table, table.list_for("ann")[0])


@pytest.mark.parametrize("jump", [8 * 3600.0, -8 * 3600.0])
def test_clock_that_is_set_while_a_job_runs_is_not_counted(home, jump):
    clock = [1_700_000_000.0]
    table = JobTable(home.database, now=lambda: clock[0])
    seen = []

    def work(job: Job, item, report: ItemReport) -> ItemResult:
        report(PLAN)
        clock[0] += jump
        report(StageStarted(1, 2))
        seen.append(clock[0] - table.get(job.id).started)
        clock[0] -= jump
        return make(home, job)

    job = Runner(table, work, home).run_one(submit(table).id)
    assert job.state == "done"
    # A busy machine takes its time, but no hours.
    assert 0 <= seen[0] < 600 and 0 <= job.seconds < 600
