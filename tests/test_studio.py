"""The whole studio with demo weights: nine modes from a request to a published file."""

import subprocess
import sys
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image
from requests_of_modes import Media, raw_request

from studio.media_clips import load_frames, probe_clip
from studio.media_sound import load_sound
from studio.modes import MODES
from studio.recipe_read import read_recipe
from studio.studio import open_studio

VIDEO = [mode.id for mode in MODES.values() if mode.makes == "video"]
SMALL = {"width": 128, "height": 128}


@pytest.fixture(scope="module")
def media(tmp_path_factory):
    return Media(tmp_path_factory.mktemp("media"))


@pytest.fixture(scope="module")
def studio(demo_home):
    return open_studio(demo_home)


@pytest.fixture(scope="module")
def make(studio, media):
    """Runs a small job and returns it; the same request is run only once."""
    made = {}

    def run(mode_id, **more):
        key = mode_id, tuple(sorted(more.items()))
        if key not in made:
            size = {} if mode_id == "edit" else SMALL
            length = {"seconds": 0.7} if mode_id in ("t2v", "i2v", "keyframe") else {}
            raw = {"preset": "fast", **size, **length, **more}
            job = studio.submit("somebody", mode_id, raw_request(mode_id, media, **raw))
            made[key] = studio.runner.run_one(job.id)
        return made[key]

    return run


def output(studio, job):
    assert job.state == "done", job.failure
    return studio.home.root / job.outputs[0]


def pixels(studio, job):
    path = output(studio, job)
    return load_frames(path, 24, 1000) if path.suffix == ".mp4" else np.asarray(Image.open(path))


@pytest.mark.parametrize("mode_id", MODES)
def test_mode_makes_a_file_that_says_how_it_was_made(studio, make, mode_id):
    job = make(mode_id)
    path = output(studio, job)
    assert path.parent.parent == studio.home.outputs
    assert path.name.endswith(f"_{mode_id}_1{'.mp4' if mode_id in VIDEO else '.png'}")
    recipe = read_recipe(path).recipe
    assert (recipe.mode, recipe.seed, recipe.demo) == (mode_id, 1, True)
    assert recipe.params["prompt"] == "a red circle"
    assert {one.role for one in recipe.inputs} == set(
        field.name for field in MODES[mode_id].media if field.required
    )
    assert recipe.timings and job.timings


@pytest.mark.parametrize("mode_id", VIDEO)
def test_clip_has_the_frames_and_the_sound_that_the_plan_said(studio, make, mode_id):
    job = make(mode_id)
    said, path = job.items[0].details, output(studio, job)
    info = probe_clip(path)
    assert (info.width, info.height) == (said["width"], said["height"]) == (128, 128)
    frames = load_frames(path, said["fps"], 1000)
    assert len(frames) == info.frames_estimate == said["frames"]
    assert info.fps == pytest.approx(said["fps"])
    with av.open(str(path)) as container:
        ends = [float(one.duration * one.time_base) for one in container.streams]
    # The style mode's source is silent, and so is its result.
    assert len(ends) == (1 if mode_id == "style" else 2)
    assert all(end == pytest.approx(said["frames"] / said["fps"], abs=0.002) for end in ends)


@pytest.mark.parametrize("mode_id", ["a2v", "lipsync"])
def test_sound_of_the_clip_is_the_uploaded_one_in_step(studio, make, media, mode_id):
    heard = load_sound(output(studio, make(mode_id)), 16000, 1).samples[0]
    given = load_sound(Path(media.path("audio")), 16000, 1).samples[0]
    length = min(len(heard), len(given))
    heard, given = heard[:length], given[:length]
    correlation = np.correlate(heard, given, "full")
    assert abs(int(np.argmax(correlation)) - (length - 1)) <= 16000 / 24
    assert np.corrcoef(heard, given)[0, 1] > 0.95


@pytest.mark.parametrize("mode_id", MODES)
def test_same_seed_same_pixels_and_another_seed_others(studio, make, mode_id):
    first = pixels(studio, make(mode_id))
    assert np.array_equal(first, pixels(studio, make(mode_id, fps=24) if mode_id in VIDEO else
                                        make(mode_id, weights="demo")))  # fmt: skip
    assert not np.array_equal(first, pixels(studio, make(mode_id, seed=2)))


@pytest.mark.parametrize("mode_id", ["photo", "image", "t2v"])
def test_another_prompt_and_preset_make_other_pixels(studio, make, mode_id):
    first = pixels(studio, make(mode_id))
    assert not np.array_equal(first, pixels(studio, make(mode_id, prompt="a green wave")))
    assert not np.array_equal(first, pixels(studio, make(mode_id, preset="balanced")))


def test_edit_gives_back_the_original_size_where_asked(studio, make):
    assert Image.open(output(studio, make("edit", original_size=True))).size == (96, 64)


def test_failed_job_does_not_stop_the_next(studio, make, media, tmp_path):
    broken = tmp_path / "broken.png"
    whole = Path(media.path("image")).read_bytes()
    broken.write_bytes(whole[: len(whole) // 2])
    raw = raw_request("i2v", media, image=[str(broken)], seconds=0.4, **SMALL)
    failed = studio.runner.run_one(studio.submit("somebody", "i2v", raw).id)
    assert failed.state == "failed" and failed.failure.kind == "BadInput"
    assert make("image", seed=9).state == "done"


@pytest.mark.timeout(300)
def test_nine_modes_at_their_defaults_take_under_a_minute_and_1500_megabytes(tmp_path, media):
    """CPU seconds after the imports, so that a busy machine does not fail the test."""
    code = f"""
import resource, sys, time
sys.path.insert(0, {str(Path(__file__).parent)!r})
from pathlib import Path
from requests_of_modes import Media, raw_request
from studio.diffusers_engine import RUNNERS
from studio.home import Home
from studio.modes import MODES
from studio.studio import open_studio
import importlib
from studio.diffusers_setup import prepare_libraries
prepare_libraries()
for runner in RUNNERS.values():
    importlib.import_module(runner.partition(":")[0])
studio = open_studio(Home(Path({str(tmp_path)!r})))
media = Media(Path({str(tmp_path)!r}) / "media")
begun = time.process_time()
for mode in MODES:
    job = studio.runner.run_one(studio.submit("x", mode, raw_request(mode, media)).id)
    assert job.state == "done", job.failure
print(time.process_time() - begun, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    seconds, megabytes = map(float, done.stdout.split()[-2:])
    assert seconds < 60
    assert megabytes < 1500
