"""From a decoded stream to upright pictures at the times that are asked for."""

from collections.abc import Iterable, Iterator
from fractions import Fraction
from itertools import pairwise

import numpy as np
from av import VideoFrame
from av.video.reformatter import Colorspace, Interpolation
from av.video.stream import VideoStream
from numpy.typing import NDArray

from studio import sizes

_TIMESTAMP_SLACK = Fraction(1, 1000)
"""Seconds. Matroska and WebM round timestamps to whole milliseconds: without this, clips at 24
or 30 fps would lose one frame here and show another twice there."""

_USUAL_FPS = 25
"""For the length of a last frame, where a file says nothing of its rate."""

_NARROWEST = Fraction(1, 4)
"""Pixel aspects beyond a quarter or four are errors; the widest in use is 2 (anamorphic film)."""

EXACT = Interpolation.BICUBIC | Interpolation.ACCURATE_RND | Interpolation.BITEXACT
"""FFmpeg's faster ways differ between processors, and darken what is read by one or two levels,
which adds up where clips are continued from their last frame. Use one thread: FFmpeg starts its
own for every frame, which takes longer than the frame."""

_UNSPECIFIED = 2
"""Of ISO/IEC 23091-2: the file does not say how its colours are coded."""
_HD_HEIGHT = 720
"""Players take untagged video for BT.709 from this height on, and for BT.601 below."""


def shown_at(
    frames: Iterable[VideoFrame], fps: Fraction, mean_fps: Fraction | None
) -> Iterator[VideoFrame]:
    """The source frame that is visible at 0, 1 / fps, 2 / fps, … until the source ends."""
    index = 0
    for (frame, _), (_, end) in pairwise(_timed(frames, mean_fps)):
        while index / fps + _TIMESTAMP_SLACK < end:
            yield frame
            index += 1


def _timed(
    frames: Iterable[VideoFrame], mean_fps: Fraction | None
) -> Iterator[tuple[VideoFrame | None, Fraction]]:
    """Each frame with its start in seconds after the first's; then None with the last one's end."""
    interval = 1 / Fraction(mean_fps or _USUAL_FPS)
    origin: Fraction | None = None
    start = end = Fraction(0)
    for frame in frames:
        if frame.pts is None:
            start = end
        else:
            time = frame.pts * Fraction(frame.time_base or 0)
            origin = time - end if origin is None else origin
            start = time - origin
        yield frame, start
        end = start + (frame.duration * Fraction(frame.time_base or 0) or interval)
    yield None, end


def upright_rgb(
    frame: VideoFrame, aspect: Fraction, size: tuple[int, int] | None = None
) -> NDArray[np.uint8]:
    """The frame as RGB [height, width, 3] with square pixels, turned as its display matrix says.

    With a `size` (width, height), the middle of the picture scaled to fill it. `aspect` is that
    of one pixel, from `pixel_aspect`.
    """
    right, down, turned = _axes(frame)
    width, height = _square_width(frame, aspect), int(frame.height)
    if size is not None:
        width, height = _covering(width, height, size[::-1] if turned else size)
    pixels = _rgb(frame, width, height)
    pixels = (pixels.swapaxes(0, 1) if turned else pixels)[::down, ::right]
    if size is not None:
        left, top, end, bottom = sizes.center_crop(pixels.shape[1], pixels.shape[0], *size)
        pixels = pixels[top:bottom, left:end]
    return np.ascontiguousarray(pixels)


def upright_size(frame: VideoFrame, aspect: Fraction) -> tuple[int, int]:
    width, height = _square_width(frame, aspect), int(frame.height)
    return (height, width) if _axes(frame)[2] else (width, height)


def _axes(frame: VideoFrame) -> tuple[int, int, bool]:
    """The signs by which the axes to the right and down run, once rows and columns are swapped
    where the third value is True. From FFmpeg's display matrix [a b u; c d v; x y w], which takes
    (right, down) to (a right + c down, b right + d down); angles between quarters are not turned.
    """
    matrix = frame.side_data.get("DISPLAYMATRIX")
    if matrix is None:
        return 1, 1, False
    a, b, _, c, d = np.frombuffer(bytes(matrix), np.int32)[:5].tolist()
    turned = abs(b) > abs(a)
    right, down = (c, b) if turned else (a, d)
    return (-1 if right < 0 else 1), (-1 if down < 0 else 1), turned


def _square_width(frame: VideoFrame, aspect: Fraction) -> int:
    return max(1, round(int(frame.width) * aspect))


def pixel_aspect(stream: VideoStream) -> Fraction:
    """Width over height of one pixel; 1 where the file says nothing, or nonsense."""
    aspect = Fraction(stream.sample_aspect_ratio or 1)
    return aspect if _NARROWEST < aspect < 1 / _NARROWEST else Fraction(1)


def _covering(width: int, height: int, size: tuple[int, ...]) -> tuple[int, int]:
    """The same shape at the smallest size that covers `size`."""
    scale = max(size[0] / width, size[1] / height)
    return max(size[0], round(width * scale)), max(size[1], round(height * scale))


def _rgb(frame: VideoFrame, width: int, height: int) -> NDArray[np.uint8]:
    pixels: NDArray[np.uint8] = frame.to_ndarray(
        format="rgb24",
        width=width,
        height=height,
        interpolation=EXACT | Interpolation.FULL_CHR_H_INT,
        src_colorspace=_untagged_colorspace(frame),
        threads=1,
    )
    return pixels


def _untagged_colorspace(frame: VideoFrame) -> Colorspace | None:
    untagged = frame.colorspace == _UNSPECIFIED and not frame.format.is_rgb
    return Colorspace.ITU709 if untagged and frame.height >= _HD_HEIGHT else None
