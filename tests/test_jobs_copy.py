"""The copy of the job table that outlives a container."""

import sqlite3
import time

import pytest

from studio.errors import StudioError
from studio.home import Home
from studio.jobs import JobTable
from studio.jobs_copy import restore_table, table_copied
from studio.studio import open_studio

SOON = 0.02


@pytest.fixture
def volume(tmp_path):
    return tmp_path / "volume"


def container(volume, name):
    """The home of a container that has the volume, and a disk of its own."""
    return Home(volume, volume.parent / name)


def submit(home, prompt):
    return JobTable(home.database).submit("ann", "photo", {"prompt": prompt}, 1, {})


def prompts(home):
    return {job.params["prompt"] for job in JobTable(home.database).list_for("ann")}


def wait_for(happened, seconds=10):
    deadline = time.monotonic() + seconds
    while not happened():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_table_is_there_in_the_next_container(volume):
    first, second = container(volume, "first"), container(volume, "second")
    with table_copied(first):
        submit(first, "a cat")
    assert prompts(open_studio(second).home) == {"a cat"}


def test_table_copied_while_jobs_run_survives_a_kill(volume):
    """Nothing is closed: the copy is whole at every moment, and what came later is in the next."""
    home, commits = container(volume, "first"), []
    with table_copied(home, lambda: commits.append(len(_copied_rows(home))), SOON):
        for number in range(3):
            submit(home, f"cat {number}")
            wait_for(lambda wanted=number + 1: commits[-1:] == [wanted])
        copies = len(commits)
        time.sleep(10 * SOON)
        assert len(commits) == copies, "an unchanged table was copied again"


def _copied_rows(home):
    connection = sqlite3.connect(f"file:{home.database_copy}?immutable=1", uri=True)
    try:
        return connection.execute("SELECT id FROM jobs").fetchall()
    finally:
        connection.close()


def test_volume_holds_nothing_but_whole_copies(volume):
    home = container(volume, "first")
    with table_copied(home, seconds=SOON):
        submit(home, "a cat")
    assert [path.name for path in volume.iterdir()] == ["jobs-copy.sqlite3"]


def test_restore_leaves_a_table_that_is_there(volume):
    home = container(volume, "first")
    with table_copied(home):
        submit(home, "a cat")
    submit(home, "a dog")
    restore_table(home)
    assert prompts(home) == {"a cat", "a dog"}


def test_table_is_copied_again_after_a_refusal(volume, caplog):
    home, answers = container(volume, "first"), iter([StudioError("The volume is away.")])

    def commit():
        for refusal in answers:
            raise refusal

    with table_copied(home, commit, SOON):
        submit(home, "a cat")
        wait_for(lambda: "could not be copied" in caplog.text)
    assert prompts(open_studio(container(volume, "second")).home) == {"a cat"}


def test_home_on_one_disk_has_no_copy(home):
    with table_copied(home):
        submit(home, "a cat")
    assert not list(home.root.glob("*copy*"))
