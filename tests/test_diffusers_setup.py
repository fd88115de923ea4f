"""The engine in processes of its own: what it prints, beside companions that cannot be used."""

import subprocess
import sys
from pathlib import Path

import pytest

PROJECT = Path(__file__).parent.parent

RUN = """
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
from PIL import Image

sys.path[:0] = [sys.argv[3]]
from studio.diffusers_engine import DiffusersEngine
from studio.home import Home
from studio.modes import DECODE, MODES, SAVE, Stage
from studio.plan import Drawing, Edit, Plan
from studio.weights import installed

folder = Path(sys.argv[1])
source = folder / "source.png"
Image.fromarray(np.arange(64 * 64 * 3, dtype=np.uint8).reshape(64, 64, 3)).save(source)
engine = DiffusersEngine()
for name in ("photo", "image", "edit"):
    mode = MODES[name]
    plan = Plan(
        mode=name, engine="diffusers", weights=installed(Home(Path(sys.argv[2])), mode.family)[0],
        preset="fast", stages=(*mode.stages, Stage("sample1", "Sampling"), DECODE, SAVE),
        prompt="a red circle", negative="", seed=1, width=64, height=64,
        sampling=(replace(mode.presets["fast"].sampling[0], steps=2),), loras=(),
        task=Edit(source, (), 64, None) if name == "edit" else Drawing(),
    )
    print(name, Image.open(engine.run(plan, lambda event: None, folder)).size)
"""


def output_beside(folder, tmp_path, demo_home):
    """What a process that makes three pictures writes, with `folder` on its path."""
    script = tmp_path / "run.py"
    script.write_text(RUN)
    done = subprocess.run(
        [sys.executable, script, tmp_path, demo_home.root, folder],
        cwd=PROJECT,
        env={"PYTHONPATH": str(PROJECT), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout, done.stderr


@pytest.fixture
def broken_companions(tmp_path):
    """Found and versioned like the real ones; fail as those that were built for another torch."""
    folder = tmp_path / "site"
    for name, version, error in (
        ("torchvision", "0.28.0", "RuntimeError('operator torchvision::nms does not exist')"),
        ("torchaudio", "2.11.0", "OSError('Could not load this library')"),
    ):
        (folder / name).mkdir(parents=True)
        (folder / f"{name}-{version}.dist-info").mkdir()
        (folder / f"{name}-{version}.dist-info" / "METADATA").write_text(
            f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"
        )
        (folder / name / "extension.py").write_text("")
        (folder / name / "__init__.py").write_text(f"from {name} import extension\nraise {error}\n")
    return folder


def test_engine_makes_pictures_in_silence_beside_broken_companions(
    tmp_path, demo_home, broken_companions
):
    stdout, stderr = output_beside(broken_companions, tmp_path, demo_home)
    assert stdout.splitlines() == ["photo (64, 64)", "image (64, 64)", "edit (64, 64)"]
    assert stderr == ""
