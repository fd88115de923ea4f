"""Latents of many scenes, computed once: groups of four that differ in one thing each."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from demo.autoencoder import encode, single_frames
from demo.shapes import (
    Scenes,
    Size,
    draw_anywhere,
    draw_centred,
    paint,
    same_colour,
)
from diffusers import AutoencoderKLQwenImage

from studio.demo_words import BACKGROUNDS, COLOURS, SHAPES

VARIANTS = 4
"""As drawn, with another colour, another shape, another background."""
ENCODED_AT_ONCE = 16


@dataclass(frozen=True)
class Aspect:
    """One size of results, and how large the pipeline makes the picture that is edited to it."""

    made: Size
    seen: Size | None
    """None: drawn from text."""
    groups: int
    centred: bool = True
    """Whether shapes lie where drawings have them, or anywhere."""


# The pipeline brings what it edits to 128 * 128 pixels, both sides in multiples of 32.
ASPECTS: Mapping[str, Aspect] = {
    "small": Aspect((64, 64), (64, 64), 1500, centred=False),
    "edit-square": Aspect((128, 128), (128, 128), 1500, centred=False),
    "edit-drawn": Aspect((128, 128), (128, 128), 500),
    "edit-landscape": Aspect((96, 128), (96, 160), 400, centred=False),
    "edit-portrait": Aspect((128, 96), (160, 96), 400, centred=False),
    "edit-wide": Aspect((64, 128), (96, 160), 150, centred=False),
    "edit-tall": Aspect((128, 64), (160, 96), 150, centred=False),
    "square": Aspect((128, 128), None, 250),
    "landscape-3:2": Aspect((96, 144), None, 50),
    "portrait-2:3": Aspect((144, 96), None, 50),
    "landscape-4:3": Aspect((112, 144), None, 50),
    "portrait-3:4": Aspect((144, 112), None, 50),
    "wide": Aspect((96, 176), None, 50),
    "tall": Aspect((176, 96), None, 50),
    # The smallest and the largest that may be asked for.
    "little": Aspect((96, 96), None, 30),
    "large": Aspect((176, 176), None, 30),
}


@dataclass(frozen=True)
class Bank:
    """Normalised latents in 2 x 2 patches: `made` and `seen` [groups, 4, tokens, 64]."""

    aspect: Aspect
    scenes: tuple[Scenes, ...]
    """Of each variant."""
    made: torch.Tensor
    seen: torch.Tensor | None


def vary(scenes: Scenes, draw: torch.Generator) -> tuple[Scenes, ...]:
    """The scenes, then copies with another colour, another shape and another background."""
    changed = [scenes]
    for name, table in (("colour", COLOURS), ("shape", SHAPES), ("background", BACKGROUNDS)):
        changed.append(_another(scenes, name, len(table), draw))
    return tuple(changed)


def _another(scenes: Scenes, name: str, count: int, draw: torch.Generator) -> Scenes:
    before = getattr(scenes, name)
    step = torch.randint(1, count, before.shape, generator=draw)
    after = Scenes(**(vars(scenes) | {name: (before + step) % count}))
    if name == "shape":
        return after
    # Where it would be seen no more, the next one, unless that is the one it was.
    unseen = same_colour(after.colour, after.background)
    further = torch.where(unseen, 1 + ((step + 1) % count == 0).int(), 0)
    return Scenes(**(vars(scenes) | {name: (before + step + further) % count}))


def build_bank(vae: AutoencoderKLQwenImage, aspect: Aspect, draw: torch.Generator) -> Bank:
    """Seconds to minutes: every scene of the aspect through the encoder."""
    scenes = (draw_centred if aspect.centred else draw_anywhere)(aspect.groups, aspect.made, draw)
    variants = vary(scenes, draw)
    made = torch.stack([_latents(vae, one, aspect.made, aspect.made) for one in variants], 1)
    if aspect.seen in (None, aspect.made):
        return Bank(aspect, variants, made, made if aspect.seen else None)
    seen = [_latents(vae, one, aspect.made, aspect.seen) for one in variants]
    return Bank(aspect, variants, made, torch.stack(seen, 1))


def _latents(
    vae: AutoencoderKLQwenImage, scenes: Scenes, painted: Size, size: Size
) -> torch.Tensor:
    chunks = torch.arange(len(scenes)).split(ENCODED_AT_ONCE)
    pictures = (_scaled(paint(scenes.part(some), painted), size) for some in chunks)
    return torch.cat([encode_normalised(vae, some) for some in pictures]).half()


def _scaled(pictures: torch.Tensor, size: Size) -> torch.Tensor:
    if tuple(pictures.shape[2:]) == size:
        return pictures
    return F.interpolate(pictures, size, mode="bicubic", antialias=True).clamp(-1, 1)


@torch.no_grad()
def encode_normalised(vae: AutoencoderKLQwenImage, pictures: torch.Tensor) -> torch.Tensor:
    """Latents [n, tokens, 64] of pictures [n, 3, height, width] as the transformer sees them."""
    mean, spread = (
        torch.tensor(values).view(1, -1, 1, 1)
        for values in (vae.config.latents_mean, vae.config.latents_std)
    )
    with single_frames():
        return pack((encode(vae, pictures).chunk(2, 1)[0] - mean) / spread)


def pack(latents: torch.Tensor) -> torch.Tensor:
    """[n, channels, rows, columns] to patches of 2 x 2, row by row: [n, tokens, 4 channels]."""
    count, channels, rows, columns = latents.shape
    patches = latents.view(count, channels, rows // 2, 2, columns // 2, 2)
    return patches.permute(0, 2, 4, 1, 3, 5).reshape(count, -1, 4 * channels)


def grid(size: Size) -> tuple[int, int, int]:
    """Frames, rows and columns of tokens."""
    return 1, size[0] // 16, size[1] // 16


class Banks:
    """The banks of one auto-encoder, kept in `folder`; each is built when it is first wanted."""

    def __init__(
        self,
        vae: AutoencoderKLQwenImage,
        folder: Path,
        seed: int,
        aspects: Mapping[str, Aspect] = ASPECTS,
    ) -> None:
        self.aspects = aspects
        self._vae, self._folder, self._seed = vae, folder, seed
        self._loaded: dict[str, Bank] = {}

    def __getitem__(self, name: str) -> Bank:
        if name not in self._loaded:
            path = self._folder / f"bank-{name}.pt"
            if not path.is_file():
                draw = torch.Generator().manual_seed(self._seed + list(self.aspects).index(name))
                _save(build_bank(self._vae, self.aspects[name], draw), path)
            self._loaded[name] = _load(path)
        return self._loaded[name]


def _save(bank: Bank, path: Path) -> None:
    shared = bank.seen is bank.made
    kept = {
        "aspect": vars(bank.aspect),
        "scenes": [vars(one) for one in bank.scenes],
        "made": bank.made,
        "seen": None if shared else bank.seen,
        "shared": shared,
    }
    new = path.with_suffix(".new")
    torch.save(kept, new)
    new.replace(path)


def _load(path: Path) -> Bank:
    kept = torch.load(path, weights_only=True)
    seen = kept["made"] if kept["shared"] else kept["seen"]
    scenes = tuple(Scenes(**one) for one in kept["scenes"])
    return Bank(Aspect(**kept["aspect"]), scenes, kept["made"], seen)
