"""A damaged job table: told by the doctor, kept aside, and replaced."""

import os
import sqlite3
import subprocess
import sys
from contextlib import closing

import pytest
from doctor_patient import asides, fixed, no_table, quiet, submit

from studio import jobs_mend
from studio.doctor import examine
from studio.doctor_faults import mend
from studio.errors import StudioError
from studio.home import Home
from studio.jobs import JobTable
from studio.jobs_copy import table_copied


def prompts(table):
    return [job.params["prompt"] for job in JobTable(table).list_for("ann")]


def torn_pages(path):
    with path.open("r+b") as file:
        file.seek(4096)
        file.write(os.urandom(8192))


def torn_text(path):
    with closing(sqlite3.connect(path)) as table, table:
        table.execute("UPDATE jobs SET params = '{\"prompt'")


def lost_part(path):
    with closing(sqlite3.connect(path)) as table, table:
        table.execute("DROP TABLE items")


@pytest.mark.parametrize("damage", [no_table, torn_pages, torn_text, lost_part])
def test_damaged_table_is_kept_aside_and_a_new_one_made(home, damage):
    submit(home)
    damage(home.database)
    content = home.database.read_bytes()
    assert [check.name for check in examine(home).checks if check.ok is False] == ["job table"]
    done = fixed(home)
    assert "a new one was made" in done["job table"].sentence
    (aside,) = asides(home)
    assert str(aside) in done["job table"].sentence
    assert aside.read_bytes() == content
    assert prompts(home.database) == []
    submit(home, "a dog")
    assert prompts(home.database) == ["a dog"]


def test_log_of_a_damaged_table_goes_with_it(home):
    submit(home)
    no_table(home.database)
    log = home.database.with_name("jobs.sqlite3-wal")
    log.write_bytes(b"the log")
    fixed(home)
    (aside,) = asides(home)
    assert aside.with_name(f"{aside.name}-wal").read_bytes() == b"the log"
    assert not log.exists() or log.read_bytes() != b"the log"


def test_copy_on_the_volume_is_brought_back(tmp_path):
    home = Home(tmp_path / "volume", tmp_path / "own")
    home.root.mkdir()
    with table_copied(home):
        submit(home)
    no_table(home.database)
    assert "its copy was brought back" in fixed(home)["job table"].sentence
    assert prompts(home.database) == ["a cat"]
    assert len(asides(home)) == 1


def test_damaged_copy_is_not_brought_back_and_not_lost(tmp_path):
    home = Home(tmp_path / "volume", tmp_path / "own")
    home.root.mkdir()
    submit(home)
    no_table(home.database)
    no_table(home.database_copy)
    assert "a new one was made" in fixed(home)["job table"].sentence
    assert prompts(home.database) == []
    assert len(asides(home)) == 2
    assert home.database_copy.exists()


def test_sound_table_is_left_alone(home):
    submit(home)
    before = home.database.read_bytes()
    assert "job table" not in fixed(home)
    assert home.database.read_bytes() == before
    assert asides(home) == []


def test_busy_table_is_told_and_left(home):
    submit(home)
    with closing(sqlite3.connect(home.database, isolation_level=None)) as other:
        other.execute("PRAGMA journal_mode = DELETE")
        other.execute("BEGIN EXCLUSIVE")
        with pytest.raises(StudioError, match="kept busy"):
            jobs_mend.is_damaged(home.database, busy_seconds=0.1)
    assert not jobs_mend.is_damaged(home.database)


def test_table_that_a_studio_has_open_is_left(home):
    submit(home)
    no_table(home.database)
    script = f"file = open({str(home.database)!r}); print('open', flush=True); input()"
    with subprocess.Popen(
        [sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as studio:
        studio.stdout.readline()
        done = {one.name: one for one in mend(home, quiet)}
        studio.communicate("\n")
    assert not done["job table"].mended and "stop it" in done["job table"].sentence
    assert asides(home) == []
