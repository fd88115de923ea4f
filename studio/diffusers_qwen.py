"""Qwen-Image: text to a picture; and what it shares with Qwen-Image-Edit."""

from typing import Any

import torch
from diffusers import QwenImagePipeline

from studio.diffusers_images import Arguments, ImageRunner, Look
from studio.diffusers_preview import QWEN_COLOURS, CleanEstimate
from studio.plan import Plan
from studio.presets import Sampling
from studio.progress import Progress

_LONGEST_PROMPT = 1024
"""Tokens that the pipeline takes at most; its default is half of that."""

Prompt = tuple[torch.Tensor, torch.Tensor | None]
"""Embeddings per token [1, tokens, width], and the mask where some do not count."""

NO_NEGATIVE = " "
"""What the makers' examples give where nothing is unwanted; guidance needs something."""


class QwenRunner(ImageRunner):
    """Latents and guidance of both Qwen-Image pipelines."""

    colours = QWEN_COLOURS
    denoiser = "transformer"

    def _guided(self, sampling: Sampling, positive: Prompt, negative: Prompt | None) -> Arguments:
        """The arguments of prompt and guidance; `negative` is None where guidance is off."""
        embeds, mask = positive
        arguments = {
            "prompt_embeds": embeds,
            "prompt_embeds_mask": mask,
            "true_cfg_scale": sampling.guidance.scale,
            "max_sequence_length": _LONGEST_PROMPT,
        }
        if negative is not None:
            embeds, mask = negative
            arguments |= {"negative_prompt_embeds": embeds, "negative_prompt_embeds_mask": mask}
        return arguments

    def _look(self, plan: Plan) -> Look:
        estimate = CleanEstimate()

        def look(step: int, latents: torch.Tensor) -> torch.Tensor:
            clean = estimate.after(step, latents, self._pipeline.scheduler.sigmas)
            return self._unpacked(plan, clean)[0, :, 0]

        return look

    def _unpacked(self, plan: Plan, latents: torch.Tensor) -> torch.Tensor:
        """From 2 x 2 patches in a row to [1, channels, 1, height, width]."""
        pipeline = self._pipeline
        unpacked: torch.Tensor = pipeline._unpack_latents(
            latents, plan.height, plan.width, pipeline.vae_scale_factor
        )
        return unpacked

    def _pixels(self, plan: Plan, latents: torch.Tensor) -> torch.Tensor:
        vae: Any = self._pipeline.vae
        unpacked = self._unpacked(plan, latents).to(vae.dtype)
        mean, std = (
            torch.tensor(statistic).view(1, -1, 1, 1, 1).to(unpacked)
            for statistic in (vae.config.latents_mean, vae.config.latents_std)
        )
        pixels: torch.Tensor = vae.decode(unpacked * std + mean, return_dict=False)[0]
        return pixels[:, :, 0]


class QwenImageRunner(QwenRunner):
    """One set of Qwen-Image weights, ready to draw."""

    pipeline = QwenImagePipeline

    def _encode(self, plan: Plan, sampling: Sampling, progress: Progress) -> Arguments:
        guided = sampling.guidance.scale > 1
        negative = self._embeddings(plan.negative or NO_NEGATIVE) if guided else None
        return self._guided(sampling, self._embeddings(plan.prompt), negative)

    def _embeddings(self, text: str) -> Prompt:
        def encode() -> Prompt:
            embeds, mask = self._pipeline.encode_prompt(
                text, device=self._device, max_sequence_length=_LONGEST_PROMPT
            )
            return embeds, mask

        return self._prompts.get(text, encode, self._device)
