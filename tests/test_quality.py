"""What is said about finished files, and what is not said about good ones."""

import numpy as np
import pytest
from media_files import (
    bursts,
    cut_off,
    noise,
    numbered_frames,
    quarters,
    tone,
    write_png_header,
    write_video,
)
from PIL import Image

from studio import quality
from studio.media_clips import write_clip
from studio.media_sound import Sound
from studio.quality import SAMPLED_FRAMES, look_at_clip, look_at_image


def kinds(findings):
    for finding in findings:
        assert finding.sentence.endswith(".") and "\n" not in finding.sentence
        assert ": " in finding.sentence, "says what to try"
    return [finding.kind for finding in findings]


def image_kinds(tmp_path, pixels, width=256, height=256):
    Image.fromarray(pixels).save(tmp_path / "a.png")
    return kinds(look_at_image(tmp_path / "a.png", width, height))


def clip_kinds(tmp_path, pictures, samples=None, *, rate=48_000, **promised):
    path = tmp_path / "a.mp4"
    sound = None if samples is None else Sound(samples, rate)
    write_clip(path, pictures, 24, sound, {})
    true = {
        "width": pictures.shape[2],
        "height": pictures.shape[1],
        "frames": len(pictures),
        "fps": 24,
        "expect_sound": samples is not None,
    }
    return kinds(look_at_clip(path, **(true | promised)))


def still(pixels, count=24):
    return np.broadcast_to(pixels, (count, *pixels.shape))


# Pictures


def test_look_at_image_finds_nothing_wrong_with_a_good_one(tmp_path):
    assert image_kinds(tmp_path, np.asarray(quarters(256, 256))) == []


@pytest.mark.parametrize("spread", [4, 10, 40])
@pytest.mark.parametrize("side", [64, 256, 1100])
def test_look_at_image_leaves_grey_noise_alone(tmp_path, side, spread):
    """Untrained demo weights make noise; that is neither black nor one colour."""
    assert image_kinds(tmp_path, noise(side, side, spread), side, side) == []


def test_look_at_image_leaves_night_and_fog_alone(tmp_path):
    night = np.full((256, 256, 3), 3, np.uint8)
    night[40:52, 40:52] = 200
    assert image_kinds(tmp_path, night) == []
    fog = np.linspace(200, 212, 256).astype(np.uint8)
    assert image_kinds(tmp_path, np.tile(fog[:, None, None], (1, 256, 3))) == []


@pytest.mark.parametrize("level", [0, 5])
def test_look_at_image_names_black(tmp_path, level):
    assert image_kinds(tmp_path, np.full((256, 256, 3), level, np.uint8)) == ["black"]


@pytest.mark.parametrize("colour", [(128, 128, 128), (0, 120, 0), (255, 255, 255)])
def test_look_at_image_names_one_colour(tmp_path, colour):
    plain = np.full((256, 256, 3), colour, np.uint8)
    plain[::9, ::7] ^= 1
    assert image_kinds(tmp_path, plain) == ["one_colour"]


def test_look_at_image_names_a_wrong_size(tmp_path):
    assert image_kinds(tmp_path, np.asarray(quarters(256, 128))) == ["wrong_size"]


def test_look_at_image_names_what_cannot_be_read(tmp_path):
    noise_image = Image.fromarray(noise(256, 256, 40))
    noise_image.save(tmp_path / "cut.png")
    assert kinds(look_at_image(cut_off(tmp_path / "cut.png"), 256, 256)) == ["unreadable"]
    assert kinds(look_at_image(tmp_path / "gone.png", 256, 256)) == ["unreadable"]
    huge = write_png_header(tmp_path / "huge.png", 20_000, 10_000)
    assert kinds(look_at_image(huge, 256, 256)) == ["unreadable"]


# Clips


def test_look_at_clip_finds_nothing_wrong_with_a_good_one(tmp_path):
    assert clip_kinds(tmp_path, numbered_frames(49), bursts(3)) == []
    assert clip_kinds(tmp_path, numbered_frames(9), fps=23.976) == []


def test_look_at_clip_leaves_moving_noise_alone(tmp_path):
    frames = np.stack([noise(64, 96, 30, seed) for seed in range(17)])
    assert clip_kinds(tmp_path, frames) == []


@pytest.mark.parametrize("level", [0, 6])
def test_look_at_clip_names_black(tmp_path, level):
    assert clip_kinds(tmp_path, still(np.full((64, 96, 3), level, np.uint8))) == ["black"]


@pytest.mark.parametrize("colour", [(127, 127, 127), (20, 140, 30)])
def test_look_at_clip_names_one_colour(tmp_path, colour):
    assert clip_kinds(tmp_path, still(np.full((64, 96, 3), colour, np.uint8))) == ["one_colour"]


@pytest.mark.parametrize("side", [64, 512])
def test_look_at_clip_names_a_still_picture(tmp_path, side):
    picture = noise(side, side, 30)
    assert clip_kinds(tmp_path, still(picture)) == ["no_motion"]
    assert clip_kinds(tmp_path, still(picture), expect_motion=False) == []


def test_look_at_clip_sees_a_blink(tmp_path):
    frames = np.array(still(np.asarray(quarters(512, 512)), 48))
    for index in range(20, 30):
        frames[index, 100:116, 100:130] = 20
    assert clip_kinds(tmp_path, frames) == []


def test_look_at_clip_sees_slow_motion(tmp_path):
    wide = np.asarray(Image.fromarray(noise(16, 24, 60)).resize((768, 512), Image.BICUBIC))
    frames = np.stack([wide[:, shift : shift + 512] for shift in range(24)])
    assert clip_kinds(tmp_path, frames) == []


@pytest.mark.parametrize("promise", [{"frames": 25}, {"frames": 23}, {"fps": 25}])
def test_look_at_clip_names_a_wrong_length(tmp_path, promise):
    assert clip_kinds(tmp_path, numbered_frames(24), **promise) == ["wrong_length"]


def test_look_at_clip_names_a_sound_of_another_length(tmp_path):
    path = tmp_path / "a.mkv"
    write_video(path, numbered_frames(48), 24, samples=tone(1))
    assert kinds(look_at_clip(path, 80, 48, 48, 24, True)) == ["wrong_length"]


def test_look_at_clip_names_a_wrong_size(tmp_path):
    assert clip_kinds(tmp_path, numbered_frames(9), width=160) == ["wrong_size"]


def test_look_at_clip_names_a_missing_sound(tmp_path):
    assert clip_kinds(tmp_path, numbered_frames(9), expect_sound=True) == ["silent"]
    assert clip_kinds(tmp_path, numbered_frames(9)) == []


@pytest.mark.parametrize("gain", [0, 5e-4])
def test_look_at_clip_names_silence(tmp_path, gain):
    assert clip_kinds(tmp_path, numbered_frames(24), gain * tone(1)) == ["silent"]


def test_look_at_clip_leaves_quiet_and_loud_sound_alone(tmp_path):
    assert clip_kinds(tmp_path, numbered_frames(24), 0.01 * tone(1)) == []
    assert clip_kinds(tmp_path, numbered_frames(24), 1.98 * tone(1)) == []


@pytest.mark.parametrize("rate", [16_000, 48_000])
def test_look_at_clip_names_clipped_sound(tmp_path, rate):
    random = np.random.default_rng(0).standard_normal((2, rate)).astype(np.float32)
    overflown = np.clip(1.2 * random, -1, 1)
    assert clip_kinds(tmp_path, numbered_frames(24), overflown, rate=rate) == ["clipped"]
    square = np.sign(tone(1, rate))
    assert clip_kinds(tmp_path, numbered_frames(24), square, rate=rate) == ["clipped"]


def test_look_at_clip_names_several_things_at_once(tmp_path):
    black = still(np.zeros((64, 96, 3), np.uint8))
    found = clip_kinds(tmp_path, black, 0 * tone(1), frames=48, height=96)
    assert found == ["wrong_size", "wrong_length", "black", "silent"]


def test_look_at_clip_names_what_cannot_be_read(tmp_path):
    write_clip(tmp_path / "a.mp4", numbered_frames(48), 24, None, {})
    assert kinds(look_at_clip(cut_off(tmp_path / "a.mp4"), 80, 48, 48, 24, False)) == ["unreadable"]


def test_look_at_clip_holds_few_frames(tmp_path, monkeypatch):
    asked = []
    load = quality.load_frames
    monkeypatch.setattr(
        quality,
        "load_frames",
        lambda path, fps, count: asked.append(count) or load(path, fps, count),
    )
    assert clip_kinds(tmp_path, numbered_frames(240)) == []
    assert asked == [SAMPLED_FRAMES]
