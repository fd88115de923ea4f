"""The six video modes on the demo weights: what is made, and in how many steps."""

from dataclasses import replace

import av
import numpy as np
import pytest
import torch
from clip_runs import (
    CLIP_MODES,
    CPU,
    FPS,
    FRAMES,
    SHORT,
    SIDE,
    TINY,
    Calls,
    ClipRuns,
    Fault,
    frames_of,
)
from diffusers import LTX2LatentUpsamplePipeline

from studio.diffusers_upsampler import load_upsampler
from studio.errors import Cancelled, EngineFailed
from studio.events import Note, PreviewReady, StageStarted, StepDone
from studio.media_clips import probe_clip
from studio.media_sound import load_sound
from studio.modes import SAVE
from studio.plan import Anchor
from studio.presets import (
    DISTILLED_SIGMAS,
    LTX_PRESETS,
    OFFICIAL_REFINE_SIGMAS,
    Guidance,
    Sampling,
)
from studio.torch_latents import load_latents


@pytest.fixture(scope="module")
def clips(demo_home, tmp_path_factory):
    return ClipRuns(demo_home, tmp_path_factory.mktemp("clips"))


# What comes out


@pytest.mark.parametrize("mode_id", CLIP_MODES)
def test_every_mode_makes_its_clip_stage_by_stage(clips, mode_id):
    plan, events = clips.plan(mode_id), []
    path = clips.make(plan, events.append)
    started = [plan.stages[one.index].id for one in events if isinstance(one, StageStarted)]
    assert started == [stage.id for stage in plan.stages if stage.id != "load"]
    info = probe_clip(path)
    assert (info.width, info.height) == (SIDE, SIDE)
    assert len(frames_of(path)) == FRAMES
    assert info.has_sound
    assert load_sound(path).seconds == pytest.approx(FRAMES / FPS, abs=1 / FPS)
    assert frames_of(path).std() > 5


@pytest.mark.parametrize(("frames", "fps"), [(17, 25), (33, 24), (9, 8)])
def test_clips_have_exactly_the_frames_of_the_plan(clips, frames, fps):
    clip = {"frames": frames, "fps": fps}
    path = clips.make(clips.plan("keyframe", clip=clip, **TINY))
    with av.open(str(path)) as container:
        video, audio = container.streams.video[0], container.streams.audio[0]
        assert (video.frames, video.average_rate) == (frames, fps)
        assert float(audio.duration * audio.time_base) == pytest.approx(frames / fps, abs=1 / fps)


def test_the_same_plan_makes_the_same_frames(clips):
    plan = clips.plan("lipsync")
    assert np.array_equal(frames_of(clips.make(plan)), frames_of(clips.make(plan)))


def test_every_setting_changes_the_frames(clips):
    # In turn: LoRAs of one plan must not stay for the next.
    base = frames_of(clips.make(clips.plan("i2v", **TINY)))
    changed = {
        "seed": clips.plan("i2v", seed=8, **TINY),
        "prompt": clips.plan("i2v", prompt="a blue square", **TINY),
        "steps": clips.plan("i2v", **TINY | {"sampling": (replace(SHORT[0], sigmas=(1.0, 0.5)),)}),
        "first": clips.plan("i2v", clip={"first": Anchor(clips.media / "last.png", 1.0)}, **TINY),
        "strength": clips.plan(
            "i2v", clip={"first": Anchor(clips.media / "first.png", 0.5)}, **TINY
        ),
        "camera": clips.plan("i2v", loras=[clips.lora("camera-jib-up")], **TINY),
        "camera strength": clips.plan("i2v", loras=[clips.lora("camera-jib-up", 0.5)], **TINY),
        "frames per second": clips.plan("i2v", clip={"fps": 12}, **TINY),
        "no picture": clips.plan("i2v", clip={"first": None}, **TINY),
    }
    made = {name: frames_of(clips.make(plan))[:4] for name, plan in changed.items()}
    for name, frames in made.items():
        assert not np.array_equal(frames, base[: len(frames)]), name
    assert not np.array_equal(made["camera"], made["camera strength"])
    assert np.array_equal(frames_of(clips.make(clips.plan("i2v", **TINY))), base)


# Steps, noise levels, guidance


def test_distilled_presets_take_one_evaluation_a_step(clips):
    with clips.denoiser_calls() as calls:
        clips.make(clips.plan("t2v", "fast"))
    assert len(calls) == 8 + 3
    assert all(latents.shape[0] == 1 for latents in calls.each("hidden_states"))


def test_quality_takes_four_evaluations_a_step_and_one_when_it_refines(clips):
    full, refine = LTX_PRESETS["quality"].sampling
    with clips.denoiser_calls() as calls:
        clips.make(clips.plan("lipsync", sampling=(replace(full, steps=2), refine)))
    assert sum(latents.shape[0] for latents in calls.each("hidden_states")) == 2 * 4 + 3
    perturbed = [blocks for blocks in calls.each("spatio_temporal_guidance_blocks") if blocks]
    assert perturbed == [[2], [2]]
    assert sum(calls.each("isolate_modalities")) == 2


def test_noise_levels_are_the_presets_own(clips):
    with clips.denoiser_calls() as calls:
        clips.make(clips.plan("t2v", "balanced"))
    levels = [float(sigma[0]) / 1000 for sigma in calls.each("sigma")]
    assert levels == pytest.approx([*DISTILLED_SIGMAS, *OFFICIAL_REFINE_SIGMAS], abs=1e-6)


def test_full_schedule_is_shifted_and_ends_at_a_tenth(clips):
    plan = clips.plan("t2v", sampling=(Sampling(4, "euler", "dev"),))
    with clips.denoiser_calls() as calls:
        clips.make(plan)
    levels = [float(sigma[0]) / 1000 for sigma in calls.each("sigma")]
    assert levels[0] == pytest.approx(1.0)
    assert levels[-1] == pytest.approx(0.1, abs=1e-4)
    assert levels[1] > 0.75


# Prompts


def test_a_prompt_is_encoded_once(clips):
    with Calls(clips.runner._pipeline.text_encoder) as calls:
        clips.make(clips.plan("t2v", prompt="a yellow ball", **TINY))
        assert len(calls) == 1
        clips.make(clips.plan("t2v", prompt="a yellow ball", seed=8, **TINY))
        assert len(calls) == 1
        clips.make(clips.plan("t2v", prompt="a green ball", **TINY))
        assert len(calls) == 2


def test_a_negative_prompt_acts_where_there_is_guidance(clips):
    guided = (Sampling(2, "euler", "dev", guidance=Guidance(3.0)),)
    plan = clips.plan("t2v", sampling=guided, prompt="a grey ball")
    with Calls(clips.runner._pipeline.text_encoder) as calls:
        made = [frames_of(clips.make(replace(plan, negative=text))) for text in ("rain", "snow")]
    assert len(calls) == 3
    assert not np.array_equal(*made)


def test_kept_prompts_are_to_the_model_what_the_pipeline_makes_of_them(clips):
    """The cache drops the padding and puts it back."""
    plan, pipeline = clips.plan("t2v", prompt="a black ball", **TINY), clips.runner._pipeline
    embeds, mask, *_ = pipeline.encode_prompt(plan.prompt, do_classifier_free_guidance=False)
    expected, *_ = pipeline.connectors(embeds, mask)
    with clips.denoiser_calls() as calls:
        clips.make(plan)
    assert torch.equal(calls.arguments[0]["encoder_hidden_states"], expected)


def test_a_prompt_that_is_cut_off_is_said(clips):
    notes = []
    clips.make(clips.plan("t2v", prompt="ball " * 2000, **TINY), notes.append)
    assert any(isinstance(one, Note) and "1024" in one.text for one in notes)


# Progress, stops, second tries


def test_every_step_is_said_and_previews_are_pictures(clips, monkeypatch):
    monkeypatch.setattr("studio.progress.PREVIEW_SECONDS", 0.0)
    events = []
    clips.make(clips.plan("i2v"), events.append)
    steps = [(one.done, one.of) for one in events if isinstance(one, StepDone)]
    assert steps == [(1, 2), (2, 2), (1, 1), (1, 1)]
    previews = [one.jpeg for one in events if isinstance(one, PreviewReady)]
    assert len(previews) == 3
    assert all(jpeg.startswith(b"\xff\xd8") for jpeg in previews)


def test_a_run_can_be_stopped_in_every_stage_and_the_next_one_is_whole(clips):
    plan = clips.plan("lipsync")
    base = frames_of(clips.make(plan))
    for index in range(1, len(plan.stages)):

        def stop(event, index=index):
            if isinstance(event, StageStarted) and event.index == index:
                raise Cancelled("Stopped.")

        with pytest.raises(Cancelled):
            clips.make(plan, stop)
    assert np.array_equal(frames_of(clips.make(plan)), base)


def test_a_run_stops_between_two_steps(clips):
    def stop(event):
        if isinstance(event, StepDone):
            raise Cancelled("Stopped.")

    with clips.denoiser_calls() as calls, pytest.raises(Cancelled):
        clips.make(clips.plan("keyframe"), stop)
    assert len(calls) == 1


def test_a_second_try_decodes_what_the_first_has_sampled(clips, tmp_path):
    plan = clips.plan("t2v")

    def stop(event):
        if isinstance(event, StageStarted) and plan.stages[event.index] == SAVE:
            raise Cancelled("Stopped.")

    with pytest.raises(Cancelled):
        clips.make(plan, stop, tmp_path)
    events = []
    with clips.denoiser_calls() as calls:
        again = clips.make(plan, events.append, tmp_path)
        assert len(calls) == 0
        other = clips.make(replace(plan, seed=8), scratch=tmp_path)
        assert len(calls) == 3
    started = [plan.stages[one.index].id for one in events if isinstance(one, StageStarted)]
    assert started == ["decode", "save"]
    assert again == other


def test_a_decode_without_memory_is_tried_again_in_smaller_tiles(clips):
    notes = []
    with Fault(clips.runner._pipeline.vae.decoder, torch.OutOfMemoryError("no memory")):
        path = clips.make(clips.plan("t2v", **TINY), notes.append)
    assert len(frames_of(path)) == FRAMES
    assert [one.text for one in notes if isinstance(one, Note)] == [
        "Decoded in smaller tiles, as the memory was not enough for the usual ones."
    ]


def test_a_decode_without_memory_is_tried_twice_at_most(clips, tmp_path):
    plan = clips.plan("t2v", **TINY)
    with (
        Fault(clips.runner._pipeline.vae.decoder, torch.OutOfMemoryError("no memory"), times=2),
        pytest.raises(torch.OutOfMemoryError),
    ):
        clips.make(plan, scratch=tmp_path)
    assert load_latents(tmp_path, plan) is not None
    assert not clips.runner._pipeline.vae.use_tiling


def test_latents_that_are_no_numbers_are_an_error_not_a_black_clip(clips):
    hook = clips.runner._pipeline.transformer.register_forward_hook(
        lambda _, __, made: (made[0] * torch.nan, made[1])
    )
    try:
        with clips.denoiser_calls() as calls, pytest.raises(EngineFailed):
            clips.make(clips.plan("t2v"))
    finally:
        hook.remove()
    assert len(calls) == SHORT[0].steps, "the second stage is for nothing"


def test_latents_are_upscaled_as_by_the_pipeline_of_diffusers(clips):
    small = torch.randn((1, 32, 2, 2, 2), generator=torch.Generator().manual_seed(0))
    upsampler = load_upsampler(clips.weights.upsampler, CPU)
    pipeline = LTX2LatentUpsamplePipeline(clips.runner._pipeline.vae, upsampler)
    expected = pipeline(latents=small, output_type="latent", return_dict=False)[0]
    with torch.no_grad():
        assert torch.equal(clips.runner._upscaled(clips.plan("t2v"), small), expected)
