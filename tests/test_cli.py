"""The command line, run as a user runs it: `python -m studio …`."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import av
import pytest
from PIL import Image
from requests_of_modes import Media

from studio.jobs import JobTable
from studio.modes import MODES


@pytest.fixture(scope="module")
def media(tmp_path_factory):
    return Media(tmp_path_factory.mktemp("media"))


@pytest.fixture(scope="module")
def cli(demo_home):
    def run(*arguments, **more):
        return subprocess.run(
            [sys.executable, "-m", "studio", *map(str, arguments)],
            capture_output=True,
            text=True,
            env={**os.environ, "AIO_HOME": str(demo_home.root)},
            check=False,
            **more,
        )

    return run


def test_modes_lists_all_as_json(cli):
    listed = json.loads(cli("modes", "--json").stdout)
    assert [mode["id"] for mode in listed] == list(MODES)


def test_plain_modes_has_a_line_a_mode(cli):
    assert len(cli("modes").stdout.splitlines()) == 9


def test_dry_run_prints_the_plan_and_loads_nothing(cli):
    result = cli("t2v", "--prompt", "waves", "--seconds", "2", "--seed", "5", "--dry-run", "--json")
    plan = json.loads(result.stdout)
    assert result.returncode == 0
    assert (plan["engine"], plan["weights"], plan["seed"]) == ("diffusers", "demo", 5)
    assert (plan["frames"], plan["seconds"]) == (49, 49 / 24)
    assert plan["steps"] == [8, 3] and plan["sigmas"][1] == [0.85, 0.725, 0.4219]
    assert [stage["id"] for stage in plan["stages"]] == [
        "load", "encode", "sample1", "upscale", "sample2", "decode", "save"
    ]  # fmt: skip


def test_dry_run_of_many_pictures_prints_a_plan_each(cli, media):
    files = [media.path("image", 0), media.path("image", 1)]
    result = cli("edit", "--prompt", "red", "--image", *files, "--dry-run", "--json")
    assert len(json.loads(result.stdout)) == 2


def test_text_of_a_dry_run_says_size_length_and_notes(cli):
    text = cli("t2v", "--prompt", "waves", "--negative", "rain", "--dry-run").stdout
    assert "384 x 256" not in text and "256 x 256 pixels, 73 frames at 24 a second" in text
    assert "Negative prompt has no effect" in text


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["t2v"], "Prompt is empty"),
        (["t2v", "--prompt", "a", "--seconds", "100"], "between 0.3 and 30 seconds"),
        (["t2v", "--prompt", "a", "--preset", "best"], "choose fast, balanced or quality"),
        (["t2v", "--prompt", "a", "--engine", "magic"], "There is no engine called 'magic'"),
        (["t2v", "--prompt", "a", "--lora", "none.safetensors:0.5"], "There is no LoRA"),
        (["i2v", "--prompt", "a"], "Picture is missing"),
        (["i2v", "--prompt", "a", "--image", "none.png"], "none.png"),
        (["t2v", "--prompt", "a", "-o", "clip.avi"], "must end in .mp4"),
        (["t2v", "--prompt", "a", "-o", "no/such/folder/clip.mp4"], "does not exist"),
        (["t2v", "--prompt", "a", "--json"], "goes with --dry-run"),
        (["t2v", "--paint"], "unrecognized arguments: --paint".capitalize()),
        (["paint"], "invalid choice: 'paint'"),
        (["recipe", "none.png"], "none.png"),
    ],
)
def test_bad_input_is_one_sentence_and_status_2(cli, arguments, says):
    result = cli(*arguments)
    assert result.returncode == 2 and result.stdout == ""
    assert says in result.stderr
    assert result.stderr.count("\n") == 1 and "Traceback" not in result.stderr


def test_picture_is_made_named_and_carries_its_recipe(cli, demo_home):
    result = cli("image", "--prompt", "a red circle", "--seed", "7", "--preset", "fast")
    assert result.returncode == 0, result.stderr
    path = Path(result.stdout.strip())
    assert result.stdout.count("\n") == 1
    assert path.parent.parent == demo_home.outputs and path.name.endswith("_image_7.png")
    with Image.open(path) as picture:
        assert picture.size == (128, 128)
    recipe = json.loads(cli("recipe", path, "--json").stdout)
    assert recipe["source"] == "aio-studio" and recipe["demo"] is True
    assert recipe["seed"] == 7 and recipe["params"]["prompt"] == "a red circle"


def test_output_is_copied_where_asked(cli, tmp_path):
    target = tmp_path / "clip of mine.mp4"
    result = cli("t2v", "--prompt", "waves", "--seconds", "0.4", "--seed", "3", "-o", target)
    assert result.returncode == 0, result.stderr
    assert result.stdout == f"{target}\n"
    with av.open(str(target)) as clip:
        assert sum(1 for _ in clip.decode(video=0)) == 9


def test_batch_reports_every_picture_and_survives_a_broken_one(cli, media, tmp_path):
    broken = tmp_path / "broken.png"
    whole = Path(media.path("image")).read_bytes()
    broken.write_bytes(whole[: len(whole) // 2])
    files = [media.path("image", 0), broken, media.path("image", 1)]
    result = cli("edit", "--prompt", "make it blue", "--image", *files, "--preset", "fast")
    assert result.returncode == 1
    assert len(result.stdout.splitlines()) == 2
    assert "broken.png" in result.stderr


def test_killed_run_leaves_no_half_file_and_is_interrupted(demo_home, cli):
    before = set(demo_home.outputs.rglob("*"))
    process = subprocess.Popen(
        [sys.executable, "-m", "studio", "t2v", "--prompt", "waves", "--preset", "quality"],
        env={**os.environ, "AIO_HOME": str(demo_home.root)},
        stderr=subprocess.PIPE,
        text=True,
    )
    for line in process.stderr:
        if "Sampling 1" in line:
            break
    time.sleep(0.3)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert set(demo_home.outputs.rglob("*")) == before
    assert cli("image", "--prompt", "a", "--preset", "fast").returncode == 0
    states = [job.state for job in JobTable(demo_home.database).list_for("command-line")]
    assert states[:2] == ["done", "interrupted"]


def test_doctor_says_what_is_here(cli):
    report = json.loads(cli("doctor", "--json").stdout)
    names = {check["name"] for check in report["checks"]}
    assert {"python", "torch", "video", "device", "home", "disk", "weights LTX-2.3"} <= names
