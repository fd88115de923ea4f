"""The job table, on real SQLite files, with real threads and processes."""

import multiprocessing
import sqlite3
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from job_rows import submit

from studio.errors import StudioError
from studio.jobs import CancelOutcome, Extent, Failure, InputFile, Job, JobTable, Progress

SPAWN = multiprocessing.get_context("spawn")
CAT = InputFile("a" * 64, "cat.png", ".png")
EXTENT = Extent(512 * 320, 25, (8, 3))
DOG = InputFile("b" * 64, "dög \udcff.png", ".png")


def finish(table: JobTable, job: Job, timings: dict[str, float] | None = None) -> None:
    for item in job.items:
        table.save_plan(job.id, item.index, "diffusers", "demo", EXTENT)
        table.finish_item(job.id, item.index, f"outputs/{item.index}.png", (), {}, timings or {})
    table.finish(job.id, "done")


def test_submit_keeps_every_field_across_a_restart(table: JobTable):
    job = submit(
        table,
        mode="edit",
        params={"preset": "fast", "loras": [{"name": "x", "strength": 0.5}]},
        seed=2**64 - 1,
        inputs={"image": (CAT, DOG), "reference": (DOG,)},
        items=(CAT, DOG),
    )
    again = JobTable(table.path).get(job.id)
    assert again == job
    assert job.seed == 2**64 - 1
    assert job.preset == "fast"
    assert job.inputs["image"] == (CAT, DOG)
    assert [item.source for item in job.items] == [CAT, DOG]
    assert {item.state for item in job.items} == {"queued"} == {job.state}


def test_submit_gives_ids_that_cannot_be_guessed(table: JobTable):
    ids = {submit(table).id for _ in range(20)}
    assert len(ids) == 20
    assert all(len(job_id) == 32 and int(job_id, 16) >= 0 for job_id in ids)


def test_table_makes_nothing_before_its_first_use(tmp_path: Path):
    JobTable(tmp_path / "home" / "jobs.sqlite3")
    assert not (tmp_path / "home").exists()


def test_claim_next_takes_jobs_in_the_order_they_came(table: JobTable):
    jobs = [submit(table) for _ in range(3)]
    claimed = [table.claim_next() for _ in range(4)]
    assert [job and job.id for job in claimed] == [*(job.id for job in jobs), None]
    assert claimed[0].state == "running" and claimed[0].started is not None


def test_claim_takes_a_job_once_and_out_of_turn(table: JobTable):
    first, second = submit(table), submit(table)
    assert table.claim(second.id).id == second.id
    assert table.claim(second.id) is None
    assert table.claim_next().id == first.id


def claim_all(path: Path, ready, go, claimed) -> None:
    table = JobTable(path)
    ready.release()
    go.wait()
    while (job := table.claim_next()) is not None:
        claimed.put(job.id)
    claimed.put(None)


def test_claim_next_gives_each_job_to_one_of_two_racing_processes(table: JobTable):
    jobs = [submit(table) for _ in range(50)]
    ready, go, claimed = SPAWN.Semaphore(0), SPAWN.Event(), SPAWN.Queue()
    racers = [
        SPAWN.Process(target=claim_all, args=(table.path, ready, go, claimed), daemon=True)
        for _ in range(2)
    ]
    for racer in racers:
        racer.start()
    for _ in racers:
        assert ready.acquire(timeout=30)
    go.set()
    taken, ended = [], 0
    while ended < 2:
        job_id = claimed.get(timeout=30)
        ended += job_id is None
        taken += [job_id] if job_id else []
    assert sorted(taken) == sorted(job.id for job in jobs)


def open_new(path: Path, barrier, opened) -> None:
    barrier.wait(timeout=30)
    opened.put(submit(JobTable(path)).state)


def test_table_is_made_once_by_processes_that_start_together(tmp_path: Path):
    barrier, opened = SPAWN.Barrier(4), SPAWN.Queue()
    path = tmp_path / "jobs.sqlite3"
    starters = [
        SPAWN.Process(target=open_new, args=(path, barrier, opened), daemon=True) for _ in range(4)
    ]
    for starter in starters:
        starter.start()
    assert [opened.get(timeout=30) for _ in starters] == ["queued"] * 4
    assert len(JobTable(path).list_for("ann")) == 4


def test_table_takes_jobs_from_many_threads(table: JobTable):
    threads = [
        threading.Thread(target=lambda: [submit(table) for _ in range(10)]) for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(table.list_for("ann", limit=100)) == 80


def submit_in_fork(table: JobTable, inherited: sqlite3.Connection) -> None:
    submit(table)
    with table._file.writing() as connection:
        assert connection is not inherited


@pytest.mark.skipif("fork" not in multiprocessing.get_all_start_methods(), reason="no fork here")
def test_table_opens_its_own_connection_in_a_forked_process(table: JobTable):
    submit(table)
    child = multiprocessing.get_context("fork").Process(
        target=submit_in_fork, args=(table, table._file._connections.opened)
    )
    child.start()
    child.join(30)
    submit(table)
    assert child.exitcode == 0
    assert len(table.list_for("ann")) == 3


def test_table_keeps_no_item_without_its_job(table: JobTable):
    with pytest.raises(sqlite3.IntegrityError), table._file.writing() as connection:
        connection.execute("INSERT INTO items (job_id, item_index, state) VALUES ('x', 0, 'done')")


def test_owners_see_only_their_own_jobs(table: JobTable):
    hers, his = submit(table, "ann"), submit(table, "bob")
    assert table.get_for("bob", hers.id) is None
    assert table.get_for("bob", "f" * 32) is None
    assert table.get_for("ann", hers.id) == hers
    assert table.list_for("bob") == (his,)
    assert table.queue_positions("bob") == {his.id: 2}
    assert table.request_cancel("bob", hers.id) is CancelOutcome.UNKNOWN
    with pytest.raises(StudioError, match="no such job"):
        table.rerun("bob", hers.id)
    assert table.get(hers.id) == hers


def test_list_for_pages_backwards_from_the_newest_and_filters_by_state(table: JobTable):
    ids = [submit(table).id for _ in range(5)][::-1]
    finish(table, table.claim_next())
    assert [job.id for job in table.list_for("ann", limit=2)] == ids[:2]
    assert [job.id for job in table.list_for("ann", before=ids[1])] == ids[2:]
    assert [job.id for job in table.list_for("ann", states=("done",))] == ids[4:]
    assert table.list_for("ann", states=()) == ()


def test_queue_positions_count_everybodys_queued_jobs(table: JobTable):
    running, hers, his, last = (submit(table, owner) for owner in ("ann", "ann", "bob", "ann"))
    assert table.claim_next().id == running.id
    assert table.queue_positions("ann") == {hers.id: 1, last.id: 3}
    assert table.queue_positions("bob") == {his.id: 2}


def test_request_cancel_says_which_of_four_things_happened(table: JobTable):
    running, queued, done = submit(table), submit(table), submit(table)
    table.claim(running.id)
    finish(table, table.claim(done.id))
    assert table.request_cancel("ann", queued.id) is CancelOutcome.WAS_QUEUED
    assert table.request_cancel("ann", running.id) is CancelOutcome.STOPPING
    assert table.request_cancel("ann", done.id) is CancelOutcome.HAD_FINISHED
    assert table.request_cancel("ann", "f" * 32) is CancelOutcome.UNKNOWN
    assert table.get(queued.id).state == "cancelled"
    assert table.get(queued.id).items[0].state == "cancelled"
    assert table.get(running.id).cancel_requested
    assert table.get(done.id).state == "done"
    assert table.claim_next() is None


def test_mark_interrupted_ends_running_jobs_only(table: JobTable):
    running, stopping, queued = submit(table), submit(table), submit(table)
    for job in (running, stopping):
        table.claim(job.id)
        table.start_item(job.id, 0)
    table.request_cancel("ann", stopping.id)
    assert set(table.mark_interrupted()) == {running.id, stopping.id}
    assert table.get(running.id).state == table.get(running.id).items[0].state == "interrupted"
    assert table.get(running.id).seconds is None
    assert table.get(stopping.id).state == "cancelled"
    assert table.get(queued.id) == queued


def test_move_changes_places_among_the_owners_jobs_only(table: JobTable):
    first, his, second, third = (submit(table, owner) for owner in ("ann", "bob", "ann", "ann"))
    assert table.move("ann", third.id, "sooner")
    assert table.queue_positions("ann") == {first.id: 1, third.id: 3, second.id: 4}
    assert table.move("ann", first.id, "later")
    assert table.queue_positions("ann") == {third.id: 1, first.id: 3, second.id: 4}
    assert table.queue_positions("bob") == {his.id: 2}
    assert table.claim_next().id == third.id


def test_move_refuses_the_ends_and_what_is_not_the_owners_or_not_queued(table: JobTable):
    running, first, last = (submit(table) for _ in range(3))
    table.claim(running.id)
    assert not table.move("ann", first.id, "sooner")
    assert not table.move("ann", last.id, "later")
    assert not table.move("bob", last.id, "sooner")
    assert not table.move("ann", running.id, "later")
    assert not table.move("ann", "unknown", "later")
    assert list(table.queue_positions("ann")) == [first.id, last.id]


def test_rerun_queues_what_is_left_and_keeps_what_is_done(table: JobTable):
    job = submit(table, items=(CAT, DOG), mode="edit", inputs={"image": (CAT, DOG)})
    waiting = submit(table)
    table.claim(job.id)
    table.add_note(job.id, "A note.")
    table.save_progress(job.id, 0, Progress({"load": "Loading"}, 0, 3, 8, 0.2), {})
    table.finish_item(job.id, 0, "outputs/cat.png", ("silent",), {"steps": 4}, {"load": 1.5})
    table.fail_item(job.id, 1, Failure("It broke.", "EngineFailed"), {"load": 0.5})
    table.finish(job.id, "done")
    again = table.rerun("ann", job.id)
    assert again.id == job.id and again.state == "queued"
    assert again.progress == Progress() and again.notes == ()
    assert [item.state for item in again.items] == ["done", "queued"]
    assert again.items[0].output == "outputs/cat.png" and again.items[0].findings == ("silent",)
    assert again.items[1].failure is None
    assert again.unfinished_items == again.items[1:]
    assert table.queue_positions("ann") == {waiting.id: 1, job.id: 2}


def test_rerun_refuses_live_and_finished_jobs(table: JobTable):
    job = submit(table)
    with pytest.raises(StudioError, match="already waiting or running"):
        table.rerun("ann", job.id)
    finish(table, table.claim(job.id))
    with pytest.raises(StudioError, match="finished; start a new one"):
        table.rerun("ann", job.id)


def test_finish_leaves_a_job_alone_that_is_not_running(table: JobTable):
    job = submit(table)
    table.finish(job.id, "failed", Failure("It broke.", "EngineFailed"))
    assert table.get(job.id) == job


def test_add_note_keeps_each_sentence_once(table: JobTable):
    job = submit(table)
    for text in ("One.", "Two.", "One."):
        table.add_note(job.id, text)
    assert table.get(job.id).notes == ("One.", "Two.")


def test_job_adds_up_the_timings_of_its_items(table: JobTable):
    job = table.claim(submit(table, items=(CAT, DOG)).id)
    finish(table, job, {"load": 1.0, "sample": 2.0})
    assert table.get(job.id).timings == {"load": 2.0, "sample": 4.0}
    assert table.get(job.id).outputs == ("outputs/0.png", "outputs/1.png")


def test_stage_seconds_gives_the_latest_finished_items_of_that_kind(table: JobTable):
    for seconds, changes in enumerate(
        ({}, {}, {}, {"mode": "i2v"}, {"params": {"preset": "quality"}}, {"params": {}})
    ):
        finish(table, table.claim(submit(table, **changes).id), {"sample": float(seconds)})
    table.claim(submit(table).id)
    latest = table.stage_seconds("t2v", "fast", "diffusers", "demo", limit=2)
    assert [timing.seconds for timing in latest] == [{"sample": 2.0}, {"sample": 1.0}]
    assert {timing.extent for timing in latest} == {EXTENT}
    assert [t.seconds for t in table.stage_seconds("t2v", None, "diffusers", "demo")] == [
        {"sample": 5.0}
    ]
    assert table.stage_seconds("t2v", "fast", "comfy", "demo") == ()
    assert table.stage_seconds("t2v", "fast", "diffusers", "real") == ()


def test_clock_going_backwards_harms_neither_order_nor_durations(tmp_path: Path):
    ticks = iter(range(1000, 0, -10))
    table = JobTable(tmp_path / "jobs.sqlite3", now=lambda: float(next(ticks)))
    first, second = submit(table), submit(table)
    assert [job.id for job in table.list_for("ann")] == [second.id, first.id]
    assert table.list_for("ann", before=second.id)[0].id == first.id
    job = table.claim_next()
    assert job.id == first.id
    finish(table, job)
    assert table.get(first.id).seconds == 0.0


def best_seconds(act: Callable[[], object]) -> float:
    """Of five tries: the machine may be busy with something else."""

    def seconds() -> float:
        started = time.perf_counter()
        act()
        return time.perf_counter() - started

    return min(seconds() for _ in range(5))


def test_list_for_is_quick_in_a_long_table(table: JobTable):
    sample = submit(table, items=(CAT, DOG))
    with sqlite3.connect(table.path) as connection:
        columns = "owner, mode, preset, params, seed, inputs, state, position, created"
        connection.execute(
            "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 10000)"
            f" INSERT INTO jobs (id, {columns}) SELECT 'job' || i, {columns}"
            " FROM n, jobs WHERE id = ?",
            (sample.id,),
        )
        connection.execute(
            "INSERT INTO items (job_id, item_index, source, state)"
            " SELECT jobs.id, item_index, source, items.state FROM jobs, items"
            " WHERE jobs.id != items.job_id"
        )
    jobs = table.list_for("ann", limit=50)
    assert len(jobs) == 50 and all(len(job.items) == 2 for job in jobs)
    assert best_seconds(lambda: table.list_for("ann", limit=50)) < 0.05
    assert best_seconds(lambda: (submit(table), table.claim_next())) < 0.05


def steps_of(table: JobTable, act) -> int:
    """How many thousands of SQLite's own instructions it takes, which no other program changes."""
    counted = []
    with table._file.reading() as connection:
        connection.set_progress_handler(lambda: counted.append(1) and None, 1000)
    act()
    connection.set_progress_handler(None, 0)
    return len(counted)


def test_live_jobs_are_found_without_reading_the_whole_history(table: JobTable):
    submit(table)
    with sqlite3.connect(table.path) as connection:
        columns = "owner, mode, preset, params, seed, inputs, position, created"
        connection.execute(
            "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 10000)"
            f" INSERT INTO jobs (id, state, {columns}) SELECT 'job' || i, 'done', {columns}"
            " FROM n, jobs WHERE state = 'queued'"
        )
    found = []
    live = ("queued", "running")
    steps = steps_of(table, lambda: found.extend(table.list_for("ann", live, 200)))
    assert [job.state for job in found] == ["queued"]
    assert steps < 2
    assert steps_of(table, lambda: table.queue_positions("ann")) < 2
    assert steps_of(table, lambda: table.list_for("ann", ("done",), 1)) > 2, "it would be seen"
