"""The LTX-2.3 pipeline as all six video modes use it, and the words it takes its settings in."""

import math
from pathlib import Path
from typing import Any

import torch
from diffusers import FlowMatchEulerDiscreteScheduler, LTX2InContextPipeline

from studio.presets import STG_BLOCK, Sampling
from studio.torch_device import Device

Arguments = dict[str, Any]
"""Arguments of the pipeline's call."""

PROMPT_TOKENS = 1024
"""The length that LTX-2's prompts are padded and cut to in its training."""

# Not 0 for Python, but 0 as soon as torch rounds it to float32.
_ZERO = math.ulp(0.0)


class FrozenAudioScheduler(FlowMatchEulerDiscreteScheduler):  # type: ignore[misc]
    """Keeps the sound as it is, and tells the model at every step that it is clean."""

    def set_timesteps(
        self,
        num_inference_steps: int | None = None,
        device: str | torch.device | None = None,
        sigmas: list[float] | None = None,
        mu: float | None = None,
        timesteps: list[float] | None = None,
    ) -> None:
        # Pipelines read this signature, so it is the parent's.
        super().set_timesteps(num_inference_steps, device, sigmas, mu, timesteps)
        self.timesteps: torch.Tensor = torch.zeros_like(self.timesteps)
        self.sigmas: torch.Tensor = torch.zeros_like(self.sigmas)

    def step(
        self,
        model_output: torch.Tensor,
        timestep: torch.Tensor,
        sample: torch.Tensor,
        **_: object,
    ) -> tuple[torch.Tensor]:
        return (sample,)


class LtxPipeline(LTX2InContextPipeline):  # type: ignore[misc]
    """Prompt, first and last frame, reference clip and frozen sound, in any combination."""

    def freeze_audio(self, frozen: bool) -> None:
        """Whether the next call keeps the audio latents it is given, or makes sound from them."""
        self.audio_scheduler = FrozenAudioScheduler() if frozen else None

    def prepare_audio_latents(
        self, *args: object, noise_scale: float = 0.0, **kwargs: object
    ) -> torch.Tensor:
        """Noise is mixed into given latents, except into frozen ones."""
        scale = 0.0 if self.audio_scheduler is not None else noise_scale
        latents: torch.Tensor = super().prepare_audio_latents(*args, noise_scale=scale, **kwargs)
        return latents


def load_ltx(folder: Path, device: Device) -> LtxPipeline:
    """The pipeline of a diffusers folder, on the CPU. Raises OSError where files are missing."""
    # bfloat16 adds up to noise in the vocoder's long chain of convolutions: Lightricks runs it
    # in float32 too.
    dtypes = {"default": device.dtype, "vocoder": torch.float32}
    pipeline: LtxPipeline = LtxPipeline.from_pretrained(folder, dtype=dtypes, local_files_only=True)
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def sampling_arguments(sampling: Sampling, blocks: int) -> Arguments:
    """Steps, noise levels and every guidance knob, for a transformer of that many blocks.

    All are given always, because what is left out falls back to the full model's guidance.
    """
    sigmas = list(sampling.sigmas) if sampling.sigmas else None
    picture, sound = sampling.guidance, sampling.sound_guidance
    return {
        "num_inference_steps": sampling.step_count,
        "sigmas": sigmas,
        "noise_scale": sigmas[0] if sigmas else 1.0,
        "guidance_scale": picture.scale,
        "stg_scale": picture.stg,
        "modality_scale": picture.modality,
        "guidance_rescale": picture.rescale,
        "audio_guidance_scale": sound.scale,
        "audio_stg_scale": _own(sound.stg, picture.stg),
        "audio_modality_scale": sound.modality,
        "audio_guidance_rescale": _own(sound.rescale, picture.rescale),
        "spatio_temporal_guidance_blocks": _stg_blocks(sampling, blocks),
    }


def _own(sound: float, picture: float) -> float:
    """The sound's value as the pipeline must be told it: it takes 0 for "as the picture"."""
    return sound or (_ZERO if picture else 0.0)


def _stg_blocks(sampling: Sampling, blocks: int) -> list[int] | None:
    if not (sampling.guidance.stg or sampling.sound_guidance.stg):
        return None
    # A block that is not there is left out in silence, but its pass is paid for: smaller
    # models perturb their last one.
    return [min(STG_BLOCK, blocks - 1)]
