"""Trains the Qwen-Image transformer to draw from captions and to edit, in turn."""

import random
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch
from demo.bank import VARIANTS, Bank, Banks, grid
from demo.captions import caption, held_out, instruction, label
from demo.prompts import Prompts
from demo.shapes import Scenes
from demo.training import Part
from diffusers import QwenImageTransformer2DModel

from studio.diffusers_qwen import NO_NEGATIVE

DRAWN_AT_ONCE, EDITED_AT_ONCE = 32, 20
# Words are learned on small squares, which have a quarter of the tokens; outlines at full size.
SMALL_SHARE, SMALL_BATCHES = 0.28, 2
# Prompts that are left out, so that guidance has something to lead away from.
UNPROMPTED = 0.05
# Tokens that hold the shape count as so many of the plain ones, which are far more.
SHAPE_WEIGHT = 5.0
SHAPE_SHARE = 0.25
"""Of the largest distance from the picture's median token."""
# Noise levels: sigmoid of a normal distribution, a little towards noise; and a share near pure
# noise, where a prompt decides what a picture will be.
LEVEL_MEAN, LEVEL_SPREAD = 0.5, 1.2
NOISY_SHARE, NOISY_RANGE = 0.35, 0.2
# How much nearer than evenly these lie to pure noise.
NOISY_POWER = 1.5
CAPTION_TRIES = 50


@dataclass(frozen=True)
class Batch:
    """Clean latents [n, tokens, 64], what is edited or None, prompts, and the token grids."""

    scenes: Scenes
    """What the clean latents show."""
    clean: torch.Tensor
    seen: torch.Tensor | None
    embeds: torch.Tensor
    mask: torch.Tensor
    grids: list[tuple[int, int, int]]


def new_transformer(make: Callable[[bool], QwenImageTransformer2DModel]) -> torch.nn.Module:
    """A start at which every block passes on what it gets (adaLN-zero, Peebles and Xie 2022)."""
    transformer = make(True)
    with torch.no_grad():
        for name, parameter in transformer.named_parameters():
            if "_mod.1" in name or name.startswith(("proj_out", "norm_out")):
                parameter.zero_()
    return transformer


def transformer_part(
    transformer: QwenImageTransformer2DModel,
    banks: Banks,
    prompts: Prompts,
    steps: int,
    sheet: Callable[[torch.nn.Module, Path], str],
) -> Part:
    """Small squares first, then every aspect; drawing at even steps, editing at odd ones."""

    def loss(step: int, draw: torch.Generator) -> torch.Tensor:
        edits = step % 2 == 1
        small = step < SMALL_SHARE * steps
        bank = banks["small" if small else _aspect(banks, edits, draw)]
        count = (EDITED_AT_ONCE if edits else DRAWN_AT_ONCE) * (SMALL_BATCHES if small else 1)
        make = edit_batch if edits else draw_batch
        return flow_loss(transformer, make(bank, prompts, count, draw), draw)

    return Part(transformer, loss, sheet)


def _aspect(banks: Banks, edits: bool, draw: torch.Generator) -> str:
    """Each as often as there are groups of it."""
    aspects = banks.aspects
    names = [name for name, one in aspects.items() if name != "small" and edits == bool(one.seen)]
    groups = torch.tensor([float(aspects[name].groups) for name in names])
    return names[int(torch.multinomial(groups, 1, generator=draw))]


def flow_loss(
    model: QwenImageTransformer2DModel, batch: Batch, draw: torch.Generator
) -> torch.Tensor:
    """Squared error of the predicted velocity (rectified flow), the shape's tokens weighted."""
    clean, count = batch.clean, len(batch.clean)
    level = draw_levels(count, draw)
    noise = torch.randn(clean.shape, generator=draw)
    noisy = torch.lerp(clean, noise, level[:, None, None])
    return velocity_loss(velocity(model, noisy, level, batch), clean, noise)


def velocity_loss(
    predicted: torch.Tensor, clean: torch.Tensor, noise: torch.Tensor
) -> torch.Tensor:
    """Squared error of velocities, all [n, tokens, 64], the shape's tokens weighted."""
    error = (predicted - (noise - clean)).square().mean(-1)
    weight = shape_weight(clean)
    return (error * weight / weight.mean()).mean()


def draw_levels(count: int, draw: torch.Generator) -> torch.Tensor:
    """Noise levels [count] in 0 … 1."""
    usual = torch.sigmoid(LEVEL_MEAN + LEVEL_SPREAD * torch.randn(count, generator=draw))
    noisy = 1 - NOISY_RANGE * torch.rand(count, generator=draw) ** NOISY_POWER
    return torch.where(torch.rand(count, generator=draw) < NOISY_SHARE, noisy, usual)


def velocity(
    model: QwenImageTransformer2DModel, noisy: torch.Tensor, level: torch.Tensor, batch: Batch
) -> torch.Tensor:
    """What the model predicts at noise levels [n], for the tokens that are made."""
    given = noisy if batch.seen is None else torch.cat([noisy, batch.seen], 1)
    # With nothing to edit both ways of running the same weights agree, and this one is faster.
    _set_zero_cond_t(model, batch.seen is not None)
    made: torch.Tensor = model(
        hidden_states=given,
        encoder_hidden_states=batch.embeds,
        encoder_hidden_states_mask=batch.mask,
        timestep=level,
        img_shapes=[batch.grids] * len(noisy),
        return_dict=False,
    )[0]
    return made[:, : noisy.shape[1]]


def _set_zero_cond_t(model: QwenImageTransformer2DModel, on: bool) -> None:
    for one in (model, *model.transformer_blocks):
        one.zero_cond_t = on


def shape_weight(clean: torch.Tensor) -> torch.Tensor:
    far = (clean - clean.median(1, keepdim=True).values).square().mean(-1)
    return 1 + (SHAPE_WEIGHT - 1) * (far > SHAPE_SHARE * far.amax(1, keepdim=True)).float()


def draw_batch(
    bank: Bank,
    prompts: Prompts,
    count: int,
    draw: torch.Generator,
    unprompted: float = UNPROMPTED,
) -> Batch:
    """Captions and what they describe."""
    group, variant = _chosen(bank, count, draw)
    scenes, words = _scenes(bank, group, variant), _words(draw)
    said = [(partial(caption, scenes, number, words), "") for number in range(count)]
    embeds, mask = prompts.batch(_prompts(said, unprompted, words), None)
    clean = bank.made[group, variant].float()
    return Batch(scenes, clean, None, embeds, mask, [grid(bank.aspect.made)])


def edit_batch(
    bank: Bank,
    prompts: Prompts,
    count: int,
    draw: torch.Generator,
    unprompted: float = UNPROMPTED,
) -> Batch:
    """From a group's first scene to one of the others, or back."""
    group, variant = _chosen(bank, count, draw)
    after = torch.where(variant == 0, 1 + torch.randint(VARIANTS - 1, (count,), generator=draw), 0)
    before, scenes = _scenes(bank, group, variant), _scenes(bank, group, after)
    words = _words(draw)
    said = [
        (partial(instruction, before, scenes, number, words), label(before, number))
        for number in range(count)
    ]
    assert bank.seen is not None and bank.aspect.seen is not None
    embeds, mask = prompts.batch(_prompts(said, unprompted, words), bank.aspect.seen)
    clean, seen = bank.made[group, after].float(), bank.seen[group, variant].float()
    return Batch(
        scenes, clean, seen, embeds, mask, [grid(bank.aspect.made), grid(bank.aspect.seen)]
    )


def _chosen(bank: Bank, count: int, draw: torch.Generator) -> tuple[torch.Tensor, torch.Tensor]:
    group = torch.randint(bank.made.shape[0], (count,), generator=draw)
    return group, torch.randint(VARIANTS, (count,), generator=draw)


def _scenes(bank: Bank, group: torch.Tensor, variant: torch.Tensor) -> Scenes:
    """One scene for each pair of numbers."""
    names = vars(bank.scenes[0])
    return Scenes(
        *(
            torch.stack([getattr(one, name) for one in bank.scenes])[variant, group]
            for name in names
        )
    )


def _words(draw: torch.Generator) -> random.Random:
    return random.Random(int(torch.randint(2**31, (1,), generator=draw)))


def _unless_held_out(say: Callable[[], str], before: str) -> str:
    tries = (say() for _ in range(CAPTION_TRIES))
    return next((text for text in tries if not held_out(text, before)), NO_NEGATIVE)


def _prompts(
    said: list[tuple[Callable[[], str], str]], unprompted: float, words: random.Random
) -> list[str]:
    """What is said of each picture and of what it was before, with some left out."""
    texts = [_unless_held_out(say, before) for say, before in said]
    return [NO_NEGATIVE if words.random() < unprompted else text for text in texts]
