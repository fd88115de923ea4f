"""What an LTX clip is given beside words: pictures, a sound, a clip to follow."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from diffusers import AutoencoderKLLTX2Audio
from diffusers.pipelines.ltx2.pipeline_ltx2_condition import LTX2VideoCondition
from diffusers.pipelines.ltx2.pipeline_ltx2_ic_lora import LTX2ReferenceCondition
from PIL import Image

from studio import sizes
from studio.control_maps import canny
from studio.diffusers_ltx import Arguments
from studio.diffusers_sound import encode_sound
from studio.media_clips import Frames, load_frames, probe_clip
from studio.media_images import cover, load_image
from studio.media_sound import Sound, add_noise_floor, fit_length, load_sound
from studio.plan import Anchor, Clip, ControlClip, Plan, SoundTrack

FIRST, LAST = 0, -1
"""Indices of latent frames."""


@dataclass(frozen=True)
class Guides:
    """Read, and ready for the pipeline's call."""

    pictures: Sequence[LTX2VideoCondition]
    """For every stage. The pipeline gives them the compression that the model was trained on."""
    reference: Sequence[LTX2ReferenceCondition]
    """For the first stage: the second refines without, as in Lightricks' IC-LoRA pipeline."""
    downscale: int
    sound: torch.Tensor | None
    """Audio latents, not normalised, that stay as they are through all stages."""

    def arguments(self, stage: int) -> Arguments:
        """Arguments of the pipeline's call for a stage, counted from 0."""
        return {
            "conditions": list(self.pictures),
            "reference_conditions": [] if stage else list(self.reference),
            "reference_downscale_factor": self.downscale,
        }


def read_guides(plan: Plan, clip: Clip, audio_vae: AutoencoderKLLTX2Audio, device: str) -> Guides:
    """Everything that the clip names. What has strength 0 is left out, and so has no effect.

    Raises BadInput for a file that cannot be read.
    """
    anchors = ((clip.first, FIRST), (clip.last, LAST))
    control = clip.control if clip.control and clip.control.strength else None
    return Guides(
        pictures=[
            _picture(plan, anchor, index) for anchor, index in anchors if anchor and anchor.strength
        ],
        reference=[_reference(plan, clip, control)] if control else [],
        downscale=control.downscale if control else 1,
        sound=_heard(plan, clip, clip.sound, audio_vae, device) if clip.sound else None,
    )


def given_sound(clip: Clip) -> Sound | None:
    """The sound that goes into the clip as it was brought, cut or continued to the clip's length.

    A control clip keeps its own, or its silence: a sound that the model made up would not be that
    of what was filmed. None too where nothing was brought. Raises BadInput.
    """
    if clip.sound:
        return fit_length(load_sound(clip.sound.path), clip.seconds)
    if clip.control and probe_clip(clip.control.path).has_sound:
        return fit_length(load_sound(clip.control.path), clip.seconds)
    return None


def _picture(plan: Plan, anchor: Anchor, index: int) -> LTX2VideoCondition:
    image = cover(load_image(anchor.image), plan.width, plan.height)
    return LTX2VideoCondition(image, index, anchor.strength)


def _reference(plan: Plan, clip: Clip, control: ControlClip) -> LTX2ReferenceCondition:
    """The map at the size of the first stage, which is the one that looks at it.

    Lines drawn at the full size would be a quarter of a pixel wide, and grey, by then.
    """
    halvings = len(plan.sampling) - 1
    size = plan.width >> halvings, plan.height >> halvings
    frames = load_frames(control.path, clip.fps, clip.frames, *size)
    if control.edges:
        frames = canny(frames, control.edges.low, control.edges.high)
    pictures = [Image.fromarray(frame) for frame in _held(frames, clip.frames)]
    return LTX2ReferenceCondition(pictures, control.strength)


def _held(frames: Frames, count: int) -> Frames:
    """`count` frames: a clip that ends before holds its last one."""
    return frames[np.minimum(np.arange(count), len(frames) - 1)]


def _heard(
    plan: Plan, clip: Clip, track: SoundTrack, audio_vae: AutoencoderKLLTX2Audio, device: str
) -> torch.Tensor:
    config = audio_vae.config
    count = sizes.audio_latent_count(clip.frames, clip.fps)
    sound = load_sound(track.path, config.sample_rate, config.in_channels)
    sound = fit_length(sound, count / sizes.AUDIO_LATENTS_PER_SECOND)
    if track.noise_floor is not None:
        sound = add_noise_floor(sound, track.noise_floor, plan.seed)
    return encode_sound(audio_vae, sound, count, device)
