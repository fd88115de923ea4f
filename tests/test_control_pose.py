"""Skeletons drawn from joints, without any model."""

import numpy as np
import pytest

from studio.control_pose import COLOURS, LIMBS, draw_people, openpose_joints

WIDTH, HEIGHT = 256, 512
NOSE, NECK, RIGHT_SHOULDER, RIGHT_ELBOW, LEFT_SHOULDER, LEFT_ANKLE = 0, 1, 2, 3, 5, 13
BLACK = (0, 0, 0)


def coco():
    """A person who stands upright and looks at us: their right is on our left."""
    places = [(0.5, 0.1), (0.55, 0.08), (0.45, 0.08), (0.6, 0.1), (0.4, 0.1)]
    for height, spread in (
        (0.25, 0.2),
        (0.4, 0.3),
        (0.5, 0.35),
        (0.55, 0.1),
        (0.7, 0.1),
        (0.9, 0.1),
    ):
        places += [(0.5 + spread, height), (0.5 - spread, height)]
    return np.column_stack([places, np.ones(17)]).astype(np.float32)


def person(*unseen):
    joints = openpose_joints(coco())
    joints[list(unseen), 2] = 0.1
    return joints


def drawn(*people):
    picture = draw_people(people, WIDTH, HEIGHT)
    assert picture.shape == (HEIGHT, WIDTH, 3) and picture.dtype == np.uint8
    return picture


def at(picture, place):
    x, y = place[:2] * (WIDTH, HEIGHT)
    return tuple(picture[int(y), int(x)].tolist())


def middle(joints, limb):
    return joints[list(LIMBS[limb]), :2].mean(axis=0)


def dark(colour):
    return tuple(int(0.6 * level) for level in colour)


def test_openpose_joints_are_cocos_in_another_order_with_a_neck():
    given = coco()
    given[5, 2], given[6, 2] = 0.9, 0.5
    joints = openpose_joints(given)
    assert joints.shape == (18, 3)
    assert joints[NECK] == pytest.approx([0.5, 0.25, 0.5])
    # COCO counts left before right, OpenPose right before left.
    assert (joints[RIGHT_SHOULDER] == given[6]).all() and (joints[LEFT_SHOULDER] == given[5]).all()
    assert (joints[[0, 4, 7, 10, 13]] == given[[0, 10, 9, 16, 15]]).all()
    assert (joints[14:] == given[[2, 1, 4, 3]]).all()


def test_every_joint_and_limb_is_drawn_in_its_colour():
    joints, picture = person(), drawn(person())
    for joint, colour in enumerate(COLOURS):
        assert at(picture, joints[joint]) == colour
    for limb in range(len(LIMBS)):
        assert at(picture, middle(joints, limb)) == dark(COLOURS[limb]), LIMBS[limb]


def test_limbs_have_openposes_well_known_colours():
    joints, picture = person(), drawn(person())

    def between(start, end):
        return at(picture, (joints[start] + joints[end]) / 2)

    assert between(NECK, RIGHT_SHOULDER) == (153, 0, 0)
    assert between(NECK, LEFT_SHOULDER) == (153, 51, 0)
    assert between(RIGHT_SHOULDER, RIGHT_ELBOW) == (153, 102, 0)
    assert between(12, LEFT_ANKLE) == (0, 51, 153)
    assert between(NOSE, NECK) == (0, 0, 153)


def test_everything_else_is_black():
    picture = drawn(person())
    assert set(map(tuple, picture.reshape(-1, 3).tolist())) == {
        BLACK,
        *COLOURS,
        *map(dark, COLOURS[: len(LIMBS)]),
    }
    assert (picture.any(axis=-1)).mean() < 0.1


def test_a_joint_that_is_not_seen_takes_its_limbs_along():
    joints, picture = person(), drawn(person(RIGHT_ELBOW))
    assert at(picture, joints[RIGHT_ELBOW]) == BLACK
    for limb, ends in enumerate(LIMBS):
        assert (at(picture, middle(joints, limb)) == BLACK) == (RIGHT_ELBOW in ends)


def test_limbs_are_as_thick_as_the_picture_is_large():
    def thickness(scale):
        picture = draw_people([person()], WIDTH * scale, HEIGHT * scale)
        shin = picture[int(0.8 * HEIGHT * scale), : WIDTH * scale // 2]
        return int(shin.any(axis=-1).sum())

    # Two pixels to either side at 256, four at 512, which is controlnet_aux's own size.
    assert (thickness(1), thickness(2), thickness(4)) == pytest.approx((5, 9, 17), abs=1)


def test_all_people_are_drawn_and_nobody_is_black():
    left, right = person(), person()
    left[:, 0] -= 0.25
    right[:, 0] += 0.25
    both = drawn(left, right)
    assert at(both, left[NOSE]) == at(both, right[NOSE]) == COLOURS[NOSE]
    assert not drawn().any()


def test_joints_beyond_the_picture_and_in_one_place_are_no_trouble():
    joints = person()
    joints[LEFT_ANKLE, :2] = (1.4, 1.2)
    joints[RIGHT_ELBOW, :2] = joints[RIGHT_SHOULDER, :2]
    assert np.isfinite(joints).all() and drawn(joints).any()
