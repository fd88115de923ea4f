"""The people of a clip: found by RT-DETR, their joints by ViTPose."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from studio.control_pose import Joints, draw_people, openpose_joints
from studio.errors import BadInput
from studio.media_clips import Frames
from studio.torch_estimators import Done, batches, load_estimator, load_reader

Boxes = NDArray[np.float32]
"""Left, top, width and height in pixels: [n, 4]."""

PERSON = "person"
"""COCO's name of the class."""

SURE = 0.3
"""The least score of a person, as in the example of transformers' documentation of ViTPose."""

_ROOM = 1.25
# Of ViTPose's preprocessing: the box with this much room, and ImageNet's mean and deviation.
_MEAN = torch.tensor([0.485, 0.456, 0.406])[:, None, None]
_DEVIATION = torch.tensor([0.229, 0.224, 0.225])[:, None, None]


def pose_maps(
    detector: Path, estimator: Path, frames: Frames, size: tuple[int, int], done: Done
) -> Frames:
    """OpenPose's skeletons of all people on black: uint8 [n, height, width, 3].

    `size` is the width and height of the maps, whatever those of the frames. Raises BadInput
    where no frame shows anybody, MissingWeights, and what `done` raises.
    """
    people = find_people(detector, estimator, frames, done)
    maps = np.stack([draw_people(one, *size) for one in people])
    # Somebody may be there of whom no joint is seen.
    if not maps.any():
        raise BadInput("No person was found in the video: choose Edges or Depth.", "control")
    return maps


@torch.no_grad()
def find_people(
    detector: Path, estimator: Path, frames: Frames, done: Done
) -> list[Sequence[Joints]]:
    """For each frame its people, each with OpenPose's 18 joints; see `pose_maps` for errors."""
    finder = load_estimator("RTDetrForObjectDetection", detector)
    read = load_reader("RTDetrImageProcessorPil", detector)
    looker = load_estimator("VitPoseForPoseEstimation", estimator)
    people: list[Sequence[Joints]] = []
    for batch in batches(frames, done):
        found = _find_boxes(finder, read(batch), batch.shape[2], batch.shape[1])
        people += [
            _find_joints(looker, frame, boxes) for frame, boxes in zip(batch, found, strict=True)
        ]
    return people


def _find_boxes(
    finder: Any,  # noqa: ANN401
    pixels: torch.Tensor,
    width: int,
    height: int,
) -> list[Boxes]:
    """The people of each frame."""
    person = next(index for index, label in finder.config.id2label.items() if label == PERSON)
    seen = finder(pixel_values=pixels.to(finder.device))
    sure = seen.logits[..., person].sigmoid() > SURE
    # Middle and size, as parts of width and height.
    boxes = seen.pred_boxes * torch.tensor([width, height] * 2, device=finder.device)
    boxes[..., :2] -= boxes[..., 2:] / 2
    return [one[keep].cpu().numpy() for one, keep in zip(boxes, sure, strict=True)]


def _find_joints(looker: Any, frame: Frames, boxes: Boxes) -> Sequence[Joints]:  # noqa: ANN401
    """The joints of the person in each box."""
    if not len(boxes):
        return []
    rows, columns = looker.config.backbone_config.image_size
    areas = [with_room(box, columns / rows) for box in boxes]
    picture = Image.fromarray(frame)
    pixels = torch.stack([cut_out(picture, area, columns, rows) for area in areas])
    heatmaps = looker(pixel_values=pixels.to(looker.device)).heatmaps.cpu().numpy()
    return [
        openpose_joints(_in_frame(peaks(maps), area, frame.shape))
        for maps, area in zip(heatmaps, areas, strict=True)
    ]


def with_room(box: Boxes, shape: float) -> Boxes:
    """The box around the same middle, of the estimator's shape and with room around it."""
    left, top, width, height = box
    size = np.array([max(width, height * shape), max(height, width / shape)]) * _ROOM
    middle = np.array([left + width / 2, top + height / 2])
    return np.concatenate([middle - size / 2, size]).astype(np.float32)


def cut_out(picture: Image.Image, area: Boxes, columns: int, rows: int) -> torch.Tensor:
    """The area as the estimator wants it [3, rows, columns]; black beyond the picture's edge.

    Its first and last pixels lie on the area's edges, as in training (UDP, Huang 2020).
    """
    left, top, width, height = (float(one) for one in area)
    across, down = width / (columns - 1), height / (rows - 1)
    # Pillow counts from the corner of a pixel, the estimator from its middle.
    corners = (across, 0, left + 0.5 - across / 2, 0, down, top + 0.5 - down / 2)
    cut = picture.transform(
        (columns, rows), Image.Transform.AFFINE, corners, Image.Resampling.BILINEAR
    )
    pixels = torch.from_numpy(np.array(cut)).permute(2, 0, 1) / 255
    return (pixels - _MEAN) / _DEVIATION


def peaks(heatmaps: NDArray[np.float32]) -> Joints:
    """Where each map of [joints, rows, columns] is highest, in parts of the map, and how high.

    A quarter of a cell towards the higher neighbour (Newell 2016): the true peak lies between.
    """
    count, rows, columns = heatmaps.shape
    row, column = np.divmod(heatmaps.reshape(count, -1).argmax(axis=1), columns)
    padded = np.pad(heatmaps, ((0, 0), (1, 1), (1, 1)), mode="reflect")
    joint, y, x = np.arange(count), row + 1, column + 1
    right = np.sign(padded[joint, y, x + 1] - padded[joint, y, x - 1])
    below = np.sign(padded[joint, y + 1, x] - padded[joint, y - 1, x])
    score = heatmaps[joint, row, column]
    found = np.stack([column + right / 4, row + below / 4, score], axis=1).astype(np.float32)
    found[:, :2] /= (columns - 1, rows - 1)
    return found


def _in_frame(joints: Joints, area: Boxes, shape: Sequence[int]) -> Joints:
    """From parts of the area to parts of the frame [height, width, 3]."""
    height, width = shape[:2]
    # Half a pixel: from the middle of the frame's first pixel to its corner.
    places = (area[:2] + joints[:, :2] * area[2:] + 0.5) / (width, height)
    return np.column_stack([places, joints[:, 2]]).astype(np.float32)
