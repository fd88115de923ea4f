"""The order of the queued jobs: positions in the job table, the least being next."""

import sqlite3
from typing import Literal

Direction = Literal["sooner", "later"]

WAITING = (
    "state = 'queued', started = NULL, stages = '{}', stage = NULL, step = 0, steps = 0,"
    " fraction = 0, forecast = NULL"
)
"""What is said of a job that is queued again."""


def end_of_queue(connection: sqlite3.Connection) -> float:
    """The position after everybody's last."""
    query = "SELECT COALESCE(MAX(position), 0) + 1 FROM jobs WHERE state = 'queued'"
    return float(connection.execute(query).fetchone()[0])


def _front_of_queue(connection: sqlite3.Connection) -> float:
    """The position before everybody's first."""
    query = "SELECT COALESCE(MIN(position), 2) - 1 FROM jobs WHERE state = 'queued'"
    return float(connection.execute(query).fetchone()[0])


def places_of(connection: sqlite3.Connection, owner: str) -> dict[str, int]:
    """Where the owner's jobs stand among everybody's, 1 being next; by job id, in this order."""
    places = enumerate(_queue(connection), 1)
    return {row["id"]: place for place, row in places if row["owner"] == owner}


def move(connection: sqlite3.Connection, owner: str, job_id: str, direction: Direction) -> bool:
    """Has a queued job change places with the owner's job before or after it.

    Nobody else's place changes. Returns False where there is none to change with.
    """
    own = [row for row in _queue(connection) if row["owner"] == owner]
    ids = [row["id"] for row in own]
    if job_id not in ids:
        return False
    here = ids.index(job_id)
    there = here - 1 if direction == "sooner" else here + 1
    if not 0 <= there < len(own):
        return False
    swapped = [(own[there]["position"], job_id), (own[here]["position"], ids[there])]
    connection.executemany("UPDATE jobs SET position = ? WHERE id = ?", swapped)
    return True


def _queue(connection: sqlite3.Connection) -> list[sqlite3.Row]:
    query = "SELECT id, owner, position FROM jobs WHERE state = 'queued' ORDER BY position"
    return connection.execute(query).fetchall()


def put_back(connection: sqlite3.Connection, job_id: str) -> None:
    """To the front: a running job that lost its worker; its items that are over stay so."""
    connection.execute(
        f"UPDATE jobs SET {WAITING}, position = ?, losses = losses + 1 WHERE id = ?",
        (_front_of_queue(connection), job_id),
    )
    connection.execute(
        "UPDATE items SET state = 'queued', timings = '{}' WHERE job_id = ? AND state = 'running'",
        (job_id,),
    )
