"""The campaigns' own parts: that all of them can be started, and two that take no time."""

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent


def soak(*arguments):
    return subprocess.run(
        [sys.executable, "-m", "soak", *arguments],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(ROOT / "tests")},
        capture_output=True,
        text=True,
        check=False,
    )


def test_campaigns_start_and_say_what_came_of_them():
    done = soak("graphs", "recipes", "--files", "30")
    assert done.returncode == 0, done.stderr
    for name in ("graphs", "recipes"):
        assert f"| {name} | seed 1 |" in done.stdout
    assert done.stdout.count("| files | 30 |") == 2
