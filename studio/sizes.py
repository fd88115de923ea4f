"""Frames, sizes, crops and audio lengths: pure functions whose names say the rounding."""

import math

FRAME_GROUP = 8
"""Frames that one latent frame of the LTX video VAE holds; the first frame stands alone: 8k + 1."""

LATENT_PIXELS = 32
"""Side in pixels of one latent cell of the LTX video VAE."""

AUDIO_LATENTS_PER_SECOND = 25
"""16 kHz mel frames with hop 160, four to a latent frame."""


def _round_half_up(value: float) -> int:
    return math.floor(value + 0.5)


def nearest_frame_count(seconds: float, fps: float) -> int:
    """The 8k + 1 nearest to `seconds * fps`, at least 9; the longer one where two are as near."""
    groups = _round_half_up((seconds * fps - 1) / FRAME_GROUP)
    return max(1, groups) * FRAME_GROUP + 1


def clip_seconds(frames: int, fps: float) -> float:
    """How long `frames` frames play at `fps`."""
    return frames / fps


def audio_latent_count(frames: int, fps: float) -> int:
    """Latent frames of the sound that plays as long as the clip."""
    return _round_half_up(frames / fps * AUDIO_LATENTS_PER_SECOND)


def sample_count(frames: int, fps: float, rate: int) -> int:
    """Audio samples, at `rate` per second, that play as long as the clip."""
    return _round_half_up(frames / fps * rate)


def nearest_multiple(length: float, multiple: int) -> int:
    """The multiple nearest to `length`, at least one; the larger one where two are as near."""
    return max(1, _round_half_up(length / multiple)) * multiple


def snap_size(width: float, height: float, multiple: int) -> tuple[int, int]:
    """Both sides to their nearest multiple."""
    return nearest_multiple(width, multiple), nearest_multiple(height, multiple)


def size_multiple(stages: int, reference_downscale: int = 1) -> int:
    """What an LTX clip's sides must be multiples of.

    Every stage before the last works at half the size of the next, and a control clip is given to
    the first stage `reference_downscale` times smaller; each of those must fill whole latent cells.
    """
    return (LATENT_PIXELS << (stages - 1)) * reference_downscale


def size_of_area(width: float, height: float, area: float, multiple: int) -> tuple[int, int]:
    """The shape of `width` x `height` at about `area` pixels, both sides snapped."""
    scale = math.sqrt(area / (width * height))
    return snap_size(width * scale, height * scale, multiple)


def fit_longest_side(width: int, height: int, longest: int) -> tuple[int, int]:
    """The same shape with no side over `longest`; smaller pictures stay as they are."""
    scale = min(1.0, longest / max(width, height))
    return max(1, _round_half_up(width * scale)), max(1, _round_half_up(height * scale))


def center_crop(
    source_width: int, source_height: int, width: int, height: int
) -> tuple[int, int, int, int]:
    """The largest centred box in the source with the shape of `width` x `height`.

    Returns (left, top, right, bottom) in source pixels.
    """
    scale = min(source_width / width, source_height / height)
    box_width = min(source_width, max(1, _round_half_up(width * scale)))
    box_height = min(source_height, max(1, _round_half_up(height * scale)))
    left, top = (source_width - box_width) // 2, (source_height - box_height) // 2
    return left, top, left + box_width, top + box_height
