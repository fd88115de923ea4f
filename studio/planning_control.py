"""What of a control video is followed, and what is needed to draw it."""

from collections.abc import Callable, Mapping

from studio.errors import BadInput
from studio.plan import ControlClip, ControlMap, Depth, Edges, Pose
from studio.registry import CONTROL_LORA, DEPTH_ESTIMATOR, PERSON_DETECTOR, POSE_ESTIMATOR
from studio.request import Request
from studio.weights_lora import reference_downscale_factor


def control_clip(request: Request) -> ControlClip | None:
    """The control clip with its map, None where no video plays that part.

    Raises BadInput for limits that contradict each other, MissingWeights for a missing estimator.
    """
    field = request.given("control")
    if field is None or field.strength is None:
        return None
    return ControlClip(
        path=request.files(field.name)[0],
        map=_MAPS[request.text("control")](request),
        strength=request.number(field.strength),
        downscale=_reference_downscale(request),
    )


def _edges(request: Request) -> Edges:
    low, high = int(request.number("edge_low")), int(request.number("edge_high"))
    if low >= high:
        raise BadInput("The edges' low limit must be below the high one.", "edge_low")
    return Edges(low, high)


def _depth(request: Request) -> Depth:
    return Depth(request.weights.control_model(DEPTH_ESTIMATOR))


def _pose(request: Request) -> Pose:
    model = request.weights.control_model
    return Pose(model(PERSON_DETECTOR), model(POSE_ESTIMATOR))


_MAPS: Mapping[str, Callable[[Request], ControlMap | None]] = {
    "canny": _edges,
    "depth": _depth,
    "pose": _pose,
    "given": lambda request: None,
}
"""By the value of the mode's control."""


def _reference_downscale(request: Request) -> int:
    path = request.weights.adapters[CONTROL_LORA]
    if path.is_file():
        return reference_downscale_factor(path)
    return request.weights.reference_downscale(CONTROL_LORA)
