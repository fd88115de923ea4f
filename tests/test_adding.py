"""The two guides to adding things, done as they say in a copy of the package, and the result used.

A block of Python belongs to the place that the text before it names: a new file, the end of a
table, or the line above which it stands.
"""

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from dataclasses import dataclass

import pytest
from documents import ROOT, blocks

from studio.media_clips import probe_clip
from studio.media_images import probe_image
from studio.recipe_read import read_recipe

PLACE = re.compile(r"(In|A new file) `([^`]+)`(?:, (at the end of|above) `([^`]+)`)?")
MOST_LINES = 60
PAGE = """
import sys
from pathlib import Path
from app import prepare_gradio
from studio.home import Home
home = Home(Path(sys.argv[1]))
prepare_gradio(home)
from studio.page import build_page
from studio.studio import open_studio
print(*build_page(open_studio(home)).get_api_info()["named_endpoints"])
"""


@dataclass(frozen=True)
class Change:
    file: str
    way: str
    anchor: str
    code: str


def changes_of(name):
    """Every block of Python with the last place that was named before it."""
    found = []
    for block in blocks(ROOT / "docs" / name):
        if block.language == "python":
            new, file, way, anchor = PLACE.findall(block.before)[-1]
            found.append(Change(file, way if new == "In" else "new", anchor, block.code))
    return found


def end_of_table(lines, name):
    start = next(number for number, line in enumerate(lines) if line.startswith(f"{name}"))
    return next(at for at in range(start + 1, len(lines)) if lines[at] in (")", "}"))


def line_of(lines, anchor):
    found = [number for number, line in enumerate(lines) if line.strip().startswith(anchor)]
    assert len(found) == 1, f"'{anchor}' begins {len(found)} lines"
    return found[0]


def apply(root, change):
    path = root / change.file
    if change.way == "new":
        assert not path.exists()
        path.write_text(change.code)
        return
    lines = path.read_text().splitlines()
    find = line_of if change.way == "above" else end_of_table
    at = find(lines, change.anchor)
    path.write_text("\n".join([*lines[:at], *change.code.splitlines(), *lines[at:], ""]))


class Copy:
    """The package with a guide's changes, and a home whose demo weights are shared."""

    def __init__(self, folder, demo_home, name):
        self.root, self.home = folder / "copy", folder / "home"
        self.home.mkdir()
        demo_home.demo.mkdir(parents=True, exist_ok=True)
        (self.home / "demo").symlink_to(demo_home.demo)
        ignored = shutil.ignore_patterns("__pycache__")
        shutil.copytree(ROOT / "studio", self.root / "studio", ignore=ignored)
        for other in ("app.py", "pyproject.toml", "assets", "workflows"):
            (self.root / other).symlink_to(ROOT / other)
        for change in changes_of(name):
            apply(self.root, change)

    def run(self, *arguments):
        """Standard output of Python with these arguments, in the copy."""
        environment = {**os.environ, "AIO_HOME": str(self.home), "PYTHONPATH": str(self.root)}
        done = subprocess.run(
            [sys.executable, *arguments],
            cwd=self.root,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr + done.stdout
        return done.stdout


@pytest.fixture(scope="module")
def copy_of(tmp_path_factory, demo_home):
    return lambda name: Copy(tmp_path_factory.mktemp("adding"), demo_home, name)


@pytest.mark.parametrize("name", ["adding-a-mode.md", "adding-a-model.md"])
def test_guide_touches_neither_engine_nor_page_and_is_short(name):
    changes = changes_of(name)
    mode, rest = (
        [one for one in changes if (one.file == "studio/modes.py") is its] for its in (True, False)
    )
    for part in (mode, rest):
        lines = [line for one in part for line in one.code.splitlines() if line.strip()]
        assert 0 < len(lines) < MOST_LINES
    for one in changes:
        assert one.way == "new" or not re.match(r"studio/(.*engine|page)", one.file)


@pytest.mark.timeout(900)
@pytest.mark.parametrize(
    ("name", "mode", "made"),
    [
        ("adding-a-mode.md", "soundtrack", "soundtrack.mp4"),
        ("adding-a-model.md", "sketch", "sketch.png"),
    ],
)
def test_what_a_guide_adds_is_listed_makes_a_file_and_is_on_the_page(copy_of, name, mode, made):
    copy = copy_of(name)
    commands = [
        shlex.split(line)
        for block in blocks(ROOT / "docs" / name)
        for line in block.code.splitlines()
        if line.startswith("python -m studio ")
    ]
    said = {" ".join(command[3:5]): copy.run(*command[1:]) for command in commands}
    listed = {one["id"]: one for one in json.loads(said["modes --json"])}
    assert len(listed) == 10 and mode in listed
    result = copy.root / made
    size = probe_clip(result) if result.suffix == ".mp4" else probe_image(result)
    assert (size.width, size.height) == (128, 128)
    assert read_recipe(result).recipe.mode == mode
    assert f"/{mode}" in copy.run("-c", PAGE, str(copy.home)).split()
    copy.run("-m", "ruff", "format", "--check", "studio")
    copy.run("-m", "ruff", "check", "studio")
