"""The job table's file: locked, damaged, newer, older."""

import sqlite3
import threading
from pathlib import Path

import pytest
from job_rows import submit

from studio.errors import StudioError
from studio.jobs import JobTable
from studio.jobs_schema import MIGRATIONS, migrate, schema_version


def hold_lock(path: Path, seconds: float) -> threading.Timer:
    """Keeps everybody else from writing for a while; returns what waits for its end."""
    holder = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    holder.execute("BEGIN IMMEDIATE")
    release = threading.Timer(seconds, holder.execute, ("ROLLBACK",))
    release.start()
    return release


def test_table_waits_for_a_lock(table: JobTable):
    submit(table)
    hold_lock(table.path, 0.3)
    assert submit(table).state == "queued"


def test_table_waits_for_a_lock_on_a_file_without_a_log(tmp_path: Path):
    path = tmp_path / "jobs.sqlite3"
    migrate(sqlite3.connect(path, isolation_level=None), path)
    hold_lock(path, 0.3)
    assert JobTable(path).list_for("ann") == ()


def test_table_says_that_it_is_locked_and_goes_on_after(tmp_path: Path):
    table = JobTable(tmp_path / "jobs.sqlite3", busy_seconds=0.05)
    submit(table)
    release = hold_lock(table.path, 0.3)
    with pytest.raises(StudioError, match=r"jobs\.sqlite3 is kept busy by another program"):
        submit(table)
    assert len(table.list_for("ann")) == 1
    release.join()
    submit(table)
    assert len(table.list_for("ann")) == 2


@pytest.mark.parametrize("content", [b"not a table at all" * 500, b"SQLite format 3\0garbage"])
def test_table_refuses_a_file_that_is_not_one_and_leaves_it(tmp_path: Path, content: bytes):
    path = tmp_path / "jobs.sqlite3"
    path.write_bytes(content)
    with pytest.raises(StudioError, match=r"jobs\.sqlite3"):
        JobTable(path).list_for("ann")
    assert path.read_bytes() == content


def test_table_names_a_damaged_file_and_leaves_it(table: JobTable):
    path = table.path
    for _ in range(50):
        submit(table)
    sqlite3.connect(path).execute("PRAGMA wal_checkpoint(TRUNCATE)")
    healthy = path.read_bytes()
    damaged = healthy[:4096] + b"\xa5" * (len(healthy) - 4096)
    path.write_bytes(damaged)
    with pytest.raises(StudioError, match="is damaged; move it away"):
        JobTable(path).list_for("ann")
    assert path.read_bytes() == damaged


def test_table_refuses_a_newer_schema_and_leaves_it(tmp_path: Path):
    path = tmp_path / "jobs.sqlite3"
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE jobs (future)")
        connection.execute(f"PRAGMA user_version = {len(MIGRATIONS) + 1}")
    before = path.read_bytes()
    with pytest.raises(StudioError, match="written by a newer version of the studio"):
        JobTable(path).list_for("ann")
    assert path.read_bytes() == before


def test_table_says_that_its_folder_cannot_be_made(tmp_path: Path):
    (tmp_path / "home").write_text("a file")
    with pytest.raises(StudioError, match="cannot be made; choose a home"):
        submit(JobTable(tmp_path / "home" / "jobs.sqlite3"))


def add_colour(connection: sqlite3.Connection) -> None:
    connection.execute("ALTER TABLE jobs ADD COLUMN colour TEXT NOT NULL DEFAULT 'slate'")


def fail_halfway(connection: sqlite3.Connection) -> None:
    add_colour(connection)
    raise RuntimeError("power cut")


def test_migrate_takes_an_older_table_along(table: JobTable):
    job = submit(table)
    connection = sqlite3.connect(table.path, isolation_level=None)
    migrate(connection, table.path, (*MIGRATIONS, add_colour))
    assert schema_version(connection) == len(MIGRATIONS) + 1
    assert connection.execute("SELECT id, colour FROM jobs").fetchall() == [(job.id, "slate")]


def test_migrate_changes_nothing_when_it_fails_halfway(table: JobTable):
    job = submit(table)
    connection = sqlite3.connect(table.path, isolation_level=None)
    with pytest.raises(RuntimeError):
        migrate(connection, table.path, (*MIGRATIONS, fail_halfway))
    assert schema_version(connection) == len(MIGRATIONS)
    assert JobTable(table.path).get(job.id) == job
