"""A job table whose pages are sound and whose texts are not."""

import sqlite3
from contextlib import closing

import pytest

from studio.errors import StudioError
from studio.jobs import JobTable
from studio.jobs_schema import connect


@pytest.mark.parametrize("damage", ["CAST(x'7bd57d' AS TEXT)", "'{\"prompt'"])
def test_text_that_is_damaged_is_told_in_a_sentence(tmp_path, damage):
    table = JobTable(tmp_path / "jobs.sqlite3")
    job = table.submit("ann", "photo", {"prompt": "a cat"}, 1, {})
    with closing(sqlite3.connect(table.path)) as other, other:
        other.execute(f"UPDATE jobs SET params = {damage}")
    with pytest.raises(StudioError, match=r"jobs.sqlite3 (is damaged|could not be read)"):
        table.get(job.id)


def test_a_schema_that_is_damaged_is_told_in_a_sentence(tmp_path):
    path = tmp_path / "jobs.sqlite3"
    connect(path, 1.0).close()
    whole, required = b"finished REAL,\n            stages", b"finished REAL NOT NULL,\n   stages"
    file = path.read_bytes()
    assert file.count(whole) == 1
    path.write_bytes(file.replace(whole, required))
    with pytest.raises(StudioError, match=r"jobs.sqlite3 is damaged"):
        JobTable(path).submit("ann", "photo", {"prompt": "a cat"}, 1, {})
