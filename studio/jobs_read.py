"""Jobs as they are read from the table's file. What changes them is in `jobs.py`."""

import sqlite3
from collections.abc import Sequence

from studio.jobs_rows import Item, Job, item_from_row, job_from_row


def marks(count: int) -> str:
    """Placeholders for so many values of an SQL condition."""
    return ", ".join("?" * count)


def select(
    connection: sqlite3.Connection, condition: str, values: Sequence[object]
) -> tuple[Job, ...]:
    """The jobs, with their items, that an SQL condition picks."""
    rows = connection.execute(f"SELECT * FROM jobs WHERE {condition}", values).fetchall()
    items: dict[str, list[Item]] = {row["id"]: [] for row in rows}
    found = connection.execute(
        f"SELECT * FROM items WHERE job_id IN ({marks(len(items))}) ORDER BY item_index",
        tuple(items),
    )
    for row in found:
        items[row["job_id"]].append(item_from_row(row))
    return tuple(job_from_row(row, items[row["id"]]) for row in rows)


def find(connection: sqlite3.Connection, job_id: str) -> Job | None:
    """The job, if there is one of this id."""
    return next(iter(select(connection, "id = ?", (job_id,))), None)


def read(connection: sqlite3.Connection, job_id: str) -> Job:
    """A job that is known to be there."""
    return select(connection, "id = ?", (job_id,))[0]
