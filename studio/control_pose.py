"""Draws people as OpenPose does: coloured limbs and joints on black, the map that models know."""

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from studio.control_maps import Frames

Joints = NDArray[np.float32]
"""One person: a row of x, y and score for each joint. x and y are parts of width and height."""

SEEN = 0.3
"""The least score of a joint that is drawn, as in DWPose."""

_RIGHT_SHOULDER, _LEFT_SHOULDER = 6, 5
_NECK = 17
# OpenPose's 18 joints by their place in COCO's 17, to which the neck is appended.
_OPENPOSE_OF_COCO = (0, _NECK, 6, 8, 10, 5, 7, 9, 12, 14, 16, 11, 13, 15, 2, 1, 4, 3)

# OpenPose's limbs between its joints, in the order in which controlnet_aux draws them.
LIMBS = (
    *((1, 2), (1, 5), (2, 3), (3, 4), (5, 6), (6, 7), (1, 8), (8, 9), (9, 10)),
    *((1, 11), (11, 12), (12, 13), (1, 0), (0, 14), (14, 16), (0, 15), (15, 17)),
)
COLOURS = (
    *((255, 0, 0), (255, 85, 0), (255, 170, 0), (255, 255, 0), (170, 255, 0), (85, 255, 0)),
    *((0, 255, 0), (0, 255, 85), (0, 255, 170), (0, 255, 255), (0, 170, 255), (0, 85, 255)),
    *((0, 0, 255), (85, 0, 255), (170, 0, 255), (255, 0, 255), (255, 0, 170), (255, 0, 85)),
)
"""Of the joints, and in the same order, darker, of the limbs."""

_LIMB_BRIGHTNESS = 0.6
# controlnet_aux: half the width of a limb and the radius of a joint, on pictures of this side.
_THICKNESS, _THICKNESS_SIDE = 4, 512
_OUTLINE_POINTS = 36


def openpose_joints(coco: Joints) -> Joints:
    """OpenPose's 18 joints of COCO's 17: the neck is midway between the shoulders.

    It is as sure as the less sure shoulder.
    """
    shoulders = coco[[_RIGHT_SHOULDER, _LEFT_SHOULDER]]
    neck = np.array([*shoulders[:, :2].mean(axis=0), shoulders[:, 2].min()], dtype=np.float32)
    return np.vstack([coco, neck])[list(_OPENPOSE_OF_COCO)]


def draw_people(people: Sequence[Joints], width: int, height: int) -> Frames:
    """A picture [height, width, 3] of all `people`, each with OpenPose's 18 joints."""
    picture = Image.new("RGB", (width, height))
    for joints in people:
        _draw_person(ImageDraw.Draw(picture), joints, width, height)
    return np.asarray(picture)


def _draw_person(pen: ImageDraw.ImageDraw, joints: Joints, width: int, height: int) -> None:
    thickness = max(1.0, _THICKNESS * min(width, height) / _THICKNESS_SIDE)
    # Pillow's coordinates are those of pixel centres.
    places = joints[:, :2] * (width, height) - 0.5
    seen = joints[:, 2] > SEEN
    for (start, end), colour in zip(LIMBS, COLOURS, strict=False):
        if seen[start] and seen[end]:
            dark = tuple(int(_LIMB_BRIGHTNESS * level) for level in colour)
            pen.polygon(_ellipse(places[start], places[end], thickness), fill=dark)
    for (x, y), colour in zip(places[seen], np.array(COLOURS)[seen].tolist(), strict=True):
        box = (x - thickness, y - thickness, x + thickness, y + thickness)
        pen.ellipse(box, fill=tuple(colour))


def _ellipse(
    start: NDArray[np.float32], end: NDArray[np.float32], thickness: float
) -> list[tuple[float, float]]:
    """The outline of an ellipse from joint to joint."""
    middle, half = (start + end) / 2, (end - start) / 2
    along = math.hypot(*half)
    # Two joints in one place make a limb without direction.
    across = np.array([-half[1], half[0]]) / max(along, 1e-6) * thickness
    turn = np.linspace(0, 2 * np.pi, _OUTLINE_POINTS, endpoint=False)[:, None]
    outline = middle + np.cos(turn) * half + np.sin(turn) * across
    return [(float(x), float(y)) for x, y in outline]
