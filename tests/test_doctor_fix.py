"""`doctor --fix` on a home: each thing is broken for real first, and is whole afterwards."""

import json
import os

from doctor_patient import LONG_AGO, asides, doctor, fixed, made, no_table, old, quiet, submit
from model_files import put, variant

from studio.doctor_faults import mend
from studio.families import SDXL
from studio.home import Home
from studio.jobs import JobTable
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
