"""Where results can go on: every control that takes a picture or a video, by itself."""

from dataclasses import replace

import pytest

from studio.modes import MODES
from studio.send_to import SENDABLES, targets_of


def places(made, part):
    return {(one.mode, one.control) for one in targets_of(made) if one.part == part}


def test_picture_goes_to_every_control_for_pictures():
    assert places("image", "file") == {
        (mode.id, field.name)
        for mode in MODES.values()
        for field in mode.media
        if field.kind == "image"
    }
    assert {
        ("edit", "image"),
        ("i2v", "image"),
        ("lipsync", "image"),
        ("keyframe", "first"),
        ("keyframe", "last"),
    } <= places("image", "file")


def test_clip_goes_to_style_and_its_last_frame_to_where_clips_start():
    assert places("video", "file") == {("style", "video")}
    assert {("i2v", "image"), ("keyframe", "first")} <= places("video", "last_frame")
    assert ("keyframe", "last") not in places("video", "last_frame")
    assert places("image", "last_frame") == set()


def test_labels_tell_the_targets_of_a_mode_apart():
    for made in ("image", "video"):
        labels = [one.label for one in targets_of(made)]
        assert len(labels) == len(set(labels))
    assert "Keyframe → Video, first frame" in [one.label for one in targets_of("image")]
    assert "Last frame: Image → Video" in [one.label for one in targets_of("video")]


@pytest.mark.parametrize("made", ["image", "video"])
def test_tenth_mode_is_a_target_by_itself(monkeypatch, made):
    sendable = next(one for one in SENDABLES if one.made == made)
    field = next(
        field
        for mode in MODES.values()
        for field in mode.media
        if field.kind == sendable.kind and field.role in sendable.roles
    )
    tenth = replace(MODES["t2v"], id="tenth", label="Tenth", fields=(field,))
    monkeypatch.setattr("studio.send_to.MODES", {**MODES, "tenth": tenth})
    assert ("tenth", field.name) in places(made, sendable.part)
