"""Reproducible random weights: the same numbers on every machine, whatever its torch draws."""

import zlib
from collections.abc import Sequence

import numpy as np
import torch


@torch.no_grad()
def fill_random(module: torch.nn.Module) -> None:
    """Overwrite the weights of `module` in place, keeping the variance of what passes through.

    So prompts and seeds still show after the last layer. Biases become zero, norm gains stay.
    The numbers depend on a parameter's name alone: one more layer does not change the others.
    """
    for name, parameter in module.named_parameters():
        if name.endswith("bias"):
            parameter.zero_()
        elif parameter[0].numel() > 1:
            parameter.copy_(uniform(parameter.shape, name))
    module.eval()


def uniform(shape: Sequence[int], name: str) -> torch.Tensor:
    """Uniform numbers seeded by `name`, variance 1 / fan-in (LeCun 1998), fan-in = shape[1:]."""
    stream = np.random.default_rng(zlib.crc32(name.encode()))
    limit = np.float32((3 / np.prod(shape[1:])) ** 0.5)
    return torch.from_numpy((2 * stream.random(tuple(shape), dtype=np.float32) - 1) * limit)


@torch.no_grad()
def scale(weight: torch.Tensor, gain: float) -> None:
    """Multiply `weight` in place."""
    weight.mul_(gain)


@torch.no_grad()
def share_shuffled(weight: torch.Tensor, pixels: int) -> None:
    """Give the `pixels` filters whose outputs a pixel shuffle lays side by side the same weights.

    `weight` is [channels * pixels, ...], changed in place. This start (ICNR, Aitken 2017) makes
    smooth patches; independent filters make white noise, which no video codec can compress.
    """
    filters = weight.view(-1, pixels, *weight.shape[1:])
    filters.copy_(filters[:, :1].clone())


@torch.no_grad()
def centre_taps(weight: torch.Tensor) -> None:
    """Make the taps of each filter sum to zero in place, so that no constant passes through."""
    weight.sub_(weight.mean(dim=-1, keepdim=True))
