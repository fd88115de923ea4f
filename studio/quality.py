"""A look at every result before it is called done: what is wrong with it, and what to try.

Only the finished file is looked at. A finding is said beside the result; it never hides it.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from studio.errors import BadInput
from studio.media_clips import ClipInfo, load_frames, probe_clip
from studio.media_images import load_image
from studio.media_sound import load_sound, probe_sound

FindingKind = Literal[
    "unreadable",
    "wrong_size",
    "wrong_length",
    "black",
    "one_colour",
    "no_motion",
    "silent",
    "clipped",
]

SAMPLED_FRAMES = 8
"""Spread over the clip. What a clip shows as a whole shows in these, and they fit in memory."""

SAMPLED_PIXELS = 512
"""Along each side. Single pixels, not means: the mean of noise is one colour."""

BLACK_LEVEL = 16
"""Of 255. The brightest sampled pixel of a black picture; even a night has a lamp or a star."""

ONE_COLOUR_SPREAD = 6
"""Of 255, between the darkest and the brightest thousandth of each colour. Coding noise on a flat
picture stays within 3; fog and plain paper reach 10."""

STILL_CELLS = 32
"""Along each side, at most. Their means are compared: coding noise cancels out, but no blink."""
STILL_CELL_SIDE = 8
"""Pixels, at least: one block of the codec."""

STILL_LEVEL = 2.0
"""Of 255. Cells of a still picture differ by less than 1 between the frames that we write."""

FPS_TOLERANCE = 0.002
"""Relative. 24 and 23.976 are told apart by nobody, 24 and 25 are."""

SILENT_PEAK = 10 ** (-60 / 20)
"""60 dB below full scale, under the noise of any room."""

FULL_SCALE = 0.995
"""A hair below 1. FFmpeg's AAC encoder turns loud blocks down to 0.95 (its CLIP_AVOIDANCE_FACTOR),
so that only a sound that overflows by far still reaches it in the file."""
CLIPPED_SHARE = 0.01
"""Of all samples. Measured after AAC: 0.2 % for music driven hard into a limiter, 11 % for noise
and 14 % for a sine that overflow."""


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong with a result. `sentence` says the likely cause and what to try."""

    kind: FindingKind
    sentence: str


def look_at_image(path: Path, width: int, height: int) -> tuple[Finding, ...]:
    """What is wrong with the picture in the file, which should be `width` x `height`."""
    try:
        image = load_image(path)
    except BadInput:
        return (_unreadable("picture"),)
    pixels = np.asarray(image)[None]
    return (*_of_size(image.size, (width, height)), *_of_colours(pixels, "picture"))


def look_at_clip(
    path: Path,
    width: int,
    height: int,
    frames: int,
    fps: float,
    expect_sound: bool,
    expect_motion: bool = True,
) -> tuple[Finding, ...]:
    """What is wrong with the video in the file, against the size and length that were promised."""
    try:
        info = probe_clip(path)
        pixels = load_frames(path, SAMPLED_FRAMES / Fraction(info.seconds), SAMPLED_FRAMES)
    except BadInput:
        return (_unreadable("video"),)
    return (
        *_of_size((info.width, info.height), (width, height)),
        *_of_length(info, frames, fps),
        *(_of_colours(pixels, "video") or (_of_motion(pixels) if expect_motion else ())),
        *(_of_sound(path, info, fps) if expect_sound else ()),
    )


def _unreadable(what: str) -> Finding:
    return Finding(
        "unreadable",
        f"The {what} that was written cannot be read back, as happens when a disk is full:"
        " free some space and run it again.",
    )


def _of_size(size: tuple[int, int], promised: tuple[int, int]) -> Iterator[Finding]:
    if size != promised:
        yield Finding(
            "wrong_size",
            f"The result is {size[0]} x {size[1]} pixels and should be"
            f" {promised[0]} x {promised[1]}: run it again with a size that the list offers.",
        )


def _of_length(info: ClipInfo, frames: int, fps: float) -> Iterator[Finding]:
    if info.frames_estimate != frames or abs(info.fps / fps - 1) > FPS_TOLERANCE:
        yield Finding(
            "wrong_length",
            f"The video has {info.frames_estimate} frames at {info.fps:.4g} fps and should have"
            f" {frames} at {fps:.4g}: run it again with another length.",
        )


def _of_colours(pixels: NDArray[np.uint8], what: str) -> tuple[Finding, ...]:
    rows, columns = (max(1, side // SAMPLED_PIXELS) for side in pixels.shape[1:3])
    sampled = pixels[:, ::rows, ::columns]
    if sampled.max() < BLACK_LEVEL:
        return (
            Finding(
                "black",
                f"The {what} is all black, most likely because the calculation overflowed:"
                " try another seed, another preset, or a size that the list offers.",
            ),
        )
    darkest, brightest = np.percentile(sampled, (0.1, 99.9), axis=(1, 2))
    if (brightest - darkest).max() <= ONE_COLOUR_SPREAD:
        return (
            Finding(
                "one_colour",
                f"The {what} is one flat colour, as models make at sizes they do not know:"
                " try a size that the list offers, another preset, or another seed.",
            ),
        )
    return ()


def _of_motion(pixels: NDArray[np.uint8]) -> tuple[Finding, ...]:
    cells = np.stack([_cell_means(frame) for frame in pixels])
    if np.abs(cells - cells[0]).max() >= STILL_LEVEL:
        return ()
    return (
        Finding(
            "no_motion",
            "Nothing moves in this video: say in the prompt what moves and how, lower the"
            " strength of the image, or try another seed.",
        ),
    )


def _cell_means(frame: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Means of equal cells [rows, columns, 3]; what is left over at the edges is not looked at."""
    height, width = frame.shape[:2]
    high, wide = (max(STILL_CELL_SIDE, side // STILL_CELLS) for side in (height, width))
    rows, columns = height // high, width // wide
    cells = frame[: rows * high, : columns * wide].reshape(rows, high, columns, wide, 3)
    means: NDArray[np.float64] = cells.mean(axis=(1, 3))
    return means


def _of_sound(path: Path, info: ClipInfo, fps: float) -> Iterator[Finding]:
    try:
        seconds, samples = probe_sound(path).seconds, np.abs(load_sound(path).samples)
    except BadInput:
        yield Finding("silent", "The video has no sound: run it again, or try another preset.")
        return
    if abs(seconds - info.seconds) > 1 / fps:
        yield Finding(
            "wrong_length",
            f"The sound lasts {seconds:.2f} s and the pictures {info.seconds:.2f} s:"
            " run it again with another length.",
        )
    if samples.max() < SILENT_PEAK:
        yield Finding(
            "silent",
            "The sound is silent: say in the prompt what is heard, check that a sound you gave"
            " is not silent itself, or try another seed.",
        )
    clipped = float((samples >= FULL_SCALE).mean())
    if clipped > CLIPPED_SHARE:
        yield Finding(
            "clipped",
            f"The sound is distorted, {clipped:.0%} of it is cut off at full volume:"
            " try another seed, or give a quieter sound.",
        )
