"""Edges of frames that are drawn on the spot, and depth as brightness."""

import numpy as np
import pytest

from studio.control_maps import canny, depth_levels

LOW, HIGH = 92, 200
GREY = 128


def frame(height=32, width=48, level=0):
    return np.full((height, width, 3), level, np.uint8)


def lines(frames):
    """Where the maps are white, after a look at what they may hold at all."""
    maps = canny(np.stack(frames), LOW, HIGH)
    assert maps.shape == (len(frames), *frames[0].shape)
    assert maps.dtype == np.uint8
    assert set(np.unique(maps)) <= {0, 255}
    assert (maps == maps[..., :1]).all()
    return maps[..., 0] > 0


def test_canny_outlines_a_square_and_nothing_else():
    square = frame()
    square[8:24, 12:36] = 255
    (edges,) = lines([square])
    near_outline = np.zeros_like(edges)
    near_outline[6:26, 10:38] = True
    near_outline[10:22, 14:34] = False
    assert not edges[~near_outline].any()
    assert edges[8:24].any(axis=1).all()
    assert edges[:, 12:36].any(axis=0).all()


def test_canny_draws_lines_one_pixel_wide():
    step = frame()
    step[:, 20:] = 255
    assert (lines([step])[0].sum(axis=1) == 1).all()
    assert (lines([step.transpose(1, 0, 2)])[0].sum(axis=0) == 1).all()


@pytest.mark.parametrize("rising", [False, True])
def test_canny_follows_a_diagonal(rising):
    rows, columns = np.indices((40, 40))
    corner = frame(40, 40)
    corner[(rows + columns if rising else rows - columns) > (40 if rising else 0)] = 255
    (edges,) = lines([corner])
    assert edges[2:-2].any(axis=1).all()
    assert edges[2:-2].sum(axis=1).max() <= 2


@pytest.mark.parametrize("level", [0, GREY, 255])
def test_canny_of_an_even_frame_is_black(level):
    assert not lines([frame(level=level)])[0].any()


def weak_step(contrast_left, contrast_right):
    """Two areas one above the other; the contrast between them changes in the middle."""
    picture = frame(32, 64)
    picture[16:, :32] = contrast_left
    picture[16:, 32:] = contrast_right
    return picture


# A step of brightness b has the Sobel magnitude 4 b: 30 lies between the limits, 60 above both.
def test_canny_keeps_a_weak_edge_that_joins_a_strong_one():
    (edges,) = lines([weak_step(30, 60)])
    assert edges[:, 2:-2].any(axis=0).all()


def test_canny_drops_a_weak_edge_that_stands_alone():
    assert not lines([weak_step(30, 30)])[0].any()


def test_canny_drops_what_is_under_the_low_limit_beside_a_strong_edge():
    (edges,) = lines([weak_step(20, 60)])
    assert not edges[:, :28].any()
    assert edges[:, 36:-2].any(axis=0).all()


def test_canny_joins_along_a_path_that_winds():
    spiral = frame(48, 64)
    for number, row in enumerate(range(4, 40, 8)):
        spiral[row : row + 4, 4:60] = 30
        spiral[row : row + 8, slice(56, 60) if number % 2 == 0 else slice(4, 8)] = 30
    assert not lines([spiral])[0].any()
    spiral[4:8, 4:8] = 255
    (edges,) = lines([spiral])
    assert edges[36:44].any()


def test_canny_with_lower_limits_draws_more():
    noise = np.random.default_rng(0).integers(0, 256, (1, 32, 48, 3), dtype=np.uint8)
    counts = [
        (canny(noise, low, high) > 0).sum() for low, high in ((50, 100), (92, 200), (200, 255))
    ]
    assert counts[0] > counts[1] > counts[2] > 0


def test_canny_sees_each_frame_on_its_own():
    noise = np.random.default_rng(1).integers(0, 256, (3, 32, 48, 3), dtype=np.uint8)
    together = canny(noise, LOW, HIGH)
    for number in range(3):
        assert (together[number] == canny(noise[number : number + 1], LOW, HIGH)[0]).all()


def test_canny_weighs_colours_by_brightness():
    blue, green = frame(), frame()
    blue[:, 24:, 2] = 100
    green[:, 24:, 1] = 100
    assert not lines([blue])[0].any()
    assert lines([green])[0].any()


def test_depth_spans_black_to_white_over_the_whole_clip_and_near_is_bright():
    nearness = np.zeros((2, 4, 6), np.float32)
    nearness[0] = np.linspace(2, 3, 6)
    nearness[1] = np.linspace(4, 6, 6)
    maps = depth_levels(nearness)
    assert maps.shape == (2, 4, 6, 3) and maps.dtype == np.uint8
    assert (maps == maps[..., :1]).all()
    # A frame's own range would start from black and end in white in both.
    assert (maps[0, 0, 0, 0], maps[0, 0, -1, 0]) == (0, 64)
    assert (maps[1, 0, 0, 0], maps[1, 0, -1, 0]) == (128, 255)


def test_depth_of_a_flat_clip_is_black():
    assert not depth_levels(np.full((2, 4, 6), 7, np.float32)).any()
