"""How large and how long a request's result will be."""

from typing import cast

from studio import sizes
from studio.errors import BadInput
from studio.families import FAMILIES
from studio.fields import MediaRole, NumberControl
from studio.media_clips import ClipInfo
from studio.media_images import ImageInfo
from studio.media_sound import SoundInfo
from studio.mode_controls import USUAL_SHAPE
from studio.plan import ControlClip
from studio.request import Request

CROPPED: frozenset[MediaRole] = frozenset({"first_frame", "last_frame", "control"})
"""What is scaled to fill the result; pictures to be edited keep their shape."""

LEAST_CROP = 2
"""Percent of a side. Less comes from sides in multiples, and is not seen."""


def result_size(request: Request, number: int, control: ControlClip | None) -> tuple[int, int]:
    """Width and height of the batch's `number`-th result, snapped to what the stages need.

    Raises BadInput where the weights do not make that size.
    """
    multiple = _multiple(request, control)
    source = request.given("source")
    if source:
        info = cast(ImageInfo, request.media[source.name][number])
        fitted = sizes.fit_longest_side(info.width, info.height, longest_side(request))
        return sizes.snap_size(*fitted, multiple)
    snapped = sizes.snap_size(*wanted_size(request, multiple), multiple)
    _require_known_size(request, snapped)
    return snapped


def wanted_size(request: Request, multiple: int) -> tuple[int, int]:
    """What was asked for; a side left out follows the shape."""
    width, height = request.whole("width"), request.whole("height")
    shape_width, shape_height = _shape(request)
    if width and height:
        return width, height
    if width:
        return width, sizes.nearest_multiple(width * shape_height / shape_width, multiple)
    if height:
        return sizes.nearest_multiple(height * shape_width / shape_height, multiple), height
    canvas = request.weights.canvas
    for bucket in canvas.buckets:
        if bucket.shape == _chosen_shape(request):
            return bucket.width, bucket.height
    area = canvas.default.width * canvas.default.height
    return sizes.size_of_area(shape_width, shape_height, area, multiple)


def longest_side(request: Request) -> int:
    """To what an edited picture is made smaller. Raises BadInput beyond the weights' largest."""
    canvas = request.weights.canvas
    longest = request.whole("longest_side") or canvas.longest_side
    if longest > canvas.largest_side:
        raise BadInput(
            f"The longest side of {longest} pixels is out of range: the weights"
            f" '{request.weights.label}' make at most {canvas.largest_side}.",
            "longest_side",
        )
    return longest


def clip_frames(request: Request) -> int:
    """Frames of the clip: the asked length, else the input's, to the nearest 8k + 1."""
    return sizes.nearest_frame_count(
        min(_wanted_seconds(request), _most_seconds(request)), _fps(request)
    )


def size_notes(request: Request, size: tuple[int, int], control: ControlClip | None) -> list[str]:
    """A sentence where the size is not the one asked for."""
    asked = (request.whole("width") or size[0], request.whole("height") or size[1])
    if asked == size:
        return []
    multiple = _multiple(request, control)
    return [f"The size is {size[0]} x {size[1]}: both sides are multiples of {multiple}."]


def crop_notes(request: Request, size: tuple[int, int]) -> list[str]:
    """A sentence for each picture or video whose shape is not the result's."""
    notes = []
    for field in request.mode.media:
        if field.role in CROPPED:
            for info in request.media[field.name]:
                notes.append(_crop_note(field.label, cast("ImageInfo | ClipInfo", info), size))
    return [note for note in notes if note]


def _crop_note(label: str, info: ImageInfo | ClipInfo, size: tuple[int, int]) -> str:
    left, top, right, bottom = sizes.center_crop(info.width, info.height, *size)
    across = round(100 * (1 - (right - left) / info.width))
    down = round(100 * (1 - (bottom - top) / info.height))
    if max(across, down) < LEAST_CROP:
        return ""
    percent, where = max((across, "at left and right"), (down, "above and below"))
    return f"{label}: {percent} % is cut off {where}."


def length_notes(request: Request, frames: int) -> list[str]:
    """Sentences where the clip is shorter than its input, or not as long as asked."""
    wanted, most, fps = _wanted_seconds(request), _most_seconds(request), _fps(request)
    if wanted > most:
        return [f"The input is {wanted:.1f} seconds long; the clip ends after {most:g}."]
    exact = sizes.clip_seconds(frames, fps)
    # A frame more or less is what 8k + 1 asks of nearly every length.
    if abs(exact * fps - wanted * fps) <= 1:
        return []
    return [f"The clip plays {exact:.2f} seconds: {frames} frames at {fps} a second."]


def _multiple(request: Request, control: ControlClip | None) -> int:
    if request.mode.makes == "image":
        return FAMILIES[request.mode.family].multiple
    return sizes.size_multiple(len(request.sampling), control.downscale if control else 1)


def _shape(request: Request) -> tuple[int, int]:
    """The chosen shape, else the control video's, the first frame's, or the weights' own."""
    chosen = _chosen_shape(request)
    if chosen is not None:
        width, _, height = chosen.partition(":")
        return int(width), int(height)
    field = request.given("control", "first_frame")
    if field is None:
        return request.weights.canvas.default.width, request.weights.canvas.default.height
    info = cast("ImageInfo | ClipInfo", request.media[field.name][0])
    return info.width, info.height


def _chosen_shape(request: Request) -> str | None:
    """As "16:9"; None where the usual one is wanted, or the mode has no choice."""
    chosen = request.text("shape")
    return None if chosen in ("", USUAL_SHAPE) else chosen


def _require_known_size(request: Request, size: tuple[int, int]) -> None:
    canvas = request.weights.canvas
    for name, side in zip(("width", "height"), size, strict=True):
        if not canvas.smallest_side <= side <= canvas.largest_side:
            raise BadInput(
                f"The {name} of {side} pixels is out of range: the weights"
                f" '{request.weights.label}' make {canvas.smallest_side} to"
                f" {canvas.largest_side}.",
                name,
            )


def _fps(request: Request) -> int:
    return cast(int, request.params["fps"])


def _wanted_seconds(request: Request) -> float:
    asked = request.params["seconds"]
    if isinstance(asked, int | float):
        return asked
    field = request.given("sound", "control")
    if field is None:
        raise BadInput("Say how long the clip is to be.", "seconds")
    return cast("SoundInfo | ClipInfo", request.media[field.name][0]).seconds


def _most_seconds(request: Request) -> float:
    return next(
        field.maximum
        for field in request.mode.fields
        if isinstance(field, NumberControl) and field.name == "seconds"
    )
