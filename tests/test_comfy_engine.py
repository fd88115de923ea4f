"""The ComfyUI engine for real: a ComfyUI in this process, tiny weights, real files.

Needs a ComfyUI with its requirements, at AIO_COMFYUI or in the studio's own home.
"""

import gc
import importlib.util
import itertools
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from requests_of_modes import Media, raw_request

from studio.engine import ENGINES
from studio.errors import Cancelled, EngineFailed, MissingWeights, OutOfMemory
from studio.events import Note, PreviewReady, StageStarted, StepDone
from studio.home import Home, home_at
from studio.jobs import JobTable
from studio.media_clips import load_frames, probe_clip
from studio.media_sound import fit_length, load_sound
from studio.modes import MODES
from studio.plan import LoraUse
from studio.planning import plan_request
from studio.production import Production
from studio.recipe_read import read_recipe
from studio.request import read_request
from studio.runner import Runner
from studio.submission import submit

HERE = Path(__file__).parent
NEEDED = ("torchvision", "torchaudio", "torchsde", "kornia", "spandrel", "einops", "comfy_kitchen")
"""Some of what ComfyUI requires and the studio does not."""

WIDTH, HEIGHT, FRAMES, FPS = 128, 128, 17, 24
CLIP_MODES = [mode for mode in MODES if MODES[mode].makes == "video"]


def reason_to_skip():
    if not (home_at().comfyui / "execution.py").is_file():
        return "no ComfyUI here: set AIO_COMFYUI to its folder"
    missing = [name for name in NEEDED if importlib.util.find_spec(name) is None]
    return f"ComfyUI needs {', '.join(missing)}" if missing else ""


pytestmark = [
    pytest.mark.comfy,
    pytest.mark.skipif(bool(reason_to_skip()), reason=reason_to_skip() or "ready"),
]


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    place = str(home_at().comfyui)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AIO_COMFYUI", place)
        yield Home(tmp_path_factory.mktemp("comfy home"))


@pytest.fixture(scope="module")
def engine(home):
    from studio.comfy_engine import ComfyEngine

    paths, arguments = list(sys.path), list(sys.argv)
    modules = {name: sys.modules.get(name) for name in ("app", "utils", "middleware")}
    broken = home.root / "broken pack"
    broken.mkdir(parents=True)
    (broken / "__init__.py").write_text("import nothing_of_that_name")
    engine = ComfyEngine(home, [HERE / "comfy_packs" / "tiny_gemma", broken])
    assert (sys.path, sys.argv) == (paths, arguments)
    assert {name: sys.modules.get(name) for name in modules} == modules
    import comfy_weights

    comfy_weights.write_weights(home)
    return engine


@pytest.fixture(scope="module")
def media(tmp_path_factory):
    return Media(tmp_path_factory.mktemp("media"))


@pytest.fixture
def plan(home, engine, media):
    """A plan of the mode, shrunk to what a CPU makes in a second: 2 steps, then 1."""

    def make(mode, **more):
        raw = {**raw_request(mode, media), "engine": "comfy", **more}
        (made,) = plan_request(read_request(home, mode, raw))
        sampling = [short(one, number) for number, one in enumerate(made.sampling)]
        clip = replace(made.task, frames=FRAMES)
        return replace(made, width=WIDTH, height=HEIGHT, task=clip, sampling=tuple(sampling))

    return make


def short(sampling, stage):
    sigmas = sampling.sigmas and ((1.0, 0.7) if stage == 0 else (0.8,))
    return replace(sampling, steps=2, sigmas=sigmas)


@pytest.fixture
def run(engine, tmp_path):
    """Runs a plan, as an item of its own or in a folder; gives back the file and the events."""
    numbers = itertools.count()

    def run(plan, emit=lambda event: None, scratch=None):
        events = []
        scratch = scratch or tmp_path / f"item {next(numbers)}"
        scratch.mkdir(exist_ok=True)

        def both(event):
            events.append(event)
            emit(event)

        return engine.run(plan, both, scratch), events

    return run


def pixels(path):
    return load_frames(path, FPS, FRAMES)


@pytest.mark.parametrize("mode", CLIP_MODES)
def test_mode_makes_a_clip_of_its_size_and_length_through_its_stages(plan, run, mode):
    made = plan(mode)
    path, events = run(made)
    info = probe_clip(path)
    assert (info.width, info.height, info.frames_estimate) == (WIDTH, HEIGHT, FRAMES)
    assert info.has_sound == (mode != "style")
    assert pixels(path).std() > 1
    started = [made.stages[one.index].id for one in events if isinstance(one, StageStarted)]
    late = [stage for stage in started if stage not in ("load", "encode", "condition")]
    assert late == ["sample1", "upscale", "sample2", "decode", "save"]
    steps = [(one.done, one.of) for one in events if isinstance(one, StepDone)]
    assert steps == [(1, 2), (2, 2), (1, 1)]
    assert any(isinstance(one, PreviewReady) and one.jpeg[:2] == b"\xff\xd8" for one in events)


@pytest.mark.parametrize(("mode", "field"), [("a2v", "audio"), ("style", "video")])
def test_sound_that_was_brought_is_in_the_clip(plan, run, media, tmp_path, mode, field):
    brought = Path(media.path("audio"))
    if field == "video":
        from studio.media_clips import write_clip

        clip = load_frames(Path(media.path("video")), FPS, 20)
        brought = tmp_path / "with sound.mp4"
        write_clip(brought, clip, FPS, load_sound(Path(media.path("audio"))), {})
    path, _ = run(plan(mode, **{field: [str(brought)]}))
    kept = load_sound(path, 16000, 1).samples[0]
    given = fit_length(load_sound(brought, 16000, 1), FRAMES / FPS).samples[0]
    count = min(len(kept), len(given))
    assert np.corrcoef(kept[:count], given[:count])[0, 1] > 0.95


def test_style_fast_and_quality_run(plan, run):
    fast = plan("style", preset="fast")
    _, events = run(fast)
    assert [one.done for one in events if isinstance(one, StepDone)] == [1, 2]
    _, events = run(plan("t2v", preset="quality"))
    assert [one.done for one in events if isinstance(one, StepDone)] == [1, 2, 1]


def test_contrast_is_brought_back_for_each_stream(plan, run):
    made = plan("t2v", preset="quality")
    first, _ = run(made)
    first = pixels(first)
    full = replace(made.sampling[0].guidance, rescale=0.0)
    loud = replace(made.sampling[0], guidance=full)
    other, _ = run(replace(made, sampling=(loud, made.sampling[1])))
    assert (pixels(other) != first).any()


def test_users_own_graph_goes_first(plan, run, home):
    own = home.root / "workflows" / "t2v.json"
    own.parent.mkdir()
    own.write_text("{}")
    try:
        with pytest.raises(EngineFailed, match="no node called 'Checkpoint'"):
            run(plan("t2v"))
    finally:
        own.unlink()


def test_seed_decides_and_a_new_one_encodes_nothing_again(plan, run):
    made = plan("t2v", prompt="a red boat")
    first, _ = run(made)
    first = pixels(first)
    again, events = run(made)
    assert (pixels(again) == first).all()
    other, events = run(replace(made, seed=2))
    assert (pixels(other) != first).any()
    assert "encode" not in [made.stages[e.index].id for e in events if isinstance(e, StageStarted)]


def test_each_picture_counts(plan, run, media):
    first, _ = run(plan("i2v"))
    first = pixels(first)
    other, _ = run(plan("i2v", image=[media.path("image", 1)]))
    assert (pixels(other) != first).any()


def test_lora_counts_from_wherever_it_lies(plan, run, home, tmp_path):
    made = plan("t2v", preset="fast")
    first, _ = run(made)
    first = pixels(first)
    path = tmp_path / "far away.safetensors"
    path.write_bytes(made.weights.adapter("detailer").read_bytes())
    other, _ = run(replace(made, loras=(LoraUse("far away", path, 1.0),)))
    assert (pixels(other) != first).any()


def test_cancel_stops_within_a_step_and_the_next_run_works(plan, run):
    asked = None

    def cancel(event):
        nonlocal asked
        if isinstance(event, StepDone):
            asked = asked or time.monotonic()
            raise Cancelled("The job was cancelled.")

    made = plan("t2v", prompt="cancelled")
    with pytest.raises(Cancelled):
        run(made, cancel)
    assert time.monotonic() - asked < 1
    _, events = run(made)
    assert isinstance(events[-1], StageStarted)


def test_missing_file_is_named_and_the_next_run_works(plan, run):
    made = plan("t2v", prompt="missing")
    checkpoint = made.weights.files["checkpoint"]
    hidden = checkpoint.with_suffix(".hidden")
    checkpoint.rename(hidden)
    try:
        with pytest.raises(MissingWeights, match=checkpoint.name):
            run(made)
    finally:
        hidden.rename(checkpoint)
    run(made)


def test_failing_node_is_named_with_its_stage_and_the_next_run_works(plan, run, monkeypatch):
    import nodes

    made = plan("t2v", prompt="fails")

    def fail(*args, **options):
        raise RuntimeError("the tiles fell down")

    decode = nodes.NODE_CLASS_MAPPINGS["VAEDecodeTiled"]
    with monkeypatch.context() as patch:
        patch.setattr(decode, "decode", fail)
        with pytest.raises(EngineFailed, match="'Decode picture': the tiles fell down") as failed:
            run(made)
        assert failed.value.stage == "Decoding" and not isinstance(failed.value, OutOfMemory)
    run(made)


def test_memory_that_is_out_is_said(plan, run, monkeypatch):
    import nodes
    import torch

    def fail(*args, **options):
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB")

    monkeypatch.setattr(nodes.NODE_CLASS_MAPPINGS["VAEDecodeTiled"], "decode", fail)
    with pytest.raises(OutOfMemory, match="smaller size"):
        run(plan("t2v", prompt="out of memory"))


def test_decoding_that_needs_too_much_memory_is_tried_in_smaller_tiles(plan, run, monkeypatch):
    import nodes

    tiles, decode = [], nodes.NODE_CLASS_MAPPINGS["VAEDecodeTiled"].decode

    def fail_once(self, tile_size, **options):
        tiles.append(tile_size)
        if len(tiles) == 1:
            raise MemoryError
        return decode(self, tile_size=tile_size, **options)

    monkeypatch.setattr(nodes.NODE_CLASS_MAPPINGS["VAEDecodeTiled"], "decode", fail_once)
    path, events = run(plan("t2v", prompt="tiles"))
    assert tiles == [512, 256] and probe_clip(path).frames_estimate == FRAMES
    assert [one.done for one in events if isinstance(one, StepDone)] == [1, 2, 1]
    assert any(isinstance(one, Note) and "smaller tiles" in one.text for one in events)


def test_latents_of_an_earlier_try_are_decoded_and_not_sampled(plan, run, engine):
    made = plan("t2v", prompt="once")
    first, _ = run(made)
    first, folder = pixels(first), first.parent
    # As after a crash: nothing but the folder is left.
    engine.release()
    again, events = run(made, scratch=folder)
    assert not [one for one in events if isinstance(one, StepDone)]
    assert (pixels(again) == first).all()


def test_sampler_that_comfyui_does_not_have_is_refused_before_anything_runs(plan, run):
    made = plan("t2v")
    odd = replace(made.sampling[0], sampler="no_such_sampler")
    with pytest.raises(EngineFailed, match="'Sampler, stage 1'"):
        run(replace(made, sampling=(odd, made.sampling[1])))


def test_release_forgets_the_models_and_the_next_run_loads_them(plan, run, engine):
    import comfy.model_management as management

    run(plan("t2v"))
    engine.release()
    gc.collect()
    assert not management.current_loaded_models
    run(plan("t2v"))


def test_nothing_of_a_run_is_left_and_packs_that_fail_are_named(engine, home):
    assert not list((home.scratch / "comfy" / "input").iterdir())
    assert not list((home.scratch / "comfy" / "output").rglob("*.mp4"))
    assert "broken pack" in engine.failed_packs


def test_diffusers_engine_starts_beside_comfyui(engine):
    from studio.diffusers_engine import DiffusersEngine

    DiffusersEngine().release()


def test_job_of_the_studio_is_published_with_its_recipe(engine, home, media):
    entry = replace(ENGINES["comfy"], make=lambda home: engine)
    table = JobTable(home.database)
    runner = Runner(table, Production(home, {"comfy": entry}), home)
    raw = raw_request("t2v", media, preset="fast", seconds=0.4, width=256, height=256)
    job = runner.run_one(submit(table, home, "somebody", "t2v", raw).id)
    assert job.state == "done", job.failure
    path = home.root / job.outputs[0]
    assert len(load_frames(path, FPS, 99)) == 9
    recipe = read_recipe(path).recipe
    assert (recipe.engine, recipe.demo, recipe.seed) == ("comfy", False, 1)
    assert {"sample1", "upscale", "sample2", "decode"} <= set(job.timings)
