"""The cell of docs/modal-notebook.md is run, as far as it can be without a notebook.

A bare repository on this disk plays GitHub, a folder the volume; the packages are there already,
and the page has a port of its own instead of a public address.
"""

import os
import re
import subprocess
import sys
import threading
import time
from pathlib import Path

import httpx
import pytest
from page_server import free_port

ROOT = Path(__file__).parent.parent
GUIDE = (ROOT / "docs" / "modal-notebook.md").read_text()
CELLS = re.findall(r"```bash\n%%bash\n(.*?)```", GUIDE, re.DOTALL)


def git(*arguments, cwd=None):
    subprocess.run(["git", *map(str, arguments)], cwd=cwd, check=True, capture_output=True)


@pytest.fixture
def github(tmp_path):
    """A bare repository with what is in the working tree now."""
    work, bare = tmp_path / "work", tmp_path / "github.git"
    git("init", "--quiet", "--bare", "--initial-branch=main", bare)
    git("init", "--quiet", "--initial-branch=main", work)
    listed = subprocess.check_output(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"], cwd=ROOT, text=True
    )
    for name in filter(None, listed.split("\0")):
        source, target = ROOT / name, work / name
        if source.is_file() and not name.startswith(("tests/", "docs/pictures/")):
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(source.read_bytes())
    git("add", "--all", cwd=work)
    identity = ("-c", "user.name=test", "-c", "user.email=test@localhost")
    git(*identity, "commit", "--quiet", "-m", "all", cwd=work)
    git("push", "--quiet", bare, "main", cwd=work)
    return bare


@pytest.fixture
def notebook(tmp_path, github):
    """A kernel's environment: a Modal container, a volume, two secrets, an empty disk."""
    volume, disk, programs = tmp_path / "my-models-volume", tmp_path / "disk", tmp_path / "bin"
    for folder in (volume, disk, programs):
        folder.mkdir()
    python = programs / "python"
    # Anything but the installation: its packages are this interpreter's already.
    python.write_text(
        f'#!/bin/sh\n[ "$2" = pip ] && echo "$@" >> {disk}/pip.txt && exit 0\n'
        f'exec "{sys.executable}" "$@"\n'
    )
    python.chmod(0o755)
    kept = {name: value for name, value in os.environ.items() if not name.startswith("HF_HOME")}
    environ = {
        **kept,
        "PATH": f"{programs}:{os.environ['PATH']}",
        "HOME": str(disk),
        "MODAL_TASK_ID": "ta-1",
        "AIO_HOME": str(volume),
        "REPOSITORY": f"file://{github}",
        "GITHUB_TOKEN": "secret-token",
        "GIT_TERMINAL_PROMPT": "0",
    }
    return volume, disk, environ


class Cell:
    """A running cell; `said` is its output so far."""

    def __init__(self, text, disk, environ):
        self.said = ""
        self.process = subprocess.Popen(
            ["bash", "-c", text],
            cwd=disk,
            env=environ,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self):
        for line in self.process.stdout:
            self.said += line

    def wait_for(self, text, seconds=90):
        deadline = time.monotonic() + seconds
        while text not in self.said:
            assert self.process.poll() is None and time.monotonic() < deadline, self.said
            time.sleep(0.05)

    def stop(self):
        os.killpg(self.process.pid, 2)
        self.process.wait(30)


def test_cell_makes_a_result_that_is_on_the_volume(notebook):
    from gradio_client import Client

    volume, disk, environ = notebook
    port = free_port()
    cell = Cell(CELLS[0].replace("--share", f"--port {port}"), disk, environ)
    try:
        cell.wait_for("AIO Studio is at")
        client = Client(f"http://127.0.0.1:{port}", verbose=False, analytics_enabled=False)
        job_id = client.predict(
            prompt="a cat", width=128, height=128, preset="fast", api_name="/photo"
        )
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", cookies=client.cookies) as same:
            while (job := same.get(f"/jobs/{job_id}").json())["live"]:
                time.sleep(0.1)
    finally:
        cell.stop()
    assert job["state"] == "done", job["failure"]
    assert len(list((volume / "outputs").rglob("*.png"))) == 1
    assert (volume / "jobs-copy.sqlite3").is_file()
    assert not (volume / "jobs.sqlite3").exists() and not (volume / "scratch").exists()
    assert "-r requirements.txt -c constraints.txt" in (disk / "pip.txt").read_text()
    assert "secret-token" not in cell.said
    assert "secret-token" not in (disk / "aio-studio" / ".git" / "config").read_text()


def test_cell_run_again_takes_what_was_pushed(notebook, github, tmp_path):
    _, disk, environ = notebook
    cell = CELLS[0].rpartition("python app.py")[0]
    for _ in range(2):
        subprocess.run(["bash", "-c", cell], cwd=disk, env=environ, check=True, timeout=60)
    work = tmp_path / "work"
    (work / "new.txt").write_text("new")
    git("add", "--all", cwd=work)
    git("-c", "user.name=t", "-c", "user.email=t@localhost", "commit", "-qm", "new", cwd=work)
    git("push", "--quiet", github, "main", cwd=work)
    subprocess.run(["bash", "-c", cell], cwd=disk, env=environ, check=True, timeout=60)
    assert (disk / "aio-studio" / "new.txt").is_file()


def test_cell_for_models_is_a_command_that_there_is(notebook):
    _, disk, environ = notebook
    (disk / "aio-studio").symlink_to(ROOT)
    cell = CELLS[1].rstrip() + " --dry-run --json"
    subprocess.run(["bash", "-c", cell], cwd=disk, env=environ, check=True, timeout=60)


def test_guide_names_the_manual_steps_in_the_order_of_the_page():
    steps = ("GPU", "`github-token`", "`huggingface-secret`", "`my-models-volume`")
    places = [GUIDE.index(step) for step in steps]
    assert places == sorted(places)


def test_repository_has_no_notebook_file():
    assert not [path for path in ROOT.rglob("*.ipynb") if ".venv" not in path.parts]
