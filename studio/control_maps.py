"""Control maps: what of a video the model follows. Here is what numpy alone can draw."""

import numpy as np
from numpy.typing import NDArray

Frames = NDArray[np.uint8]

# Brightness of ITU-R BT.601 in 14-bit fixed point, as OpenCV turns RGB to grey.
_BRIGHTNESS = np.array([4899, 9617, 1868], dtype=np.int32)
_BRIGHTNESS_BITS = 14

# Half of the angle between two of the eight neighbours: what is nearer to which axis.
_TAN_22_5 = np.float32(np.tan(np.pi / 8))


def canny(frames: Frames, low: int, high: int) -> Frames:
    """White outlines on black, 1 pixel wide: uint8 [n, height, width, 3] in and out.

    `low` and `high` are limits on |dx| + |dy| of 8-bit brightness through a 3 x 3 Sobel filter, as
    in OpenCV's Canny: what is above `high` is an edge, and what is above `low` where it joins one.
    """
    edges = np.stack([_edges(_brightness(frame), low, high) for frame in frames])
    return np.repeat(edges[..., None], 3, axis=-1)


def depth_levels(nearness: NDArray[np.float32]) -> Frames:
    """Near is bright: [n, height, width] in any unit, uint8 [n, height, width, 3] out.

    The darkest and the brightest are those of the whole clip: a range of each frame's own would
    flicker. Everything equally far is black.
    """
    farthest = nearness.min()
    span = max(float(nearness.max() - farthest), np.finfo(np.float32).tiny)
    levels = np.rint((nearness - farthest) / span * 255).astype(np.uint8)
    return np.repeat(levels[..., None], 3, axis=-1)


def _brightness(frame: Frames) -> NDArray[np.int32]:
    half = 1 << (_BRIGHTNESS_BITS - 1)
    grey: NDArray[np.int32] = (frame.astype(np.int32) @ _BRIGHTNESS + half) >> _BRIGHTNESS_BITS
    return grey


def _edges(brightness: NDArray[np.int32], low: int, high: int) -> Frames:
    """Edges of one frame, 0 or 255 [height, width]."""
    # A frame of zeros around everything: flat indices then have all eight neighbours.
    across, down = (np.pad(slope, 1).ravel() for slope in _sobel(brightness))
    magnitude = np.abs(across) + np.abs(down)
    stride = brightness.shape[1] + 2
    pixels = np.flatnonzero(magnitude > low)
    step = _gradient_steps(across[pixels], down[pixels], stride)
    crest = (magnitude[pixels] > magnitude[pixels - step]) & (
        magnitude[pixels] >= magnitude[pixels + step]
    )
    crests = pixels[crest]
    kept = _joined(crests, crests[magnitude[crests] > high], magnitude.size, stride)
    return (kept.reshape(-1, stride)[1:-1, 1:-1] * np.uint8(255)).astype(np.uint8)


def _sobel(brightness: NDArray[np.int32]) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """Slopes to the right and downwards; the border repeats itself."""
    grey = np.pad(brightness, 1, mode="edge")
    rows = grey[:-2] + 2 * grey[1:-1] + grey[2:]
    columns = grey[:, :-2] + 2 * grey[:, 1:-1] + grey[:, 2:]
    return rows[:, 2:] - rows[:, :-2], columns[2:] - columns[:-2]


def _gradient_steps(
    across: NDArray[np.int32], down: NDArray[np.int32], stride: int
) -> NDArray[np.int64]:
    """From each pixel to its neighbour nearest to the gradient's direction, in flat indices."""
    width, height = np.abs(across), np.abs(down)
    diagonal = np.where((across < 0) == (down < 0), stride + 1, stride - 1)
    return np.select(
        [height < width * _TAN_22_5, width < height * _TAN_22_5], [1, stride], diagonal
    )


def _joined(
    crests: NDArray[np.int64], strong: NDArray[np.int64], size: int, stride: int
) -> NDArray[np.bool_]:
    """The crests that a chain of crests joins to a strong one, as a mask over all pixels."""
    around = np.array([-stride - 1, -stride, -stride + 1, -1, 1, stride - 1, stride, stride + 1])
    waiting, kept = np.zeros(size, bool), np.zeros(size, bool)
    waiting[crests] = True
    reached = strong
    while reached.size:
        kept[reached] = True
        waiting[reached] = False
        neighbours = (reached[:, None] + around).ravel()
        reached = np.unique(neighbours[waiting[neighbours]])
    return kept
