"""SDXL: text to a picture; and what it shares with other models that have a UNet."""

from collections.abc import Hashable
from typing import Any

import torch
from diffusers import StableDiffusionXLPipeline

from studio.diffusers_images import Arguments, ImageRunner, Look
from studio.diffusers_loras import adapter_name, wanted_loras
from studio.diffusers_preview import SDXL_COLOURS
from studio.diffusers_sdxl_prompt import Prompt, read_prompt
from studio.diffusers_sdxl_weights import load_pipeline
from studio.plan import Plan
from studio.presets import Sampling
from studio.progress import Progress
from studio.torch_device import Device
from studio.weights import Weights


class UnetRunner(ImageRunner):
    """Latents of a pipeline that predicts noise with a UNet, sampled with DPM++."""

    denoiser = "unet"

    def _look(self, plan: Plan) -> Look:
        def look(step: int, latents: torch.Tensor) -> torch.Tensor:
            # DPM++ keeps its last estimate of the finished latents.
            clean: torch.Tensor = self._pipeline.scheduler.model_outputs[-1][0]
            return clean

        return look

    def _pixels(self, plan: Plan, latents: torch.Tensor) -> torch.Tensor:
        vae: Any = self._pipeline.vae
        scaled = latents.to(vae.dtype) / vae.config.scaling_factor
        pixels: torch.Tensor = vae.decode(scaled, return_dict=False)[0]
        return pixels


class SdxlRunner(UnetRunner):
    """One SDXL checkpoint, ready to draw."""

    colours = SDXL_COLOURS

    def _load(self, weights: Weights, device: Device) -> StableDiffusionXLPipeline:
        return load_pipeline(weights.base, device.dtype)

    def _encode(self, plan: Plan, sampling: Sampling, progress: Progress) -> Arguments:
        # LoRAs of SDXL change its text encoders too.
        loras = tuple(
            (adapter_name(one.path), one.strength) for one in wanted_loras(plan, sampling)
        )
        guidance = sampling.guidance
        arguments: Arguments = {
            "guidance_scale": guidance.scale,
            "guidance_rescale": guidance.rescale,
        }
        tokens, pooled = self._embeddings(plan.prompt, loras)
        if guidance.scale > 1:
            unwanted, unwanted_pooled = self._negative(plan.negative, loras, tokens, pooled)
            length = max(tokens.shape[1], unwanted.shape[1])
            tokens = self._lengthened(tokens, length, loras)
            arguments["negative_prompt_embeds"] = self._lengthened(unwanted, length, loras)
            arguments["negative_pooled_prompt_embeds"] = unwanted_pooled
        return {**arguments, "prompt_embeds": tokens, "pooled_prompt_embeds": pooled}

    def _embeddings(self, text: str, loras: Hashable) -> Prompt:
        return self._prompts.get(
            (text, loras), lambda: read_prompt(self._pipeline, text, self._device), self._device
        )

    def _negative(
        self, text: str, loras: Hashable, tokens: torch.Tensor, pooled: torch.Tensor
    ) -> Prompt:
        if not text and self._pipeline.config.force_zeros_for_empty_prompt:
            # What SDXL was trained to see in place of no prompt.
            return torch.zeros_like(tokens), torch.zeros_like(pooled)
        return self._embeddings(text, loras)

    def _lengthened(self, tokens: torch.Tensor, length: int, loras: Hashable) -> torch.Tensor:
        """With chunks of an empty prompt behind them: both sides of guidance are of one length."""
        parts = [tokens]
        while sum(part.shape[1] for part in parts) < length:
            parts.append(self._embeddings("", loras)[0])
        return torch.cat(parts, dim=1)
