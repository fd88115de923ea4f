"""The ComfyUI engine for real: a ComfyUI in this process, tiny weights, real files.

What it must have in common with the other engine stands in test_studio.py.
"""

import gc
from dataclasses import replace

import numpy as np
import pytest
from comfy_here import NEEDS_COMFYUI
from comfy_runs import CLIP_MODES, FRAMES, pixels

from studio.errors import Cancelled
from studio.events import Note, PreviewReady, StageStarted, StepDone
from studio.media_clips import probe_clip
from studio.plan import LoraUse

pytestmark = NEEDS_COMFYUI


@pytest.mark.parametrize("mode", CLIP_MODES)
def test_mode_goes_through_its_stages_step_by_step(runs, mode):
    made = runs.plan(mode)
    _, events = runs.run(made)
    started = [made.stages[one.index].id for one in events if isinstance(one, StageStarted)]
    late = [stage for stage in started if stage not in ("load", "encode", "condition")]
    assert late == ["sample1", "upscale", "sample2", "decode", "save"]
    steps = [(one.done, one.of) for one in events if isinstance(one, StepDone)]
    assert steps == [(1, 2), (2, 2), (1, 1)]
    assert any(isinstance(one, PreviewReady) and one.jpeg[:2] == b"\xff\xd8" for one in events)


def test_style_fast_and_quality_run(runs):
    fast = runs.plan("style", preset="fast")
    _, events = runs.run(fast)
    assert [one.done for one in events if isinstance(one, StepDone)] == [1, 2]
    _, events = runs.run(runs.plan("t2v", preset="quality"))
    assert [one.done for one in events if isinstance(one, StepDone)] == [1, 2, 1]


@pytest.mark.parametrize("control", ["depth", "pose"])
def test_style_follows_a_map_that_an_estimator_draws(runs, control):
    made = runs.plan("style", preset="fast", control=control)
    path, events = runs.run(made)
    edges, _ = runs.run(runs.plan("style", preset="fast"))
    assert not np.array_equal(pixels(path), pixels(edges))
    looked = [one for one in events if isinstance(one, StepDone) and one.of == FRAMES]
    assert [one.done for one in looked] == [4, 8, 12, 16, 17]

    def cancel(event):
        if event == looked[1]:
            raise Cancelled("The job was cancelled.")

    with pytest.raises(Cancelled):
        runs.run(made, cancel)
    assert np.array_equal(pixels(runs.run(made)[0]), pixels(path))


def test_contrast_is_brought_back_for_each_stream(runs):
    made = runs.plan("t2v", preset="quality")
    first, _ = runs.run(made)
    first = pixels(first)
    full = replace(made.sampling[0].guidance, rescale=0.0)
    loud = replace(made.sampling[0], guidance=full)
    other, _ = runs.run(replace(made, sampling=(loud, made.sampling[1])))
    assert (pixels(other) != first).any()


@pytest.mark.parametrize("mode", ["t2v", "a2v", "keyframe"])
def test_split_files_make_what_their_checkpoint_makes(runs, mode):
    whole, split = (runs.plan(mode, weights=label) for label in ("LTX-2.3 bf16", "LTX-2.3 split"))
    assert set(split.weights.files) >= {"transformer", "text_projection", "audio_vae"}
    assert np.array_equal(pixels(runs.run(whole)[0]), pixels(runs.run(split)[0]))


def test_model_that_lies_in_no_folder_of_comfyui_is_used(runs, tmp_path):
    made = runs.plan("t2v", preset="fast", prompt="far")
    files = dict(made.weights.files)
    first, _ = runs.run(made)
    files["upscaler"] = tmp_path / "far" / files["upscaler"].name
    files["upscaler"].parent.mkdir()
    files["upscaler"].write_bytes(made.weights.files["upscaler"].read_bytes())
    other = replace(made, weights=replace(made.weights, files=files))
    assert np.array_equal(pixels(first), pixels(runs.run(other)[0]))


def test_seed_decides_and_a_new_one_encodes_nothing_again(runs):
    made = runs.plan("t2v", prompt="a red boat")
    first, _ = runs.run(made)
    first = pixels(first)
    again, events = runs.run(made)
    assert (pixels(again) == first).all()
    other, events = runs.run(replace(made, seed=2))
    assert (pixels(other) != first).any()
    assert "encode" not in [made.stages[e.index].id for e in events if isinstance(e, StageStarted)]


def test_each_picture_counts(runs):
    first, _ = runs.run(runs.plan("i2v"))
    first = pixels(first)
    other, _ = runs.run(runs.plan("i2v", image=[runs.media.path("image", 1)]))
    assert (pixels(other) != first).any()


def test_lora_counts_from_wherever_it_lies(runs, tmp_path):
    made = runs.plan("t2v", preset="fast")
    first, _ = runs.run(made)
    first = pixels(first)
    path = tmp_path / "far away.safetensors"
    path.write_bytes(made.weights.adapter("detailer").read_bytes())
    other, _ = runs.run(replace(made, loras=(LoraUse("far away", path, 1.0),)))
    assert (pixels(other) != first).any()


def test_decoding_that_needs_too_much_memory_is_tried_in_smaller_tiles(runs, monkeypatch):
    import nodes

    tiles, decode = [], nodes.NODE_CLASS_MAPPINGS["VAEDecodeTiled"].decode

    def fail_once(self, tile_size, **options):
        tiles.append(tile_size)
        if len(tiles) == 1:
            raise MemoryError
        return decode(self, tile_size=tile_size, **options)

    monkeypatch.setattr(nodes.NODE_CLASS_MAPPINGS["VAEDecodeTiled"], "decode", fail_once)
    path, events = runs.run(runs.plan("t2v", prompt="tiles"))
    assert tiles == [512, 256] and probe_clip(path).frames_estimate == FRAMES
    assert [one.done for one in events if isinstance(one, StepDone)] == [1, 2, 1]
    assert any(isinstance(one, Note) and "smaller tiles" in one.text for one in events)


@pytest.mark.parametrize(("mode", "more"), [("t2v", {}), ("style", {"control": "depth"})])
def test_latents_of_an_earlier_try_are_decoded_and_not_sampled(runs, mode, more):
    made = runs.plan(mode, prompt="once", **more)
    first, _ = runs.run(made)
    first, folder = pixels(first), first.parent
    # As after a crash: nothing but the folder is left.
    runs.engine.release()
    again, events = runs.run(made, scratch=folder)
    assert not [one for one in events if isinstance(one, StepDone)]
    assert (pixels(again) == first).all()


def test_release_forgets_the_models_and_the_next_run_loads_them(runs):
    import comfy.model_management as management

    runs.run(runs.plan("t2v"))
    runs.engine.release()
    gc.collect()
    assert not management.current_loaded_models
    runs.run(runs.plan("t2v"))


def test_nothing_of_a_run_is_left_and_packs_that_fail_are_named(runs):
    assert not list((runs.home.scratch / "comfy" / "input").iterdir())
    assert not list((runs.home.scratch / "comfy" / "output").rglob("*.mp4"))
    assert "broken pack" in runs.engine.failed_packs


def test_diffusers_engine_starts_beside_comfyui(runs):
    from studio.diffusers_engine import DiffusersEngine

    DiffusersEngine().release()
