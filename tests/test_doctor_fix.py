"""`doctor --fix`: each thing is broken for real first, and is whole afterwards."""

import gc
import json
import os
import sqlite3
import subprocess
import sys
from contextlib import closing

import pytest
from doctor_runs import LONG_AGO, doctor, fixed, made, old, quiet
from model_files import put, variant

from studio import jobs_mend
from studio.doctor import examine
from studio.doctor_faults import mend
from studio.errors import StudioError
from studio.families import SDXL
from studio.home import Home
from studio.jobs import JobTable
from studio.jobs_copy import table_copied
from studio.weights_demo import ensure_demo, is_whole
from studio.weights_hub_cache import cache_folder

# The command


def test_doctor_says_the_summary_first_and_mends_by_itself_nothing(home):
    done = doctor(home)
    lines = done.stdout.splitlines()
    assert [line.partition(":")[0] for line in lines[:3]] == [
        "This machine",
        "Runs now",
        "Worth fetching",
    ]
    assert "does not exist" in done.stdout and "doctor --fix' mends it" in done.stdout
    assert not home.root.exists()


def test_fix_says_what_it_did_as_text_and_as_json(home):
    text = doctor(home, "--fix")
    assert text.returncode == 0
    assert text.stdout.startswith(f"mended home folder: Made the home folder {home.root}.\n\nThis")
    assert home.root.is_dir()
    assert doctor(home, "--fix").stdout.startswith("Nothing was to be mended.")
    home.database.write_bytes(b"no table at all" * 100)
    told = json.loads(doctor(home, "--fix", "--json").stdout)
    (mended,) = told["mended"]
    assert (mended["name"], mended["mended"]) == ("job table", True)
    assert told["healthy"] and told["summary"][0]["about"] == "This machine"


# The home


def test_home_that_cannot_be_made_is_told(tmp_path):
    (tmp_path / "file").touch()
    done = {one.name: one for one in mend(Home(tmp_path / "file" / "home"), quiet)}
    assert not done["home folder"].mended
    assert "cannot be used as a folder" in done["home folder"].sentence


def test_demo_weights_that_are_cut_short_are_built_again(home):
    folder = ensure_demo(home, "sdxl")
    largest = max(folder.rglob("*.safetensors"), key=lambda path: path.stat().st_size)
    os.truncate(largest, largest.stat().st_size // 2)
    assert not is_whole(folder)
    done = fixed(home)
    assert done["demo weights SDXL"].mended
    assert is_whole(folder)
    assert [name for name in done if name.startswith("demo")] == ["demo weights SDXL"]


def test_links_into_the_cache_go_and_links_of_the_users_own_stay(home, tmp_path):
    kept = put(home, variant(SDXL, "epiCRealism XL").models[0])
    loras = home.models / "loras"
    loras.mkdir(parents=True)
    cached, own, good = (loras / f"{name}.safetensors" for name in ("cached", "own", "good"))
    cached.symlink_to(tmp_path / "hub" / "models--a--b" / "blobs" / "gone")
    own.symlink_to(tmp_path / "unplugged" / "own.safetensors")
    good.symlink_to(kept / "model_index.json")
    done = list(mend(home, quiet))
    assert [one.mended for one in done if one.name == "models"] == [True, False]
    assert "connect that disk" in done[-1].sentence
    assert not cached.is_symlink()
    assert own.is_symlink() and good.exists()


# The job table


def submit(home, prompt="a cat"):
    job = JobTable(home.database).submit("ann", "photo", {"prompt": prompt}, 1, {})
    # As a studio that has ended: its connection goes with its table.
    gc.collect()
    return job


def prompts(table):
    return [job.params["prompt"] for job in JobTable(table).list_for("ann")]


def asides(home):
    return sorted(home.database.parent.glob("jobs-damaged-*.sqlite3"))


def no_table(path):
    path.write_bytes(b"no table at all" * 100)


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


# What was left behind


def test_leftovers_go_and_what_may_be_used_stays(home):
    done_job, failed_job = submit(home), submit(home)
    table = JobTable(home.database)
    for job, state in ((done_job, "done"), (failed_job, "failed")):
        table.claim(job.id)
        table.finish(job.id, state)
    useless = [
        old(home.scratch / done_job.id / "0" / "latents.safetensors"),
        old(home.scratch / ("0" * 32) / "0" / "latents.safetensors"),
        old(home.scratch / ".partial-1"),
        old(home.outputs / "2025-01-31" / ".partial-2"),
        old(home.models / "loras" / ".partial-3"),
        old(home.scratch / "uploads" / "hash" / "cat.png"),
        old(home.scratch / "trash" / "made" / "cat.png"),
        old(home.demo / ".building-1" / "new"),
    ]
    new = home.outputs / "2025-01-31" / ".partial-4"
    new.touch()
    useful = [
        old(home.scratch / failed_job.id / "0" / "latents.safetensors"),
        old(home.scratch / "posters" / "cat.jpg"),
        old(home.outputs / "2025-01-31" / "120000_photo_1.png"),
        new,
    ]
    for path in (*useless, useful[0]):
        os.utime(path.parents[1], (LONG_AGO, LONG_AGO))
    said = fixed(home)["scratch"].sentence
    assert said.startswith("Deleted 8 files and folders that nothing uses")
    assert not any(path.exists() for path in useless)
    assert all(path.exists() for path in useful)


def test_folders_of_unknown_jobs_stay_while_a_damaged_table_is_kept(home):
    """Whoever rescues that table may run its jobs again."""
    submit(home)
    latents = old(home.scratch / ("0" * 32) / "latents.safetensors")
    no_table(home.database)
    fixed(home)
    assert asides(home) and latents.exists()


def test_half_download_goes_where_the_file_is_whole(home):
    made(home)
    blobs = cache_folder() / "models--some--one" / "blobs"
    old(blobs / "abc", b"the whole file")
    useless = old(blobs / "abc.1f2e.incomplete", b"the wh")
    useful = old(blobs / "def.incomplete", b"the half of another")
    said = fixed(home)["downloads"].sentence
    assert said.startswith("Deleted 1 half download")
    assert not useless.exists()
    assert useful.exists() and (blobs / "abc").read_bytes() == b"the whole file"
