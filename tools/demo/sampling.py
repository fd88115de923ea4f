"""Draws with a transformer in training, on the schedule of the Lightning presets."""

from itertools import pairwise

import torch
from demo.autoencoder import decode, single_frames
from demo.shapes import Size
from demo.transformer import Batch, velocity
from diffusers import AutoencoderKLQwenImage, QwenImageTransformer2DModel

SHIFT = 3.0


def noise_levels(steps: int) -> torch.Tensor:
    """[steps + 1] from 1 to 0: evenly spaced, then shifted as Qwen-Image-Lightning's README."""
    even = torch.linspace(1, 0, steps + 1)
    return SHIFT * even / (1 + (SHIFT - 1) * even)


@torch.no_grad()
def sample(
    model: QwenImageTransformer2DModel, batch: Batch, steps: int, draw: torch.Generator
) -> torch.Tensor:
    """Latents [n, tokens, 64] made of noise for the prompts of `batch`, by Euler steps."""
    latents = torch.randn(batch.clean.shape, generator=draw)
    levels = noise_levels(steps)
    for level, following in pairwise(levels):
        slope = velocity(model, latents, level.expand(len(latents)), batch)
        latents = latents + (following - level) * slope
    return latents


@torch.no_grad()
def show(vae: AutoencoderKLQwenImage, latents: torch.Tensor, size: Size) -> torch.Tensor:
    """Pictures [n, 3, height, width] in -1 … 1 of normalised latents in patches."""
    mean, spread = (
        torch.tensor(values).view(1, -1, 1, 1)
        for values in (vae.config.latents_mean, vae.config.latents_std)
    )
    with single_frames():
        chunks = [
            decode(vae, unpack(some, size) * spread + mean) for some in latents.float().split(8)
        ]
    return torch.cat(chunks).clamp(-1, 1)


def unpack(latents: torch.Tensor, size: Size) -> torch.Tensor:
    """The reverse of `demo.bank.pack`: [n, channels, height / 8, width / 8]."""
    rows, columns = size[0] // 16, size[1] // 16
    channels = latents.shape[2] // 4
    patches = latents.view(len(latents), rows, columns, channels, 2, 2)
    return patches.permute(0, 3, 1, 4, 2, 5).reshape(len(latents), channels, 2 * rows, 2 * columns)
