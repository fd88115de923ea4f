"""From video latents to pictures: tile by tile, so that the length of a clip costs no memory."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
from diffusers import AutoencoderKLLTX2Video

from studio.diffusers_preview import LatentColours
from studio.media_clips import Frames
from studio.torch_latents import require_finite


@dataclass(frozen=True)
class Tiles:
    """What the decoder sees at once. Neighbours overlap, and are blended where they do."""

    side: int
    """Pixels of a square tile's side; an eighth of it overlaps."""
    span: int
    """Latent frames; a group of 8 frames each."""
    overlap: int
    """Latent frames, at least 2; the first of them is only there to start the decoder."""


USUAL_TILES = Tiles(side=512, span=16, overlap=3)
"""Overlaps as in Lightricks' pipelines; five seconds at 24 frames are decoded in one span."""

SMALL_TILES = Tiles(side=256, span=4, overlap=2)
"""A sixteenth of the memory."""

CHARTS, CHART_CELLS = 4, 8
"""Colour charts of 8 x 8 cells: 256 equations for the 128 channels of LTX-2.3."""

CHART_NOISE = 0.01
"""Directions in which latents vary less than this, against the strongest, say nothing of colour."""


def tile_count(latent_frames: int, tiles: Tiles) -> int:
    """How many spans of frames are decoded one after the other."""
    return len(_starts(latent_frames, tiles))


def decode_frames(
    vae: AutoencoderKLLTX2Video,
    latents: torch.Tensor,
    tiles: Tiles,
    after_tile: Callable[[int], None],
) -> Frames:
    """Pictures uint8 [8 (f - 1) + 1, 32 h, 32 w, 3] of latents [1, channels, f, h, w].

    `after_tile` is told how many spans are done. Raises EngineFailed for pixels that are no
    numbers.
    """
    group, cell = vae.temporal_compression_ratio, vae.spatial_compression_ratio
    _, _, count, height, width = latents.shape
    frames = np.empty(((count - 1) * group + 1, height * cell, width * cell, 3), np.uint8)
    done = 0
    with _tiled(vae, tiles):
        for number, part in enumerate(_blended(vae, latents, tiles), start=1):
            frames[done : done + part.shape[1]] = _levels(part)
            done += part.shape[1]
            after_tile(number)
    return frames


def _starts(latent_frames: int, tiles: Tiles) -> range:
    return range(0, max(1, latent_frames - tiles.overlap), tiles.span - tiles.overlap)


@contextmanager
def _tiled(vae: AutoencoderKLLTX2Video, tiles: Tiles) -> Iterator[None]:
    """Only while decoding: the next job's pictures are encoded whole, as the first one's were."""
    stride = tiles.side * 7 // 8
    vae.enable_tiling(
        tile_sample_min_height=tiles.side,
        tile_sample_min_width=tiles.side,
        tile_sample_stride_height=stride,
        tile_sample_stride_width=stride,
    )
    try:
        yield
    finally:
        vae.disable_tiling()


def _blended(
    vae: AutoencoderKLLTX2Video, latents: torch.Tensor, tiles: Tiles
) -> Iterator[torch.Tensor]:
    """Pixels [3, frames, height, width] from -1 to 1, span after span, without gap or overlap.

    diffusers' own tiling in time lays every span after the first one frame too late.
    """
    stride = tiles.span - tiles.overlap
    group = vae.temporal_compression_ratio
    tail: torch.Tensor | None = None
    for start in _starts(latents.shape[2], tiles):
        part = latents[:, :, start : start + tiles.span].to(vae.dtype)
        pixels = vae.decode(part, return_dict=False)[0][0]
        if tail is not None:
            # A span's first latent gives one frame only, which the span before has made better.
            pixels = _faded(tail, pixels[:, 1:])
        ends = start + tiles.span >= latents.shape[2]
        kept = pixels.shape[1] if ends else stride * group + (tail is None)
        tail = pixels[:, kept:]
        yield pixels[:, :kept]


def _faded(before: torch.Tensor, after: torch.Tensor) -> torch.Tensor:
    """`after`, with its first frames faded in over those of `before`."""
    count = before.shape[1]
    weight = torch.arange(1, count + 1, device=after.device, dtype=after.dtype) / (count + 1)
    mixed = torch.lerp(before, after[:, :count], weight[:, None, None])
    return torch.cat([mixed, after[:, count:]], dim=1)


def _levels(pixels: torch.Tensor) -> Frames:
    """uint8 [frames, height, width, 3]; on the device, so that a quarter of the bytes moves."""
    require_finite({"pixels": pixels})
    levels = (pixels * 127.5 + 127.5).clamp(0, 255).round().to(torch.uint8)
    return levels.permute(1, 2, 3, 0).cpu().numpy()


def fit_colours(vae: AutoencoderKLLTX2Video, device: str) -> LatentColours:
    """The linear map that fits best from this VAE's normalised latents to their cells' colours.

    From charts of random colours that the VAE encodes: nobody has published factors for LTX-2.3.
    """
    cell = vae.spatial_compression_ratio
    numbers = torch.Generator("cpu").manual_seed(0)
    colours = torch.rand((CHARTS, 3, CHART_CELLS, CHART_CELLS), generator=numbers) * 2 - 1
    charts = colours.repeat_interleave(cell, 2).repeat_interleave(cell, 3)[:, :, None]
    latents = vae.encode(charts.to(device, vae.dtype)).latent_dist.mode()[:, :, 0]
    latents = (latents - vae.latents_mean[:, None, None]) / vae.latents_std[:, None, None]
    cells = latents.movedim(1, -1).flatten(0, 2).float().cpu()
    known = torch.cat([cells, torch.ones(len(cells), 1)], dim=1)
    solution = torch.linalg.pinv(known, rtol=CHART_NOISE) @ colours.movedim(1, -1).flatten(0, 2)
    *factors, bias = ((red, green, blue) for red, green, blue in solution.tolist())
    return LatentColours(tuple(factors), bias)
