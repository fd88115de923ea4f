"""The job table's file: its schema, its migrations, its connections. The SQL is in `jobs.py`."""

import json
import os
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from functools import cache
from pathlib import Path

from studio.errors import StudioError

Migration = Callable[[sqlite3.Connection], None]

BUSY_SECONDS = 10.0
"""How long a call waits for another process's write; ours last milliseconds."""

_DAMAGED = (
    "The job table {path} is damaged; move it away, or put a backup in its place, and start the "
    "studio again."
)
_TROUBLE = (
    ("locked", "The job table {path} is kept busy by another program; try again in a moment."),
    (
        "not a database",
        "The file {path} is not a job table; move it away and start the studio again.",
    ),
    ("malformed", _DAMAGED),
    ("full", "The disk that holds the job table {path} is full; free some space."),
    ("readonly", "The job table {path} is write-protected; choose a home that can be written."),
    ("unable to open", "The job table {path} cannot be opened; choose a home that can be written."),
)
_OTHER_TROUBLE = "The job table {path} could not be read or written; check the disk that holds it."


@contextmanager
def plain_errors(path: Path) -> Iterator[None]:
    """Turns SQLite's complaints about the file at `path` into a `StudioError` that names it."""
    try:
        yield
    except sqlite3.IntegrityError:
        raise
    # Of what a column holds: the file's own structure may be sound.
    except (UnicodeDecodeError, json.JSONDecodeError) as error:
        raise StudioError(_DAMAGED.format(path=path)) from error
    except sqlite3.DatabaseError as error:
        found = (sentence for clue, sentence in _TROUBLE if clue in str(error))
        raise StudioError(next(found, _OTHER_TROUBLE).format(path=path)) from error


def _jobs_and_items(connection: sqlite3.Connection) -> None:
    # The seed is text: ComfyUI's seeds reach 2**64 - 1, past SQLite's signed integers.
    connection.execute(
        """
        CREATE TABLE jobs (
            serial INTEGER PRIMARY KEY AUTOINCREMENT,
            id TEXT NOT NULL UNIQUE,
            owner TEXT NOT NULL,
            mode TEXT NOT NULL,
            preset TEXT,
            params TEXT NOT NULL,
            seed TEXT NOT NULL,
            inputs TEXT NOT NULL,
            state TEXT NOT NULL,
            position REAL NOT NULL,
            created REAL NOT NULL,
            started REAL,
            finished REAL,
            stages TEXT NOT NULL DEFAULT '{}',
            stage INTEGER,
            step INTEGER NOT NULL DEFAULT 0,
            steps INTEGER NOT NULL DEFAULT 0,
            fraction REAL NOT NULL DEFAULT 0,
            notes TEXT NOT NULL DEFAULT '[]',
            failure TEXT,
            cancel_requested INTEGER NOT NULL DEFAULT 0
        )
        """
    )
    connection.execute(
        """
        CREATE TABLE items (
            job_id TEXT NOT NULL REFERENCES jobs (id),
            item_index INTEGER NOT NULL,
            source TEXT,
            state TEXT NOT NULL,
            engine TEXT,
            weights TEXT,
            output TEXT,
            findings TEXT NOT NULL DEFAULT '[]',
            details TEXT NOT NULL DEFAULT '{}',
            failure TEXT,
            timings TEXT NOT NULL DEFAULT '{}',
            PRIMARY KEY (job_id, item_index)
        )
        """
    )
    connection.execute("CREATE INDEX jobs_queue ON jobs (state, position)")
    connection.execute("CREATE INDEX jobs_of_owner ON jobs (owner, serial)")
    connection.execute("CREATE INDEX jobs_of_mode ON jobs (mode, preset, serial)")


def _estimates(connection: sqlite3.Connection) -> None:
    connection.execute("ALTER TABLE items ADD COLUMN extent TEXT")
    connection.execute("ALTER TABLE jobs ADD COLUMN forecast TEXT")


def _losses(connection: sqlite3.Connection) -> None:
    connection.execute("ALTER TABLE jobs ADD COLUMN losses INTEGER NOT NULL DEFAULT 0")


MIGRATIONS: Sequence[Migration] = (_jobs_and_items, _estimates, _losses)
"""Migration n (from 1) takes the schema from version n - 1 to n. Never edited once released."""


def schema_version(connection: sqlite3.Connection) -> int:
    """The number of migrations that the file has seen; 0 for a new file."""
    return int(connection.execute("PRAGMA user_version").fetchone()[0])


def migrate(
    connection: sqlite3.Connection, path: Path, migrations: Sequence[Migration] = MIGRATIONS
) -> None:
    """Runs the migrations that the file at `path` lacks, all of them or none.

    Raises `StudioError` for a file that a newer studio has written, and leaves it as it is.
    """
    if schema_version(connection) == len(migrations):
        return
    with connection:
        # Two processes may start on a new home at once: only the first finds work to do.
        connection.execute("BEGIN IMMEDIATE")
        version = schema_version(connection)
        if version > len(migrations):
            raise StudioError(
                f"The job table {path} was written by a newer version of the studio; update the "
                "studio or choose another home."
            )
        for migration in migrations[version:]:
            migration(connection)
        connection.execute(f"PRAGMA user_version = {len(migrations)}")


def _columns(connection: sqlite3.Connection) -> tuple[tuple[object, ...], ...]:
    """What rows are held to: of each column its table, name, default, and whether it is required
    or a key.
    """
    rows = connection.execute(
        "SELECT tables.name, columns.name, columns.dflt_value, columns.[notnull], columns.pk"
        " FROM sqlite_master AS tables JOIN pragma_table_info(tables.name) AS columns"
        " WHERE tables.name IN ('jobs', 'items') ORDER BY tables.name, columns.cid"
    )
    return tuple(tuple(row) for row in rows)


@cache
def _our_columns() -> tuple[tuple[object, ...], ...]:
    """A damaged schema may still be one, to which no row of ours fits."""
    with closing(sqlite3.connect(":memory:")) as connection:
        for migration in MIGRATIONS:
            migration(connection)
        return _columns(connection)


def has_our_columns(connection: sqlite3.Connection) -> bool:
    """Whether every row of ours fits the tables of the newest version."""
    return _columns(connection) == _our_columns()


def _let_readers_pass(connection: sqlite3.Connection, busy_seconds: float) -> None:
    """Turns on the write-ahead log; SQLite's own timeout does not cover this one statement."""
    deadline = time.monotonic() + busy_seconds
    while True:
        try:
            connection.execute("PRAGMA journal_mode = WAL")
            return
        except sqlite3.OperationalError as error:
            if "locked" not in str(error) or time.monotonic() > deadline:
                raise
            time.sleep(0.01)


def connect(path: Path, busy_seconds: float) -> sqlite3.Connection:
    """A connection to the job table at `path`, made with its folder where there is none.

    Transactions are begun by hand. Raises `StudioError` for a file that cannot be used.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StudioError(
            f"The folder {path.parent} cannot be made; choose a home that can be written."
        ) from error
    connection = sqlite3.connect(path, timeout=busy_seconds, isolation_level=None)
    connection.row_factory = sqlite3.Row
    migrate(connection, path)
    if not has_our_columns(connection):
        raise StudioError(_DAMAGED.format(path=path))
    _let_readers_pass(connection, busy_seconds)
    # A power cut may undo the last commits, a killed process none, and no step waits for the disk.
    connection.execute("PRAGMA synchronous = NORMAL")
    connection.execute("PRAGMA foreign_keys = ON")
    # SQLite's own `lower` knows only ASCII.
    connection.create_function("casefold", 1, _casefold, deterministic=True)
    return connection


def _casefold(text: object) -> str:
    return str(text or "").casefold()


class _Connections(threading.local):
    """This thread's connection and the process that opened it."""

    opened: sqlite3.Connection | None = None
    pid: int = 0
    inherited: sqlite3.Connection | None = None


class JobFile:
    """The job table's file, with one connection a thread, opened on first use."""

    def __init__(self, path: Path, busy_seconds: float) -> None:
        self._path = path
        self._busy_seconds = busy_seconds
        self._connections = _Connections()

    @contextmanager
    def reading(self) -> Iterator[sqlite3.Connection]:
        """One snapshot of the table, so that a job and its items agree."""
        with plain_errors(self._path), self._connection() as connection:
            connection.execute("BEGIN")
            yield connection

    @contextmanager
    def writing(self) -> Iterator[sqlite3.Connection]:
        """One transaction: all of it is kept, or nothing when the block raises."""
        with plain_errors(self._path), self._connection() as connection:
            connection.execute("BEGIN IMMEDIATE")
            yield connection

    def _connection(self) -> sqlite3.Connection:
        mine = self._connections
        if mine.pid != os.getpid():
            # A forked process must neither use its parent's connection nor close it.
            mine.inherited, mine.opened, mine.pid = mine.opened, None, os.getpid()
        if mine.opened is None:
            mine.opened = connect(self._path, self._busy_seconds)
        return mine.opened
