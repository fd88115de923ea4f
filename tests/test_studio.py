"""The whole studio, both engines: every mode from a request to a published file."""

import functools
import re
import subprocess
import sys
from hashlib import sha256
from pathlib import Path

import av
import numpy as np
import pytest
from comfy_here import NEEDS_COMFYUI
from PIL import Image
from requests_of_modes import raw_request

from studio.media_clips import load_frames, probe_clip, write_clip
from studio.media_sound import load_sound
from studio.modes import MODES
from studio.recipe_read import read_recipe
from studio.studio import open_studio

VIDEO = [mode.id for mode in MODES.values() if mode.makes == "video"]
ON_DIFFUSERS = [("diffusers", mode_id) for mode_id in MODES]
IN_COMFYUI = [
    pytest.param("comfy", mode.id, marks=NEEDS_COMFYUI)
    for mode in MODES.values()
    if "comfy" in mode.engines
]
EVERY_MODE = ON_DIFFUSERS + IN_COMFYUI
EVERY_CLIP = [run for run in ON_DIFFUSERS if run[1] in VIDEO] + IN_COMFYUI

SIDES = {"diffusers": 128, "comfy": 256}
"""The smallest that the weights of each make in two stages: demo weights, and "real" tiny ones."""


class Made:
    """A studio for each engine; jobs are small, and the same request is run only once."""

    def __init__(self, studios, media):
        self.studios, self.media = studios, media
        self._jobs = {}

    def job(self, engine, mode_id, **more):
        key = engine, mode_id, tuple(sorted(more.items()))
        if key not in self._jobs:
            size = {} if mode_id == "edit" else dict.fromkeys(("width", "height"), SIDES[engine])
            length = {"seconds": 0.7} if mode_id in ("t2v", "i2v", "keyframe") else {}
            raw = {"preset": "fast", "engine": engine, **size, **length, **more}
            self._jobs[key] = self.ran(engine, mode_id, raw)
        return self._jobs[key]

    def ran(self, engine, mode_id, raw, owner="somebody"):
        studio = self.studios(engine)
        job = studio.submit(owner, mode_id, raw_request(mode_id, self.media, **raw))
        return studio.runner.run_one(job.id)

    def path(self, engine, mode_id, **more):
        return self.output(engine, self.job(engine, mode_id, **more))

    def output(self, engine, job):
        assert job.state == "done", job.failure
        return self.studios(engine).home.root / job.outputs[0]

    def pixels(self, engine, mode_id, **more):
        path = self.path(engine, mode_id, **more)
        moves = path.suffix == ".mp4"
        return load_frames(path, 24, 1000) if moves else np.asarray(Image.open(path))


@pytest.fixture(scope="module")
def made(request, demo_home, media):
    @functools.cache
    def studio_of(engine):
        home = demo_home if engine == "diffusers" else request.getfixturevalue("comfy_home")
        return open_studio(home)

    return Made(studio_of, media)


@pytest.mark.parametrize(("engine", "mode_id"), EVERY_MODE)
def test_mode_makes_a_file_that_says_how_it_was_made(made, engine, mode_id):
    job, path = made.job(engine, mode_id), made.path(engine, mode_id)
    assert path.parent.parent == made.studios(engine).home.outputs
    assert re.fullmatch(
        rf"\d{{6}}_{mode_id}_1(-\d+)?{'.mp4' if mode_id in VIDEO else '.png'}", path.name
    )
    recipe = read_recipe(path).recipe
    assert (recipe.engine, recipe.mode, recipe.seed) == (engine, mode_id, 1)
    assert recipe.demo == (engine == "diffusers")
    assert recipe.params["prompt"] == "a red circle"
    assert {one.role for one in recipe.inputs} == set(
        field.name for field in MODES[mode_id].media if field.required
    )
    assert recipe.timings and job.timings


@pytest.mark.parametrize(("engine", "mode_id"), EVERY_MODE)
def test_mode_goes_through_the_stages_that_it_has_declared(made, engine, mode_id):
    job = made.job(engine, mode_id)
    declared = list(job.progress.stages)
    # Kept prompts and inputs are read again in neither engine.
    kept = {"encode", "condition"}
    assert set(declared) - kept <= set(job.timings) <= set(declared)
    assert [stage for stage in declared if stage in job.timings] == list(job.timings)


@pytest.mark.parametrize(("engine", "mode_id"), EVERY_CLIP)
def test_clip_has_the_frames_and_the_sound_that_the_plan_said(made, engine, mode_id):
    said, path = made.job(engine, mode_id).items[0].details, made.path(engine, mode_id)
    info, side = probe_clip(path), SIDES[engine]
    assert (info.width, info.height) == (said["width"], said["height"]) == (side, side)
    frames = load_frames(path, said["fps"], 1000)
    assert len(frames) == info.frames_estimate == said["frames"]
    assert info.fps == pytest.approx(said["fps"])
    assert frames.std() > 1
    with av.open(str(path)) as container:
        ends = [float(one.duration * one.time_base) for one in container.streams]
    # The style mode's source is silent, and so is its result.
    assert len(ends) == (1 if mode_id == "style" else 2)
    assert all(end == pytest.approx(said["frames"] / said["fps"], abs=0.002) for end in ends)


@pytest.mark.parametrize(
    ("engine", "mode_id"),
    [
        ("diffusers", "a2v"),
        ("diffusers", "lipsync"),
        pytest.param("comfy", "a2v", marks=NEEDS_COMFYUI),
        pytest.param("comfy", "lipsync", marks=NEEDS_COMFYUI),
    ],
)
def test_sound_of_the_clip_is_the_uploaded_one_in_step(made, media, engine, mode_id):
    require_same_sound(made.path(engine, mode_id), Path(media.path("audio")))


@pytest.mark.parametrize("engine", ["diffusers", pytest.param("comfy", marks=NEEDS_COMFYUI)])
def test_restyled_clip_keeps_the_sound_of_its_video(made, media, engine, tmp_path):
    sound = load_sound(Path(media.path("audio")))
    source = tmp_path / "with sound.mp4"
    write_clip(source, load_frames(Path(media.path("video")), 24, 20), 24, sound, {})
    size = dict.fromkeys(("width", "height"), SIDES[engine])
    raw = {"preset": "fast", "engine": engine, "video": [str(source)], **size}
    require_same_sound(made.output(engine, made.ran(engine, "style", raw)), source)


def require_same_sound(path, source):
    heard, given = (load_sound(one, 16000, 1).samples[0] for one in (path, source))
    length = min(len(heard), len(given))
    heard, given = heard[:length], given[:length]
    correlation = np.correlate(heard, given, "full")
    assert abs(int(np.argmax(correlation)) - (length - 1)) <= 16000 / 24
    assert np.corrcoef(heard, given)[0, 1] > 0.95


@pytest.mark.parametrize(("engine", "mode_id"), EVERY_MODE)
def test_same_seed_same_pixels_and_another_seed_others(made, engine, mode_id):
    first = made.pixels(engine, mode_id)
    same = {"fps": 24} if mode_id in VIDEO else {"weights": "demo"}
    assert np.array_equal(first, made.pixels(engine, mode_id, **same))
    assert not np.array_equal(first, made.pixels(engine, mode_id, seed=2))


@pytest.mark.parametrize(
    ("engine", "mode_id"),
    [
        ("diffusers", "photo"),
        ("diffusers", "image"),
        ("diffusers", "t2v"),
        pytest.param("comfy", "t2v", marks=NEEDS_COMFYUI),
    ],
)
def test_another_prompt_and_preset_make_other_pixels(made, engine, mode_id):
    first = made.pixels(engine, mode_id)
    assert not np.array_equal(first, made.pixels(engine, mode_id, prompt="a green wave"))
    assert not np.array_equal(first, made.pixels(engine, mode_id, preset="balanced"))


@pytest.mark.parametrize("engine", ["diffusers", pytest.param("comfy", marks=NEEDS_COMFYUI)])
def test_two_owners_whose_files_have_one_name_each_get_their_own(made, engine, tmp_path):
    clips = []
    for number, owner in enumerate(("ann", "ben")):
        picture = tmp_path / owner / "me.png"
        picture.parent.mkdir()
        picture.write_bytes(Path(made.media.path("image", number)).read_bytes())
        raw = {"preset": "fast", "engine": engine, "image": [str(picture)], "seconds": 0.4,
               "width": SIDES[engine], "height": SIDES[engine]}  # fmt: skip
        job = made.ran(engine, "i2v", raw, owner)
        clips.append(load_frames(made.output(engine, job), 24, 1000))
        (file,) = job.inputs["image"]
        assert file.name == "me.png" and file.sha256 == sha256(picture.read_bytes()).hexdigest()
    assert clips[0].shape == clips[1].shape and not np.array_equal(*clips)


def test_edit_gives_back_the_original_size_where_asked(made):
    assert Image.open(made.path("diffusers", "edit", original_size=True)).size == (96, 64)


@pytest.mark.parametrize("engine", ["diffusers", pytest.param("comfy", marks=NEEDS_COMFYUI)])
def test_failed_job_does_not_stop_the_next(made, engine, media, tmp_path):
    broken = tmp_path / "broken.png"
    whole = Path(media.path("image")).read_bytes()
    broken.write_bytes(whole[: len(whole) // 2])
    failed = made.ran(engine, "i2v", {"engine": engine, "image": [str(broken)], "seconds": 0.4})
    assert failed.state == "failed" and failed.failure.kind == "BadInput"
    assert made.job(engine, "t2v", seed=9).state == "done"


@pytest.mark.parametrize("engines", [pytest.param(("comfy", "diffusers"), marks=NEEDS_COMFYUI)])
def test_engines_take_turns_in_one_studio(made, comfy_home, engines):
    """The demo weights are the diffusers engine's, in whichever home."""
    weights = {"comfy": "", "diffusers": "demo"}
    for engine in (*engines, *engines):
        more = {"weights": weights[engine], "preset": "fast", "seconds": 0.4}
        job = made.ran("comfy", "t2v", {"engine": engine, **more})
        assert job.state == "done", job.failure
        assert read_recipe(comfy_home.root / job.outputs[0]).recipe.engine == engine


@pytest.mark.timeout(300)
def test_nine_modes_at_their_defaults_take_under_a_minute_and_1500_megabytes(tmp_path, media):
    """CPU seconds after the imports, so that a busy machine does not fail the test."""
    code = f"""
import re, sys, time
sys.path.insert(0, {str(Path(__file__).parent)!r})
from pathlib import Path
from requests_of_modes import Media, raw_request
from studio.diffusers_engine import import_runners
from studio.home import Home
from studio.modes import MODES
from studio.studio import open_studio
import_runners()
studio = open_studio(Home(Path({str(tmp_path)!r})))
media = Media(Path({str(tmp_path)!r}) / "media")
begun = time.process_time()
for mode in MODES:
    job = studio.runner.run_one(studio.submit("x", mode, raw_request(mode, media)).id)
    assert job.state == "done", job.failure
seconds = time.process_time() - begun
# Not getrusage: it also knows what the process held that started this one.
peak = int(re.search(r"VmHWM:\s+(\d+)", Path("/proc/self/status").read_text())[1])
print(seconds, peak / 1024)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    seconds, megabytes = map(float, done.stdout.split()[-2:])
    assert seconds < 60
    assert megabytes < 1500
