"""ComfyUI started as a library in a process of its own, beside Gradio and another's modules."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from comfy_here import NEEDS_COMFYUI, PACKS, PLACE

pytestmark = NEEDS_COMFYUI

PROJECT = Path(__file__).parent.parent

START = """
import json, sys, time
from pathlib import Path

import app, gradio, utils
from studio.comfy_boot import TOP_LEVEL, boot
from studio.home import Home

def origin(module):
    # A folder without __init__.py has no file.
    places = [getattr(module, "__file__", None), *getattr(module, "__path__", ()), "/"]
    return Path(next(one for one in places if one)).resolve()

paths, arguments, known = list(sys.path), list(sys.argv), set(sys.modules)
began = time.process_time()
started = boot(Home(Path(sys.argv[1])), [Path(sys.argv[2])])
seconds = time.process_time() - began
import comfy.memory_management
import comfy.cli_args

# Its own node files go by their paths.
new = {name.split(".")[0] for name in set(sys.modules) - known if "/" not in name}
place = Path(sys.argv[3]).resolve()
theirs = [name for name in new if place in origin(sys.modules[name]).parents]
json.dump({
    "seconds": seconds,
    "unchanged": [paths == sys.path, arguments == sys.argv],
    "ours": [app.MARK, utils.MARK],
    "theirs": sorted(theirs),
    "expected": sorted(TOP_LEVEL),
    "failed": list(started.failed_packs),
    "dynamic": comfy.memory_management.aimdo_enabled,
    "cpu": comfy.cli_args.args.cpu,
}, sys.stdout)
"""


@pytest.fixture(scope="module")
def started(tmp_path_factory):
    """What a process says that has modules called `app` and `utils`, and arguments of its own."""
    folder = tmp_path_factory.mktemp("boot")
    for name in ("app", "utils"):
        (folder / f"{name}.py").write_text("MARK = 'the program itself'")
    (folder / "start.py").write_text(START)
    command = [sys.executable, "start.py", folder / "home", PACKS / "tiny_gemma", PLACE, "--cpu=no"]
    environment = {**os.environ, "PYTHONPATH": str(PROJECT), "AIO_COMFYUI": str(PLACE)}
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return {**json.loads(done.stdout.splitlines()[-1]), "said": done.stderr}


def test_boot_takes_less_than_12_seconds(started):
    """CPU seconds, so that a busy machine does not fail the test."""
    assert started["seconds"] < 12


def test_boot_changes_nothing_of_the_program_around_it(started):
    assert started["unchanged"] == [True, True]
    assert started["ours"] == ["the program itself"] * 2


def test_boot_takes_the_names_that_it_says_and_no_others(started):
    assert started["theirs"] == started["expected"]


def test_boot_loads_the_pack_and_every_node_file_that_needs_no_opengl(started):
    assert set(started["failed"]) <= {"nodes_glsl.py"}


def test_boot_logs_no_traceback_of_what_is_left_out_on_purpose(started):
    assert "Traceback" not in started["said"] and "nodes_glsl" not in started["said"]


def test_machine_without_a_gpu_computes_on_the_cpu(started):
    import torch

    if torch.cuda.is_available() or torch.backends.mps.is_available():
        pytest.skip("this machine has a GPU")
    assert started["cpu"] and not started["dynamic"]


@pytest.mark.gpu
def test_gpu_gets_dynamic_vram(started):
    assert started["dynamic"]
