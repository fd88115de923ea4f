"""Pictures of one shape on a plain background, drawn in batches, and the edits between them."""

from dataclasses import dataclass, replace

import torch

from studio.demo_words import BACKGROUNDS, COLOURS, SHAPES, Rgb

# A square of the same area as a circle of radius 1 has half this side.
SQUARE_SIDE = 0.886
TRIANGLE_BASE, TRIANGLE_WIDTH = 0.75, 1.0

Size = tuple[int, int]
"""Height and width in pixels."""


def levels(colours: list[Rgb]) -> torch.Tensor:
    """[n, 3] in -1 … 1."""
    return torch.tensor(colours, dtype=torch.float32) / 127.5 - 1


COLOUR_LEVELS = levels(list(COLOURS.values()))
BACKGROUND_LEVELS = levels(list(BACKGROUNDS.values()))


@dataclass(frozen=True)
class Scenes:
    """What `n` pictures show. Indices into the tables of `studio.demo_words`, each [n]; the
    places and radii are shares of the height, the width and the shorter side."""

    colour: torch.Tensor
    background: torch.Tensor
    shape: torch.Tensor
    across: torch.Tensor
    down: torch.Tensor
    radius: torch.Tensor

    def __len__(self) -> int:
        return len(self.colour)

    def part(self, chosen: torch.Tensor | slice) -> "Scenes":
        return Scenes(*(value[chosen] for value in vars(self).values()))


# Where a drawing's shape lies is not said. A tiny network that has to choose makes a bit of each
# place, so there is one, and two sizes; on the grid of its patches each patch is one of few.
PATCH = 16
RADII = (24, 32)
"""Pixels."""

# Of pictures to be edited: large enough to be told apart by eye, as shares of the shorter side.
SMALLEST, LARGEST = 0.16, 0.30


def draw_anywhere(count: int, size: Size, draw: torch.Generator) -> Scenes:
    """Random scenes whose shape lies within a picture of `size`."""
    radius = SMALLEST + (LARGEST - SMALLEST) * torch.rand(count, generator=draw)
    room = [0.5 - radius * min(size) / side for side in size]
    down, across = (0.5 + most * (2 * torch.rand(count, generator=draw) - 1) for most in room)
    return Scenes(*draw_looks(count, draw), across, down, radius)


def draw_centred(count: int, size: Size, draw: torch.Generator) -> Scenes:
    """Random scenes as drawings are: in the middle, of two sizes."""
    radius = torch.tensor(RADII)[torch.randint(len(RADII), (count,), generator=draw)]
    down, across = (torch.full((count,), PATCH * (side // (2 * PATCH)) / side) for side in size)
    return Scenes(*draw_looks(count, draw), across, down, radius / min(size))


def draw_looks(
    count: int, draw: torch.Generator
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Colours, backgrounds that differ from them, and shapes."""
    colour = torch.randint(len(COLOURS), (count,), generator=draw)
    background = torch.randint(len(BACKGROUNDS), (count,), generator=draw)
    unseen = same_colour(colour, background)
    colour[unseen] = (colour[unseen] + 1) % len(COLOURS)
    return colour, background, torch.randint(len(SHAPES), (count,), generator=draw)


def same_colour(colour: torch.Tensor, background: torch.Tensor) -> torch.Tensor:
    """Where the shape could not be seen."""
    return (COLOUR_LEVELS[colour] == BACKGROUND_LEVELS[background]).all(-1)


def paint(scenes: Scenes, size: Size) -> torch.Tensor:
    """Anti-aliased pictures [n, 3, height, width] in -1 … 1."""
    cover = coverage(scenes, size)[:, None]
    ground = BACKGROUND_LEVELS[scenes.background][:, :, None, None]
    return ground + cover * (COLOUR_LEVELS[scenes.colour][:, :, None, None] - ground)


def coverage(scenes: Scenes, size: Size) -> torch.Tensor:
    """How much of each pixel the shape covers, [n, height, width] in 0 … 1."""
    height, width = size
    rows, columns = torch.arange(height) + 0.5, torch.arange(width) + 0.5
    y = rows[None, :, None] - (scenes.down * height)[:, None, None]
    x = (columns[None, None, :] - (scenes.across * width)[:, None, None]).abs()
    radius = (scenes.radius * min(size))[:, None, None]
    outside = torch.stack([_circle(x, y, radius), _square(x, y, radius), _triangle(x, y, radius)])
    chosen = outside.gather(0, scenes.shape[None, :, None, None].expand(1, -1, height, width))[0]
    return (0.5 - chosen).clamp(0, 1)


def _circle(x: torch.Tensor, y: torch.Tensor, radius: torch.Tensor) -> torch.Tensor:
    """Pixels from the rim outwards, as the two below."""
    return (x * x + y * y).sqrt() - radius


def _square(x: torch.Tensor, y: torch.Tensor, radius: torch.Tensor) -> torch.Tensor:
    return torch.maximum(x, y.abs()) - radius * SQUARE_SIDE


def _triangle(x: torch.Tensor, y: torch.Tensor, radius: torch.Tensor) -> torch.Tensor:
    """Standing on its base, its tip a radius above the centre."""
    rise, half = (TRIANGLE_BASE + 1) * radius, TRIANGLE_WIDTH * radius
    slope = (x * rise - (y + radius) * half) / (rise**2 + half**2).sqrt()
    return torch.maximum(y - TRIANGLE_BASE * radius, slope)


def recoloured(scenes: Scenes, colour: torch.Tensor) -> Scenes:
    return replace(scenes, colour=colour)
