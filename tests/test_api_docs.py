"""Every example of docs/api.md, run as it stands against a live studio on demo weights."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import httpx
import pytest
from page_server import free_port
from PIL import Image
from requests_of_modes import Media

import app

ROOT = Path(app.__file__).parent
ADDRESS = "http://127.0.0.1:7860"
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)

HELD = {"python": [sys.executable, "-c"], "bash": ["bash", "-euo", "pipefail", "-c"]}
"""What runs a block of the language."""


def blocks():
    """Each example under the heading that it stands below."""
    for section in (ROOT / "docs/api.md").read_text(encoding="utf-8").split("\n## ")[1:]:
        heading = section.partition("\n")[0]
        for language, text in BLOCK.findall(section):
            yield pytest.param(heading, language, text, id=f"{heading}-{language}")


@pytest.fixture(scope="module")
def address(demo_home):
    """`python app.py`, as on somebody's own machine."""
    port = free_port()
    process = subprocess.Popen(
        [sys.executable, "app.py", "--port", str(port), "--home", str(demo_home.root)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
    )
    # Whatever else it says before, this is its last line.
    assert any("Ctrl+C" in line for line in process.stdout)
    yield f"http://127.0.0.1:{port}"
    process.terminate()
    process.wait(timeout=60)


@pytest.fixture
def folder(tmp_path, media):
    """Where an example runs: it finds what it names."""
    (tmp_path / "face.png").write_bytes(Path(media.path("image", 0)).read_bytes())
    return tmp_path


@pytest.fixture(scope="module")
def media(tmp_path_factory):
    return Media(tmp_path_factory.mktemp("media"))


def run(language, text, folder, address, demo_home):
    assert ADDRESS in text or "python -m studio" in text
    return subprocess.run(
        [*HELD[language], text.replace(ADDRESS, address)],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=150,
        check=False,
        env={
            **os.environ,
            "AIO_HOME": str(demo_home.root),
            "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]),
            "PYTHONPATH": str(ROOT),
        },
    )


def a_picture(path):
    with Image.open(path) as picture:
        picture.load()
    return True


def downloaded(said, folder):
    (made,) = (path for path in folder.glob("*.png") if path.name != "face.png")
    assert said == "done None" and a_picture(made)


def owned(said, folder):
    count, whole = said.split()
    assert int(count) >= 1 and whole == "True"


def uploaded(said, folder):
    assert said == "done face.png"


def fetched(said, folder):
    assert a_picture(folder / "green.png")
    (listed,) = json.loads(said)
    assert len(listed["jobs"]) == 1 and listed["jobs"][0]["prompt"] == "make it green"


def told_by_mcp(said, folder):
    state, path = said.split(" ", 1)
    assert state == "done" and a_picture(path)


def refused(said, folder):
    assert said.startswith("BadInput Length must be between 0.3 and 30 seconds")


def batched(said, folder):
    last = json.loads(said)
    assert (last["line"], last["state"]) == (2, "done") and a_picture(last["files"][0])
    assert a_picture(folder / "circle.png")


CAME = {
    "Submit, wait, download": downloaded,
    "Whose jobs": owned,
    "Files in": uploaded,
    "curl": fetched,
    "MCP": told_by_mcp,
    "Many jobs from a file": batched,
    "Errors": refused,
}
"""What must have come of the examples below a heading, by the last line that they say."""


@pytest.mark.parametrize(("heading", "language", "text"), blocks())
def test_example_runs_as_it_stands(heading, language, text, folder, address, demo_home):
    if language == "json":
        assert json.loads(text)["mcpServers"]["aio-studio"]["url"].startswith(ADDRESS)
        assert httpx.get(f"{address}/gradio_api/mcp/").status_code == 200
        return
    done = run(language, text, folder, address, demo_home)
    assert done.returncode == 0, done.stdout + done.stderr
    CAME[heading](done.stdout.splitlines()[-1], folder)


def test_every_heading_with_an_answer_has_its_example():
    assert {block.values[0] for block in blocks()} == set(CAME)
