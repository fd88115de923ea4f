"""What a job has taken, where the clock was set or the machine slept while it ran."""

import sqlite3

CLOCK_SECONDS = 2.0
"""A clock that was set by less is not worth correcting what is told of a job."""


def correct_start(
    connection: sqlite3.Connection, job_id: str, now: float, seconds: float | None
) -> None:
    """Has the job begun `seconds` ago, as its runner has counted them; None where nobody has.

    `now` is in seconds since the epoch. All that is told of a running job is counted from here.
    """
    if seconds is not None:
        connection.execute(
            "UPDATE jobs SET started = ?1 WHERE id = ?2 AND abs(started - ?1) > ?3",
            (now - seconds, job_id, CLOCK_SECONDS),
        )
