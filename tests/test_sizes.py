"""Frames, sizes, crops and audio lengths."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from studio import sizes

FPS = st.integers(1, 120)
SECONDS = st.floats(0.05, 120)
SIDE = st.integers(1, 8192)
MULTIPLE = st.sampled_from([8, 16, 32, 64, 128])


@given(SECONDS, FPS)
def test_frame_count_is_8k_plus_1_and_nearest(seconds, fps):
    frames = sizes.nearest_frame_count(seconds, fps)
    assert frames % 8 == 1 and frames >= 9
    distance = abs(frames - seconds * fps)
    for other in (frames - 8, frames + 8):
        assert other < 9 or abs(other - seconds * fps) >= distance - 1e-6


@pytest.mark.parametrize("fps", [8, 12, 24, 25, 30])
@pytest.mark.parametrize("seconds", [1, 2, 3, 5, 10])
def test_frame_count_is_within_half_a_group_of_what_was_asked(seconds, fps):
    assert abs(sizes.nearest_frame_count(seconds, fps) - seconds * fps) <= 4


@pytest.mark.parametrize(
    ("seconds", "fps", "frames"), [(1, 24, 25), (5, 24, 121), (3, 30, 89), (2, 25, 49), (1, 8, 9)]
)
def test_frame_count_of_known_clips(seconds, fps, frames):
    assert sizes.nearest_frame_count(seconds, fps) == frames


def test_frame_count_takes_the_longer_of_two_as_near():
    assert sizes.nearest_frame_count(13, 1) == 17


@given(SIDE, SIDE, MULTIPLE)
def test_snapped_sides_are_multiples_and_nearest(width, height, multiple):
    for side, snapped in zip(
        (width, height), sizes.snap_size(width, height, multiple), strict=True
    ):
        assert snapped % multiple == 0 and snapped >= multiple
        assert abs(snapped - side) <= multiple / 2 or snapped == multiple


@given(st.integers(1, 3), st.sampled_from([1, 2]), SIDE, SIDE)
def test_every_stage_and_reference_fills_whole_latent_cells(stages, downscale, width, height):
    multiple = sizes.size_multiple(stages, downscale)
    width, height = sizes.snap_size(width, height, multiple)
    first = 2 ** (stages - 1)
    assert width % (first * downscale * 32) == 0 == height % (first * downscale * 32)


def test_two_stage_sizes_are_multiples_of_64():
    assert sizes.size_multiple(2) == 64
    assert sizes.size_multiple(1) == 32


@given(SIDE, SIDE, st.integers(64 * 64, 2048 * 2048), st.sampled_from([8, 32]))
def test_size_of_area_keeps_shape_and_area(width, height, area, multiple):
    if not 1 / 4 <= width / height <= 4:
        return
    made = sizes.size_of_area(width, height, area, multiple)
    exact = (area * width / height) ** 0.5, (area * height / width) ** 0.5
    for side, wanted in zip(made, exact, strict=True):
        assert abs(side - wanted) <= multiple / 2 or side == multiple


@given(SIDE, SIDE, st.integers(16, 4096))
def test_fit_longest_side_only_shrinks(width, height, longest):
    fitted = sizes.fit_longest_side(width, height, longest)
    assert max(fitted) == min(longest, max(width, height))
    assert fitted[0] <= width and fitted[1] <= height


@given(SIDE, SIDE, SIDE, SIDE)
def test_center_crop_is_inside_centred_and_largest(source_w, source_h, width, height):
    left, top, right, bottom = sizes.center_crop(source_w, source_h, width, height)
    assert 0 <= left < right <= source_w and 0 <= top < bottom <= source_h
    assert abs(left - (source_w - right)) <= 1 and abs(top - (source_h - bottom)) <= 1
    assert right - left == source_w or bottom - top == source_h


@given(st.integers(1, 200), FPS)
def test_sound_plays_as_long_as_the_clip(groups, fps):
    frames = 8 * groups + 1
    assert abs(sizes.audio_latent_count(frames, fps) / 25 - frames / fps) <= 0.5 / 25 + 1e-9
    assert abs(sizes.sample_count(frames, fps, 48000) / 48000 - frames / fps) <= 0.5 / 48000 + 1e-9
