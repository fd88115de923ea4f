"""Reads pictures of one shape by their pixels: no model, thresholds that never move."""

from dataclasses import dataclass

import torch
from demo.shapes import BACKGROUND_LEVELS, COLOUR_LEVELS, Scenes

# Distance in levels of -1 … 1 from the background at which a pixel belongs to the shape.
SEEN = 0.45
# Shares of its bounding box that a shape fills: triangle 0.5, circle 0.79, square 1.
TRIANGLE_BELOW, CIRCLE_BELOW = 0.65, 0.89
# A shape is bounded by rows and columns with as many pixels: a stray one is none.
ROW_PIXELS = 2
FEWEST_PIXELS = 12


@dataclass(frozen=True)
class Seen:
    """Indices into the tables of `studio.demo_words`, -1 where nothing was seen."""

    colour: int
    background: int
    shape: int
    mask: torch.Tensor
    """Which pixels [height, width] belong to the shape."""


def look_at(picture: torch.Tensor) -> Seen:
    """What a picture [3, height, width] in -1 … 1 shows."""
    ground = _border(picture).median(1).values
    background = _nearest(BACKGROUND_LEVELS, ground)
    mask = (picture - ground[:, None, None]).square().sum(0).sqrt() > SEEN
    if mask.sum() < FEWEST_PIXELS:
        return Seen(-1, background, -1, mask)
    colour = _nearest(COLOUR_LEVELS, picture[:, mask].median(1).values)
    return Seen(colour, background, _shape(mask), mask)


def _border(picture: torch.Tensor) -> torch.Tensor:
    return torch.cat([picture[:, 0], picture[:, -1], picture[:, :, 0], picture[:, :, -1]], 1)


def _nearest(table: torch.Tensor, colour: torch.Tensor) -> int:
    return int((table - colour).square().sum(1).argmin())


def _shape(mask: torch.Tensor) -> int:
    sides = [torch.nonzero(mask.sum(axis) >= ROW_PIXELS).flatten() for axis in (0, 1)]
    if min(len(side) for side in sides) == 0:
        return -1
    box = [int(side[-1] - side[0]) + 1 for side in sides]
    filled = int(mask.sum()) / (box[0] * box[1])
    return 2 if filled < TRIANGLE_BELOW else 0 if filled < CIRCLE_BELOW else 1


def shares(pictures: torch.Tensor, scenes: Scenes) -> dict[str, float]:
    """How many of the pictures show the colour, background and shape of their scene, 0 … 1."""
    seen = [look_at(picture) for picture in pictures]
    return {
        name: sum(
            getattr(one, name) == int(true)
            for one, true in zip(seen, getattr(scenes, name), strict=True)
        )
        / len(seen)
        for name in ("colour", "background", "shape")
    }


def decibels(one: torch.Tensor, other: torch.Tensor) -> float:
    """Peak signal-to-noise ratio of pictures in -1 … 1."""
    error = ((one - other) / 2).square().mean().clamp(min=1e-10)
    return float(-10 * error.log10())
