"""`doctor --fix`: each thing is broken for real first, and is whole afterwards."""

import gc
import importlib.metadata
import json
import os
import sqlite3
import subprocess
import sys
import sysconfig
import time
import zipfile
from contextlib import closing
from pathlib import Path

import pytest
from model_files import put, variant
from test_comfy_install import Hub, kill_during, plain_git

from studio import doctor_installed, jobs_mend
from studio.comfy_install import install, status
from studio.doctor import examine
from studio.doctor_faults import find_faults, mend
from studio.doctor_installed import comfy_faults
from studio.errors import StudioError
from studio.families import SDXL
from studio.home import Home
from studio.jobs import JobTable
from studio.jobs_copy import table_copied
from studio.weights_demo import ensure_demo, is_whole
from studio.weights_hub_cache import cache_folder

git_settings = plain_git
ROOT = Path(__file__).parents[1]
LONG_AGO = time.time() - 3 * 24 * 3600


@pytest.fixture
def hub(tmp_path):
    return Hub(tmp_path)


def quiet(_line):
    pass


def fixed(home):
    """What became of each fault, by name; nothing that could be mended is left afterwards."""
    done = {one.name: one for one in mend(home, quiet)}
    assert [fault.name for fault in find_faults(home) if fault.mend] == []
    return done


def made(home):
    home.root.mkdir(parents=True)
    return home


def old(path, content=b"half"):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    for one in (path, path.parent):
        os.utime(one, (LONG_AGO, LONG_AGO))
    return path


# The command


def doctor(home, *flags, python=sys.executable, **environment):
    return subprocess.run(
        [str(python), "-m", "studio", "doctor", *flags, "--home", str(home.root)],
        cwd=ROOT,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
    )


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


# Python packages: real pip, without a network


@pytest.fixture
def environment(tmp_path):
    """A virtual environment with all that is installed here, but without the package peft."""
    folder = tmp_path / "venv"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(folder)], check=True)
    own = next((folder / "lib").glob("python*/site-packages"))
    for path in Path(sysconfig.get_path("purelib")).iterdir():
        if not path.name.startswith("peft"):
            (own / path.name).symlink_to(path)
    return folder / "bin" / "python", own


def wheel(folder, name, version):
    folder.mkdir()
    info = f"{name}-{version}.dist-info"
    files = {
        f"{name}/__init__.py": f'__version__ = "{version}"\n',
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        f"{info}/RECORD": "",
    }
    with zipfile.ZipFile(folder / f"{name}-{version}-py3-none-any.whl", "w") as archive:
        for path, content in files.items():
            archive.writestr(path, content)


def wheel_of_installed(folder, name):
    """The real package, as it is here."""
    folder.mkdir(exist_ok=True)
    found = importlib.metadata.distribution(name)
    with zipfile.ZipFile(folder / f"{name}-{found.version}-py3-none-any.whl", "w") as archive:
        for file in found.files:
            if file.suffix != ".pyc" and file.name not in ("INSTALLER", "REQUESTED"):
                archive.write(file.locate(), file.as_posix())


def constrained(name):
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    return next(line for line in lines if line.startswith(f"{name}==")).partition("==")[2]


OFFLINE = {"PIP_NO_INDEX": "1", "PIP_CONFIG_FILE": os.devnull, "PIP_NO_CACHE_DIR": "1"}


@pytest.mark.skipif(sys.platform == "win32", reason="links need rights there")
def test_missing_package_is_installed_into_the_environment(home, environment, tmp_path):
    made(home)
    python, own = environment
    links = {**OFFLINE, "PIP_FIND_LINKS": str(tmp_path / "wheels")}
    without = json.loads(doctor(home, "--fix", "--json", python=python, **OFFLINE).stdout)
    (left,) = without["mended"]
    assert (left["name"], left["mended"]) == ("packages", False)
    assert "pip could not install" in left["sentence"] and not without["healthy"]

    wheel(tmp_path / "wheels", "peft", constrained("peft"))
    told = json.loads(doctor(home, "--fix", "--json", python=python, **links).stdout)
    (mended,) = told["mended"]
    assert mended["mended"] and mended["sentence"].startswith("Installed peft")
    assert (own / "peft" / "__init__.py").exists()
    assert told["healthy"]


@pytest.mark.skipif(sys.platform == "win32", reason="links need rights there")
def test_studio_that_cannot_even_start_says_so_and_is_mended(home, environment, tmp_path):
    made(home)
    python, own = environment
    for path in own.glob("filelock*"):
        path.unlink()
    bare = doctor(home, python=python)
    assert (bare.returncode, bare.stdout) == (1, "")
    assert bare.stderr.startswith("The Python package 'filelock' is missing: run 'python -m studio")
    assert "Traceback" not in bare.stderr
    failed = doctor(home, "--fix", python=python, **OFFLINE)
    assert failed.returncode == 1 and failed.stderr.count("pip could not install") == 1

    wheel(tmp_path / "wheels", "peft", constrained("peft"))
    wheel_of_installed(tmp_path / "wheels", "filelock")
    mended = doctor(
        home, "--fix", python=python, PIP_FIND_LINKS=str(tmp_path / "wheels"), **OFFLINE
    )
    assert mended.returncode == 0, mended.stderr
    assert mended.stdout.startswith("Nothing was to be mended.")


def test_python_of_the_whole_system_is_left_alone(home, monkeypatch):
    made(home)
    monkeypatch.setattr(sys, "prefix", sys.base_prefix)
    monkeypatch.setattr(doctor_installed, "missing_requirements", lambda _lines: ["peft>=0.18"])
    (left,) = [one for one in mend(home, quiet) if one.name == "packages"]
    assert not left.mended and "virtual environment only" in left.sentence


# ComfyUI


def comfy(home, hub, **more):
    return list(comfy_faults(home, hub.pins, hub.base_url, **more))


def no_pip(command, say):
    return 0, ""


@pytest.mark.parametrize("step", ["fetch", "checkout"])
def test_killed_installation_of_comfyui_is_finished(home, hub, tmp_path, step):
    assert comfy(home, hub) == []
    if step == "checkout":
        install(home, say=quiet, pins=hub.old_pins, base_url=hub.base_url, pip=no_pip)
    kill_during(home, hub, tmp_path, step)
    (fault,) = comfy(home, hub, pip=no_pip)
    assert fault.sentence == "The installation of ComfyUI was cut short."
    assert fault.mend(quiet).startswith("Finished the installation of ComfyUI")
    assert status(home, pins=hub.pins).comfyui.state == "ready"
    assert not list(home.root.glob(".comfyui-*"))


def test_missing_requirements_of_comfyui_are_installed(home, hub, monkeypatch):
    install(home, say=quiet, pins=hub.pins, base_url=hub.base_url, pip=no_pip)
    commands = []

    def pip(command, say):
        commands.append(command)
        return 0, ""

    monkeypatch.setattr("studio.comfy_install._wanted", lambda packs: iter(["not-here-yet>=1"]))
    (fault,) = comfy(home, hub, pip=pip)
    assert fault.sentence == "ComfyUI lacks not-here-yet>=1."
    fault.mend(quiet)
    assert len(commands) == 1


def test_installation_that_is_running_is_left_alone(home, hub, tmp_path):
    from filelock import FileLock

    kill_during(home, hub, tmp_path, "fetch")
    (fault,) = comfy(home, hub)
    with FileLock(home.root / "comfyui.lock"), pytest.raises(StudioError, match="is running"):
        fault.mend(quiet)
