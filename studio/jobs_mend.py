"""A job table that is damaged: told from one that is only busy, and set aside, never deleted."""

import json
import os
import sqlite3
import time
from contextlib import closing, suppress
from pathlib import Path

from studio import disk
from studio.errors import EngineFailed, StudioError
from studio.home import Home
from studio.jobs import JobTable
from studio.jobs_copy import restore_table
from studio.jobs_rows import item_from_row, job_from_row
from studio.jobs_schema import (
    BUSY_SECONDS,
    MIGRATIONS,
    has_our_columns,
    plain_errors,
    schema_version,
)

ASIDE = "jobs-damaged-"
"""How the names begin of tables that were set aside."""

_DAMAGE = ("not a database", "malformed")
"""What SQLite says of a file that no waiting and no permission would mend."""


def is_damaged(path: Path, busy_seconds: float = BUSY_SECONDS) -> bool:
    """Looks at every page and every row; the file stays as it is.

    Raises StudioError where it cannot be read for another reason, as when it is kept busy.
    """
    if not path.exists():
        return False
    try:
        # Read-only: whoever opens a table for writing lets its log flow into it.
        address = f"{path.absolute().as_uri()}?mode=ro"
        with closing(sqlite3.connect(address, timeout=busy_seconds, uri=True)) as table:
            return not _is_sound(table)
    except (UnicodeDecodeError, json.JSONDecodeError):
        return True
    except sqlite3.DatabaseError as error:
        if any(sign in str(error) for sign in _DAMAGE):
            return True
        with plain_errors(path):
            raise


def _is_sound(table: sqlite3.Connection) -> bool:
    if table.execute("PRAGMA integrity_check").fetchone()[0] != "ok":
        return False
    # An older table is brought up to date when the studio opens it, a newer one is not ours.
    if schema_version(table) == len(MIGRATIONS):
        if not has_our_columns(table):
            return False
        table.row_factory = sqlite3.Row
        for row in table.execute("SELECT * FROM items"):
            item_from_row(row)
        for row in table.execute("SELECT * FROM jobs"):
            job_from_row(row, ())
    return True


def set_aside(home: Home) -> str:
    """Puts another table in the place of the damaged one; says in a sentence what it did.

    The copy of a home on a volume is brought back; without one the table is new. Raises
    StudioError while another process has the table open, EngineFailed for the disk.
    """
    if _is_open_elsewhere(home.database):
        raise StudioError(
            f"A studio has the job table {home.database} open: stop it, then run this again."
        )
    aside = _move(home.database)
    restore_table(home)
    restored = home.database.exists() and not is_damaged(home.database)
    if home.database.exists() and not restored:
        _move(home.database)
    JobTable(home.database).has_work()
    new = "its copy was brought back" if restored else "a new one was made"
    return f"The job table was damaged: it is kept as {aside}, and {new}."


def _move(table: Path) -> Path:
    """The table's log goes with it, and goes first: it must not be taken for another table's."""
    stamp = time.strftime("%Y%m%d-%H%M%S")
    names = (f"{ASIDE}{stamp}{more}.sqlite3" for more in ("", *(f"-{n}" for n in range(2, 1000))))
    aside = next(path for name in names if not (path := table.with_name(name)).exists())
    with disk.disk_errors(table.parent, EngineFailed):
        for ending in ("-wal", "-shm", ""):
            with suppress(FileNotFoundError):
                table.with_name(table.name + ending).rename(aside.with_name(aside.name + ending))
    return aside


def _is_open_elsewhere(path: Path) -> bool:
    """As far as the system tells: of other users' processes it may not."""
    import psutil

    for process in psutil.process_iter():
        with suppress(psutil.Error, OSError):
            opened = {file.path for file in process.open_files()}
            if process.pid != os.getpid() and str(path.resolve()) in opened:
                return True
    return False
