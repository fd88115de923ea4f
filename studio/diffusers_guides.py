"""What an LTX clip is given beside words: pictures, a sound, a clip to follow."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from diffusers import AutoencoderKLLTX2Audio
from diffusers.pipelines.ltx2.pipeline_ltx2_condition import LTX2VideoCondition
from diffusers.pipelines.ltx2.pipeline_ltx2_ic_lora import LTX2ReferenceCondition
from PIL import Image

from studio import sizes
from studio.clip_media import anchor_picture, control_frames, heard_sound
from studio.diffusers_ltx import Arguments
from studio.diffusers_sound import encode_sound
from studio.plan import Anchor, Clip, ControlClip, Plan, SoundTrack
from studio.progress import Progress

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


def read_guides(
    plan: Plan, clip: Clip, audio_vae: AutoencoderKLLTX2Audio, device: str, progress: Progress
) -> Guides:
    """Everything that the clip names. What has strength 0 is left out, and so has no effect.

    Raises BadInput for a file that cannot be read, and as `clip_media.control_frames`.
    """
    anchors = ((clip.first, FIRST), (clip.last, LAST))
    control = clip.control if clip.control and clip.control.strength else None
    return Guides(
        pictures=[
            _picture(plan, anchor, index) for anchor, index in anchors if anchor and anchor.strength
        ],
        reference=[_reference(plan, clip, control, progress)] if control else [],
        downscale=control.downscale if control else 1,
        sound=_heard(plan, clip, clip.sound, audio_vae, device) if clip.sound else None,
    )


def _picture(plan: Plan, anchor: Anchor, index: int) -> LTX2VideoCondition:
    return LTX2VideoCondition(anchor_picture(plan, anchor), index, anchor.strength)


def _reference(
    plan: Plan, clip: Clip, control: ControlClip, progress: Progress
) -> LTX2ReferenceCondition:
    pictures = [Image.fromarray(frame) for frame in control_frames(plan, clip, control, progress)]
    return LTX2ReferenceCondition(pictures, control.strength)


def _heard(
    plan: Plan, clip: Clip, track: SoundTrack, audio_vae: AutoencoderKLLTX2Audio, device: str
) -> torch.Tensor:
    config = audio_vae.config
    sound = heard_sound(plan, clip, track, config.sample_rate, config.in_channels)
    return encode_sound(audio_vae, sound, sizes.audio_latent_count(clip.frames, clip.fps), device)
