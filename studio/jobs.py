"""The job table: every request ever made, and the queue. What runs the jobs is in `runner.py`."""

import json
import secrets
import sqlite3
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from studio.errors import StudioError
from studio.inputs import InputFile
from studio.jobs_clock import correct_start
from studio.jobs_queue import WAITING, Direction, end_of_queue, move, places_of, put_back
from studio.jobs_read import find, marks, read, select
from studio.jobs_rows import (
    CancelOutcome,
    Extent,
    Failure,
    Forecast,
    Inputs,
    Item,
    Job,
    Progress,
    StageSeconds,
    State,
    extent_from_json,
    inputs_to_json,
    record_to_json,
    to_json,
)
from studio.jobs_schema import BUSY_SECONDS, JobFile

__all__ = [
    "CancelOutcome",
    "Extent",
    "Failure",
    "Forecast",
    "InputFile",
    "Inputs",
    "Item",
    "Job",
    "JobTable",
    "Progress",
    "StageSeconds",
    "State",
]


class JobTable:
    """The jobs in one SQLite file, shared by threads and processes.

    The file and its folder are made on first use. Every method raises `StudioError` with a
    sentence that names the file where it cannot be used, and then has changed nothing.
    `now` gives seconds since the epoch; no order depends on it.
    """

    def __init__(
        self,
        path: Path,
        now: Callable[[], float] = time.time,
        busy_seconds: float = BUSY_SECONDS,
    ) -> None:
        self.path = path
        self._now = now
        self._file = JobFile(path, busy_seconds)

    # Asking for jobs

    def submit(
        self,
        owner: str,
        mode: str,
        params: Mapping[str, Any],
        seed: int,
        inputs: Inputs,
        items: Sequence[InputFile | None] = (None,),
    ) -> Job:
        """Puts a job at the end of the queue.

        `params` is JSON with the resolved seed; its `preset` is what `stage_seconds` asks for.
        `items` holds the source of each result to make, None where there is no single one.
        """
        job_id = secrets.token_hex(16)
        with self._file.writing() as connection:
            connection.execute(
                "INSERT INTO jobs (id, owner, mode, preset, params, seed, inputs, state, position,"
                " created) VALUES (?, ?, ?, ?, ?, ?, ?, 'queued', ?, ?)",
                (
                    job_id,
                    owner,
                    mode,
                    params.get("preset"),
                    to_json(params),
                    str(seed),
                    inputs_to_json(inputs),
                    end_of_queue(connection),
                    self._now(),
                ),
            )
            connection.executemany(
                "INSERT INTO items (job_id, item_index, source, state) VALUES (?, ?, ?, 'queued')",
                [(job_id, index, record_to_json(source)) for index, source in enumerate(items)],
            )
            return read(connection, job_id)

    def rerun(self, owner: str, job_id: str, index: int | None = None) -> Job:
        """Puts a job that is over at the end of the queue again; its finished items stay.

        With an `index` only that item is made. Raises `StudioError` for a job that is unknown,
        live, or has nothing left to make.
        """
        with self._file.writing() as connection:
            job = find(connection, job_id)
            if job is None or job.owner != owner:
                raise StudioError("There is no such job; it may have been made in another browser.")
            if job.is_live:
                raise StudioError("This job is already waiting or running.")
            unfinished = {item.index for item in job.unfinished_items}
            if not unfinished or index not in {None, *unfinished}:
                raise StudioError("This job is finished; start a new one to make another result.")
            connection.execute(
                f"UPDATE jobs SET {WAITING}, position = ?, finished = NULL, notes = '[]',"
                " failure = NULL, cancel_requested = 0, losses = 0 WHERE id = ?",
                (end_of_queue(connection), job_id),
            )
            connection.execute(
                "UPDATE items SET state = 'queued', failure = NULL, timings = '{}'"
                " WHERE job_id = ? AND state != 'done' AND item_index = COALESCE(?, item_index)",
                (job_id, index),
            )
            return read(connection, job_id)

    def request_cancel(self, owner: str, job_id: str) -> CancelOutcome:
        """Cancels a queued job at once and asks a running one to stop."""
        with self._file.writing() as connection:
            job = find(connection, job_id)
            if job is None or job.owner != owner:
                return CancelOutcome.UNKNOWN
            if job.state == "queued":
                self._end(connection, job_id, "cancelled", None)
                return CancelOutcome.WAS_QUEUED
            if job.state == "running":
                connection.execute("UPDATE jobs SET cancel_requested = 1 WHERE id = ?", (job_id,))
                return CancelOutcome.STOPPING
            return CancelOutcome.HAD_FINISHED

    def move(self, owner: str, job_id: str, direction: Direction) -> bool:
        """Moves a queued job past the owner's next one in that direction, and past no other.

        Returns False where there is none, and for a job that is not the owner's or not queued.
        """
        with self._file.writing() as connection:
            return move(connection, owner, job_id, direction)

    # Looking at jobs

    def get(self, job_id: str) -> Job | None:
        """The job, whoever owns it."""
        with self._file.reading() as connection:
            return find(connection, job_id)

    def get_for(self, owner: str, job_id: str) -> Job | None:
        """The owner's job; None for anybody else's, exactly as for an unknown id."""
        job = self.get(job_id)
        return job if job is not None and job.owner == owner else None

    def list_for(
        self,
        owner: str,
        states: Collection[State] | None = None,
        limit: int = 50,
        before: str | None = None,
    ) -> tuple[Job, ...]:
        """The owner's jobs, newest first; the next page starts `before` the last one's id.

        `states` are for few jobs, such as those that wait or run: all of them are looked at.
        """
        conditions = ["owner = ?"]
        values: list[object] = [owner]
        if states is not None:
            # With the + SQLite takes the index of the queue, not that of the owner's whole history.
            conditions = ["+owner = ?", f"state IN ({marks(len(states))})"]
            values += states
        if before is not None:
            conditions.append("serial < (SELECT serial FROM jobs WHERE id = ? AND owner = ?)")
            values += [before, owner]
        with self._file.reading() as connection:
            return select(
                connection,
                f"{' AND '.join(conditions)} ORDER BY serial DESC LIMIT ?",
                (*values, limit),
            )

    def queue_positions(self, owner: str) -> dict[str, int]:
        """Where the owner's queued jobs stand among everybody's, 1 being next; by job id."""
        with self._file.reading() as connection:
            return places_of(connection, owner)

    def stage_seconds(
        self, mode: str, preset: str | None, engine: str, weights: str, limit: int = 20
    ) -> tuple[StageSeconds, ...]:
        """What the latest finished items of this kind took, newest first."""
        with self._file.reading() as connection:
            rows = connection.execute(
                "SELECT items.extent, items.timings FROM jobs"
                " JOIN items ON items.job_id = jobs.id"
                " WHERE jobs.mode = ? AND jobs.preset IS ? AND items.state = 'done'"
                " AND items.engine = ? AND items.weights = ? AND items.extent IS NOT NULL"
                " ORDER BY jobs.serial DESC, items.item_index DESC LIMIT ?",
                (mode, preset, engine, weights, limit),
            ).fetchall()
        return tuple(
            StageSeconds(extent_from_json(row["extent"]), json.loads(row["timings"]))
            for row in rows
        )

    # Running jobs: called only by the process that holds the engine lock

    def has_work(self) -> bool:
        """Whether a job is queued, or is marked running and may be dead."""
        with self._file.reading() as connection:
            query = "SELECT EXISTS (SELECT 1 FROM jobs WHERE state IN ('queued', 'running'))"
            return bool(connection.execute(query).fetchone()[0])

    def claim_next(self) -> Job | None:
        """Marks the next queued job running; of racing processes only one gets it."""
        with self._file.writing() as connection:
            row = connection.execute(
                "SELECT id FROM jobs WHERE state = 'queued' ORDER BY position LIMIT 1"
            ).fetchone()
            return self._claim(connection, row["id"]) if row else None

    def claim(self, job_id: str) -> Job | None:
        """Marks this job running, ahead of the queue; None when it is not queued."""
        with self._file.writing() as connection:
            return self._claim(connection, job_id)

    def start_item(self, job_id: str, index: int) -> None:
        with self._file.writing() as connection:
            connection.execute(
                "UPDATE items SET state = 'running' WHERE job_id = ? AND item_index = ?",
                (job_id, index),
            )

    def save_plan(
        self, job_id: str, index: int, engine: str, weights: str, extent: Extent | None = None
    ) -> None:
        """What the item is made with, and how much there is to compute, where that is known."""
        with self._file.writing() as connection:
            connection.execute(
                "UPDATE items SET engine = ?, weights = ?, extent = ?"
                " WHERE job_id = ? AND item_index = ?",
                (engine, weights, record_to_json(extent), job_id, index),
            )

    def save_progress(
        self,
        job_id: str,
        index: int,
        progress: Progress,
        timings: Mapping[str, float],
        seconds: float | None = None,
    ) -> bool:
        """Says where a running job is. Returns whether its owner has asked to cancel it.

        It has run for so many `seconds`, whatever was done to the clock since.
        """
        with self._file.writing() as connection:
            correct_start(connection, job_id, self._now(), seconds)
            connection.execute(
                "UPDATE jobs SET stages = ?, stage = ?, step = ?, steps = ?, fraction = ?,"
                " forecast = ? WHERE id = ?",
                (
                    to_json(progress.stages),
                    progress.stage,
                    progress.step,
                    progress.steps,
                    progress.fraction,
                    record_to_json(progress.forecast),
                    job_id,
                ),
            )
            connection.execute(
                "UPDATE items SET timings = ? WHERE job_id = ? AND item_index = ?",
                (to_json(timings), job_id, index),
            )
            query = "SELECT cancel_requested FROM jobs WHERE id = ?"
            return bool(connection.execute(query, (job_id,)).fetchone()[0])

    def add_note(self, job_id: str, text: str) -> None:
        """Adds one sentence to the job's notes, once."""
        with self._file.writing() as connection:
            notes = read(connection, job_id).notes
            if text not in notes:
                connection.execute(
                    "UPDATE jobs SET notes = ? WHERE id = ?", (to_json([*notes, text]), job_id)
                )

    def finish_item(
        self,
        job_id: str,
        index: int,
        output: str,
        findings: Sequence[str],
        details: Mapping[str, Any],
        timings: Mapping[str, float],
    ) -> None:
        """Marks an item done. `output` is its file, relative to the home."""
        with self._file.writing() as connection:
            connection.execute(
                "UPDATE items SET state = 'done', output = ?, findings = ?, details = ?,"
                " timings = ? WHERE job_id = ? AND item_index = ?",
                (output, to_json(findings), to_json(details), to_json(timings), job_id, index),
            )

    def fail_item(
        self, job_id: str, index: int, failure: Failure, timings: Mapping[str, float]
    ) -> None:
        with self._file.writing() as connection:
            connection.execute(
                "UPDATE items SET state = 'failed', failure = ?, timings = ?"
                " WHERE job_id = ? AND item_index = ?",
                (record_to_json(failure), to_json(timings), job_id, index),
            )

    def finish(
        self,
        job_id: str,
        state: State,
        failure: Failure | None = None,
        seconds: float | None = None,
    ) -> None:
        """Ends a running job; items that it has not finished end as it does. `seconds` as in
        `save_progress`.

        One that was called interrupted when the studio closed may still end well.
        """
        with self._file.writing() as connection:
            row = connection.execute("SELECT state FROM jobs WHERE id = ?", (job_id,)).fetchone()
            if row["state"] in ("running", "interrupted"):
                correct_start(connection, job_id, self._now(), seconds)
                self._end(connection, job_id, state, failure)

    def give_back(self, job_id: str) -> None:
        """Puts a running job whose worker was lost to the front of the queue: its turn has been.

        The items that are over stay so. One that was being cancelled is cancelled.
        """
        with self._file.writing() as connection:
            job = read(connection, job_id)
            if job.state == "running" and job.cancel_requested:
                self._end(connection, job_id, "cancelled", None)
            elif job.state == "running":
                put_back(connection, job_id)

    def mark_interrupted(self) -> tuple[str, ...]:
        """Ends the jobs whose process has died: every running one. Returns their ids.

        One that was being cancelled counts as cancelled. Nobody knows when they ended.
        """
        with self._file.writing() as connection:
            rows = connection.execute(
                "SELECT id, cancel_requested FROM jobs WHERE state = 'running'"
            ).fetchall()
            for row in rows:
                state: State = "cancelled" if row["cancel_requested"] else "interrupted"
                self._end(connection, row["id"], state, None)
                connection.execute("UPDATE jobs SET finished = NULL WHERE id = ?", (row["id"],))
            return tuple(row["id"] for row in rows)

    def _claim(self, connection: sqlite3.Connection, job_id: str) -> Job | None:
        claimed = connection.execute(
            "UPDATE jobs SET state = 'running', started = ? WHERE id = ? AND state = 'queued'",
            (self._now(), job_id),
        ).rowcount
        return read(connection, job_id) if claimed else None

    def _end(
        self, connection: sqlite3.Connection, job_id: str, state: State, failure: Failure | None
    ) -> None:
        connection.execute(
            "UPDATE jobs SET state = ?, failure = ?, finished = ? WHERE id = ?",
            (state, record_to_json(failure), self._now(), job_id),
        )
        connection.execute(
            "UPDATE items SET state = ? WHERE job_id = ? AND state IN ('queued', 'running')",
            (state, job_id),
        )
