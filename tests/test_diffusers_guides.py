"""What clips are made from beside words, on the demo weights: pictures, sounds, control clips."""

import itertools
from dataclasses import replace

import numpy as np
import pytest
import torch
from clip_runs import (
    CELLS,
    FPS,
    FRAMES,
    LATENT_FRAMES,
    SHORT,
    SIDE,
    TINY,
    ClipRuns,
    frames_of,
    tone_share,
)

from studio import sizes
from studio.clip_media import control_frames
from studio.diffusers_loras import adapter_name
from studio.errors import BadInput, Cancelled
from studio.events import StageStarted, StepDone
from studio.media_clips import probe_clip
from studio.media_sound import load_sound
from studio.plan import Anchor, ControlClip, Depth, Edges, Pose, SoundTrack
from studio.progress import Progress
from studio.registry import DEPTH_ESTIMATOR, PERSON_DETECTOR, POSE_ESTIMATOR
from studio.torch_latents import load_latents


@pytest.fixture(scope="module")
def clips(demo_home, tmp_path_factory):
    return ClipRuns(demo_home, tmp_path_factory.mktemp("clips"))


def test_a_picture_of_strength_0_has_no_effect(clips):
    unseen = clips.plan(
        "keyframe", clip={"first": None, "last": Anchor(clips.media / "last.png", 0.0)}
    )
    assert np.array_equal(frames_of(clips.make(unseen)), frames_of(clips.make(clips.plan("t2v"))))


# Pictures


def test_both_frames_are_anchored_in_both_stages(clips):
    with clips.denoiser_calls() as calls:
        clips.make(clips.plan("keyframe"))
    tokens = [latents.shape[1] for latents in calls.each("hidden_states")]
    # The last frame is appended; the first one replaces what it anchors.
    small = (LATENT_FRAMES + 1) * CELLS // 4
    assert tokens == [small] * 2 + [(LATENT_FRAMES + 1) * CELLS]
    for count, times in zip(tokens, calls.each("timestep"), strict=True):
        cells = count // (LATENT_FRAMES + 1)
        assert (times[0, :cells] == 0).all()
        assert (times[0, cells:-cells] > 0).all()
        assert (times[0, -cells:] == 0).all()


def test_anchors_of_half_strength_keep_half_of_the_noise(clips):
    clip = {"last": Anchor(clips.media / "last.png", 0.5)}
    with clips.denoiser_calls() as calls:
        clips.make(clips.plan("keyframe", clip=clip))
    for times, sigma in zip(calls.each("timestep"), calls.each("sigma"), strict=True):
        assert float(times[0, -1]) == pytest.approx(float(sigma[0]) / 2)


def test_first_frame_of_strength_1_comes_out_as_it_was_encoded(clips, tmp_path):
    plan = clips.plan("i2v")
    with clips.denoiser_calls() as calls:
        clips.make(plan, scratch=tmp_path)
    normalised = calls.arguments[-1]["hidden_states"][0, :CELLS]
    vae = clips.runner._pipeline.vae
    kept = load_latents(tmp_path, plan)["video"][0, :, 0].flatten(1).T
    assert torch.allclose(kept, normalised * vae.latents_std + vae.latents_mean, atol=1e-5)


# Sound


def test_given_sound_stays_bit_by_bit_through_both_stages(clips, tmp_path):
    plan = clips.plan("a2v")
    with clips.denoiser_calls() as calls:
        clips.make(plan, scratch=tmp_path)
    heard = calls.each("audio_hidden_states")
    assert all(torch.equal(one, heard[0]) for one in heard)
    assert heard[0].shape[1] == sizes.audio_latent_count(FRAMES, FPS)
    assert all((times == 0).all() for times in calls.each("audio_timestep"))
    assert all((sigma == 0).all() for sigma in calls.each("audio_sigma"))


def test_sound_that_the_model_makes_is_noised_again_for_the_second_stage(clips):
    """From noise level 1 on there is noise alone, whatever the first stage has made."""
    sampling = (SHORT[0], replace(SHORT[1], sigmas=(1.0,)))
    heard = []
    for prompt in ("a red circle", "a blue square"):
        with clips.denoiser_calls() as calls:
            clips.make(clips.plan("t2v", prompt=prompt, sampling=sampling))
        heard.append(calls.each("audio_hidden_states"))
        assert calls.each("audio_timestep") == calls.each("sigma")
    (_, first, second), (_, other_first, other_second) = heard
    assert not torch.equal(first, other_first)
    assert torch.equal(second, other_second)


def test_original_sound_is_put_into_the_clip(clips):
    sound = load_sound(clips.make(clips.plan("a2v", **TINY)))
    assert (sound.rate, sound.channels) == (44_100, 2)
    assert tone_share(sound) > 0.95
    left, right = np.sqrt((sound.samples**2).mean(axis=1))
    assert right / left == pytest.approx(0.5, abs=0.05)


def test_a_sound_that_ends_before_the_clip_is_continued_with_silence(clips):
    path = clips.make(clips.plan("a2v", clip={"frames": 25}, **TINY))
    sound = load_sound(path)
    assert sound.seconds == pytest.approx(25 / FPS, abs=1 / FPS)
    assert np.abs(sound.samples[:, int(0.6 * sound.rate) :]).max() < 1e-3


def test_noise_floor_changes_what_the_model_hears_and_not_what_is_kept(clips):
    loud = clips.plan(
        "lipsync", clip={"sound": SoundTrack(clips.media / "sound.wav", 20.0)}, **TINY
    )
    clean, noisy = clips.make(clips.plan("lipsync", **TINY)), clips.make(loud)
    assert not np.array_equal(frames_of(clean), frames_of(noisy))
    assert np.array_equal(load_sound(clean).samples, load_sound(noisy).samples)


def test_a_sound_that_cannot_be_read_stops_the_run_before_it_starts(clips, tmp_path):
    (tmp_path / "broken.wav").write_bytes(b"no sound")
    clip = {"sound": SoundTrack(tmp_path / "broken.wav", None)}
    with clips.denoiser_calls() as calls, pytest.raises(BadInput):
        clips.make(clips.plan("a2v", clip=clip, **TINY))
    assert len(calls) == 0


# Control


def test_control_clip_is_seen_in_the_first_stage_only(clips):
    control, camera = clips.lora("union-control"), clips.lora("camera-static")
    acting = []
    transformer = clips.runner._pipeline.transformer
    hook = transformer.register_forward_pre_hook(
        lambda *_: acting.append(set(transformer.active_adapters()))
    )
    with clips.denoiser_calls() as calls:
        clips.make(clips.plan("style", loras=[control, camera]))
    hook.remove()
    tokens = [latents.shape[1] for latents in calls.each("hidden_states")]
    # A reference at half of the first stage's size has a quarter of its tokens.
    small = LATENT_FRAMES * CELLS // 4
    assert tokens == [small + small // 4] * 2 + [LATENT_FRAMES * CELLS]
    both, one = {adapter_name(control.path), adapter_name(camera.path)}, {adapter_name(camera.path)}
    assert acting == [both, both, one]


def test_control_settings_change_the_frames(clips):
    def style(drawn=Edges(92, 200), strength=1.0, lora=1.0):  # noqa: B008
        control = ControlClip(clips.media / "video.mp4", drawn, strength, 2)
        loras = [clips.lora("union-control", lora)]
        return frames_of(
            clips.make(clips.plan("style", clip={"control": control}, loras=loras, **TINY))
        )

    base = style()
    maps = [base, style(drawn=None), *map(style, estimated(clips))]
    for one, other in itertools.combinations(maps, 2):
        assert not np.array_equal(one, other)
    assert not np.array_equal(base, style(strength=0.5))
    assert not np.array_equal(base, style(lora=0.5))


def estimated(clips):
    model = clips.weights.control_model
    yield Depth(model(DEPTH_ESTIMATOR))
    yield Pose(model(PERSON_DETECTOR), model(POSE_ESTIMATOR))


@pytest.mark.parametrize("kind", [Depth, Pose])
@pytest.mark.parametrize("preset", ["fast", "balanced"])
def test_estimated_maps_have_the_size_of_the_first_stage(clips, kind, preset):
    (drawn,) = (one for one in estimated(clips) if isinstance(one, kind))
    control = ControlClip(clips.media / "video.mp4", drawn, 1.0, 2)
    plan = clips.plan("style", preset, clip={"frames": 17, "control": control})
    events = []
    maps = control_frames(plan, plan.task, control, Progress(plan, events.append))
    assert maps.shape == (17, *([SIDE >> (len(plan.sampling) - 1)] * 2), 3)
    # The clip has 12 frames, and holds the last one.
    assert (maps[11:] == maps[11]).all() and (maps[0] != maps[11]).any()
    index = [stage.id for stage in plan.stages].index("condition")
    assert events == [StageStarted(index, 12), *(StepDone(done, 12) for done in (4, 8, 12))]


@pytest.mark.parametrize("number", [0, 1])
def test_cancel_stops_while_the_control_clip_is_looked_at(clips, number):
    control = ControlClip(clips.media / "video.mp4", list(estimated(clips))[number], 1.0, 2)
    plan = clips.plan("style", clip={"control": control}, **TINY)
    heard = []

    def cancel(event):
        heard.append(event)
        if isinstance(event, StepDone):
            raise Cancelled("The job was cancelled.")

    with pytest.raises(Cancelled), clips.denoiser_calls() as calls:
        clips.make(plan, cancel)
    assert not calls and heard[-1] == StepDone(4, 9)
    assert len(frames_of(clips.make(plan))) == FRAMES


def test_a_control_clip_that_ends_early_holds_its_last_frame(clips):
    path = clips.make(clips.plan("style", clip={"frames": 25}, **TINY))
    assert len(frames_of(path)) == 25


def test_sound_of_the_control_clip_is_kept(clips):
    assert tone_share(load_sound(clips.make(clips.plan("style", **TINY)))) > 0.95


def test_silence_of_the_control_clip_is_kept(clips):
    control = ControlClip(clips.media / "silent.mp4", Edges(92, 200), 1.0, 2)
    path = clips.make(clips.plan("style", clip={"control": control}, **TINY))
    assert not probe_clip(path).has_sound
