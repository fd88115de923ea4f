"""Clips in: from phones, cameras, screen recorders and broken uploads."""

import io
from fractions import Fraction

import av
import numpy as np
import pytest
from media_files import (
    bursts,
    cut_off,
    frame_number,
    numbered_frames,
    quarter_names,
    quarters,
    tone,
    write_song_with_cover,
    write_video,
    write_wav,
)
from PIL import Image

from studio import media_clips
from studio.errors import BadInput
from studio.media_clips import (
    ClipInfo,
    first_frame,
    last_frame,
    load_frames,
    poster_jpeg,
    probe_clip,
    write_clip,
)

NTSC = Fraction(24_000, 1001)


def numbers(frames):
    return [frame_number(frame) for frame in frames]


def still_video(path, count=6, **options):
    return write_video(path, np.stack([np.asarray(quarters(96, 64))] * count), **options)


def test_probe_clip_tells_size_length_rate_and_sound(tmp_path):
    path = write_video(tmp_path / "a.mp4", numbered_frames(48), 24, samples=tone(2))
    assert probe_clip(path) == ClipInfo(80, 48, 2.0, 24.0, 48, True)


@pytest.mark.parametrize(("suffix", "codec"), [("mkv", "libx264"), ("webm", "libvpx-vp9")])
def test_probe_clip_measures_what_has_no_length_in_its_header(tmp_path, suffix, codec):
    path = write_video(tmp_path / f"a.{suffix}", numbered_frames(12), 24, codec=codec)
    info = probe_clip(path)
    assert (info.frames_estimate, info.has_sound) == (12, False)
    assert info.seconds == pytest.approx(0.5, abs=2e-3)
    assert info.fps == pytest.approx(24, abs=0.05)


# What ffmpeg's own command line shows for the same files.
TURNED = [
    (0, False, ["red", "green", "blue", "white"]),
    (0, True, ["green", "red", "white", "blue"]),
    (90, False, ["green", "white", "red", "blue"]),
    (90, True, ["white", "green", "blue", "red"]),
    (180, False, ["white", "blue", "green", "red"]),
    (180, True, ["blue", "white", "red", "green"]),
    (-90, False, ["blue", "red", "white", "green"]),
    (-90, True, ["red", "blue", "green", "white"]),
]


@pytest.mark.parametrize(("rotation", "mirrored", "seen"), TURNED)
def test_reading_turns_phone_video_upright(tmp_path, rotation, mirrored, seen):
    path = still_video(tmp_path / "phone.mp4", rotation=rotation, mirrored=mirrored)
    size = (64, 96) if rotation in (90, -90) else (96, 64)
    info = probe_clip(path)
    assert (info.width, info.height) == size
    assert first_frame(path).size == last_frame(path).size == size
    assert quarter_names(first_frame(path)) == quarter_names(last_frame(path)) == seen
    frames = load_frames(path, 24, 6)
    assert frames.shape == (6, size[1], size[0], 3)
    assert quarter_names(frames[3]) == seen
    assert quarter_names(load_frames(path, 24, 6, 32, 64)[3]) == seen


@pytest.mark.parametrize("suffix", ["mp4", "mkv"])
@pytest.mark.parametrize(
    ("source", "wanted"), [(24, 24), (30, 30), (60, 30), (60, 24), (25, 30), (12, 24), (NTSC, 24)]
)
def test_load_frames_converts_the_rate_by_time(tmp_path, source, wanted, suffix):
    count = int(source * 2)
    path = write_video(tmp_path / f"a.{suffix}", numbered_frames(count), source)
    frames = load_frames(path, wanted, 1000)
    # Frame k shows what is on screen at k / wanted, give or take Matroska's whole milliseconds.
    for k, number in enumerate(numbers(frames)):
        assert int((k / wanted - 0.0005) * source) <= number <= int((k / wanted + 0.0016) * source)
    assert len(frames) == pytest.approx(count / source * wanted, abs=1)


@pytest.mark.parametrize("suffix", ["mp4", "mkv"])
def test_load_frames_follows_varying_frame_rates(tmp_path, suffix):
    times = [0, 0.1, 0.15, 0.2, 0.5, 0.52, 0.54, 0.9]
    path = write_video(tmp_path / f"vfr.{suffix}", numbered_frames(8), times=times)
    shown = numbers(load_frames(path, 20, 18))
    # Seen at 0, 0.05, 0.10, … 0.85 s.
    assert shown == [0, 0, 1, 2, 3, 3, 3, 3, 3, 3, 4, 6, 6, 6, 6, 6, 6, 6]


@pytest.mark.parametrize("offset", [5.0, 0.75, -0.5])
def test_load_frames_starts_at_the_first_frame_whatever_its_timestamp(tmp_path, offset):
    times = [offset + index / 24 for index in range(24)]
    path = write_video(tmp_path / "late.mkv", numbered_frames(24), times=times)
    assert numbers(load_frames(path, 24, 100)) == list(range(24))
    assert probe_clip(path).seconds == pytest.approx(1, abs=3e-3)


def test_reading_leaves_out_what_a_phone_trimmed_away(tmp_path):
    """Trimming in a gallery app keeps the frames, and an edit list that hides them."""
    times = [index / 24 - 0.5 for index in range(48)]
    path = write_video(tmp_path / "trimmed.mp4", numbered_frames(48), times=times)
    assert probe_clip(path) == ClipInfo(80, 48, 1.5, 24.0, 36, False)
    assert numbers(load_frames(path, 24, 99)) == list(range(12, 48))


def test_load_frames_returns_what_there_is(tmp_path):
    path = write_video(tmp_path / "a.mp4", numbered_frames(10), 24)
    assert len(load_frames(path, 24, 10)) == len(load_frames(path, 24, 99)) == 10
    assert numbers(load_frames(path, 24, 4)) == [0, 1, 2, 3]


def test_load_frames_crops_to_the_middle(tmp_path):
    pixels = np.zeros((3, 48, 144, 3), np.uint8)
    pixels[:, :, 48:96] = 255
    path = write_video(tmp_path / "wide.mp4", pixels)
    frames = load_frames(path, 24, 3, 32, 32)
    assert (frames.shape, frames.dtype) == ((3, 32, 32, 3), np.uint8)
    assert frames[:, :, 2:-2].min() > 230


def test_load_frames_keeps_colours(tmp_path):
    path = tmp_path / "a.mp4"
    write_clip(path, [np.asarray(quarters(96, 64))] * 3, 24, None, {})
    frame = load_frames(path, 24, 1)[0]
    for y, x in ((10, 10), (10, 80), (50, 10), (50, 80)):
        assert np.abs(frame[y, x].astype(int) - quarters(96, 64).getpixel((x, y))).max() <= 4


def test_load_frames_neither_darkens_nor_brightens(tmp_path):
    """A level lost at each reading adds up where clips are continued from their last frame."""
    colours = np.random.default_rng(0).integers(0, 255, (6, 8, 3), dtype=np.uint8)
    soft = np.asarray(Image.fromarray(colours).resize((256, 192), Image.Resampling.BICUBIC))
    write_clip(tmp_path / "a.mp4", [soft] * 2, 24, None, {})
    difference = load_frames(tmp_path / "a.mp4", 24, 1)[0].astype(float) - soft
    assert np.abs(difference.mean(axis=(0, 1))).max() < 0.25
    assert np.abs(difference).mean() < 2


@pytest.mark.parametrize(("size", "matrix"), [((96, 64), "ITU601"), ((960, 720), "ITU709")])
def test_load_frames_guesses_untagged_colours_as_players_do(tmp_path, size, matrix):
    path = tmp_path / "untagged.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=24, options={"preset": "ultrafast"})
        (stream.width, stream.height), stream.pix_fmt = size, "yuv420p"
        frame = av.VideoFrame.from_image(quarters(*size))
        for _ in range(2):
            container.mux(stream.encode(frame.reformat(format="yuv420p", dst_colorspace=matrix)))
        container.mux(stream.encode())
    with av.open(str(path)) as container:
        assert container.streams.video[0].codec_context.colorspace == 2  # unspecified
    assert np.abs(np.asarray(first_frame(path))[10, 10].astype(int) - (220, 30, 30)).max() <= 4


def test_load_frames_reads_an_animation(tmp_path):
    pictures = [Image.fromarray(frame) for frame in numbered_frames(5)]
    pictures[0].save(tmp_path / "a.gif", save_all=True, append_images=pictures[1:], duration=100)
    assert numbers(load_frames(tmp_path / "a.gif", 10, 5)) == [0, 1, 2, 3, 4]


def test_load_frames_stretches_narrow_pixels(tmp_path):
    path = tmp_path / "dv.mkv"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=24)
        stream.width, stream.height, stream.pix_fmt = 72, 64, "yuv420p"
        stream.codec_context.sample_aspect_ratio = Fraction(4, 3)
        for _ in range(3):
            container.mux(stream.encode(av.VideoFrame.from_image(quarters(72, 64))))
        container.mux(stream.encode())
    info = probe_clip(path)
    assert (info.width, info.height) == (96, 64)
    assert load_frames(path, 24, 1).shape == (1, 64, 96, 3)


def test_load_frames_skips_damage_inside(tmp_path):
    path = write_video(tmp_path / "a.ts", numbered_frames(60), 24, codec="mpeg2video")
    data = bytearray(path.read_bytes())
    data[len(data) // 2 : len(data) // 2 + 2000] = bytes(2000)
    path.write_bytes(data)
    frames = load_frames(path, 24, 60)
    assert len(frames) > 30
    assert numbers(frames)[:5] == [0, 1, 2, 3, 4]


def test_reading_opens_any_name(tmp_path):
    path = write_video(tmp_path / "clip.mp4", numbered_frames(4), samples=tone(0.2))
    odd = path.rename(tmp_path / "Été: 日本 %d #1 \U0001f600.mp4")
    assert probe_clip(odd).frames_estimate == 4
    assert numbers(load_frames(odd, 24, 4)) == [0, 1, 2, 3]


def test_first_last_and_poster(tmp_path):
    path = write_video(tmp_path / "a.mp4", numbered_frames(100, 640, 384), 30)
    assert frame_number(np.asarray(first_frame(path))) == 0
    assert frame_number(np.asarray(last_frame(path))) == 99
    poster = Image.open(io.BytesIO(poster_jpeg(path)))
    assert (poster.format, poster.size) == ("JPEG", (512, 307))


@pytest.mark.parametrize("suffix", ["mkv", "ts", "avi"])
def test_last_frame_is_the_last_in_every_container(tmp_path, suffix):
    codec = "mpeg4" if suffix == "avi" else "libx264"
    path = write_video(tmp_path / f"a.{suffix}", numbered_frames(40), 24, codec=codec)
    assert frame_number(np.asarray(last_frame(path))) == 39


def readers():
    return [probe_clip, lambda path: load_frames(path, 24, 5), first_frame, last_frame]


@pytest.mark.parametrize("read", readers(), ids=["probe", "frames", "first", "last"])
class TestRefusals:
    def refusal(self, read, path):
        with pytest.raises(BadInput) as error:
            read(path)
        text = str(error.value)
        assert text.endswith(".") and "\n" not in text
        return text

    def test_a_missing_file(self, tmp_path, read):
        assert "There is no file 'gone.mp4'" in self.refusal(read, tmp_path / "gone.mp4")

    def test_an_empty_file(self, tmp_path, read):
        (tmp_path / "empty.mp4").touch()
        assert "empty" in self.refusal(read, tmp_path / "empty.mp4")

    def test_a_sound(self, tmp_path, read):
        path = write_wav(tmp_path / "song.wav", tone(0.2), 48_000)
        assert "only sound" in self.refusal(read, path)

    def test_a_song_with_a_cover(self, tmp_path, read):
        path = write_song_with_cover(tmp_path / "song.mp3", tone(0.5), 48_000)
        assert "only sound" in self.refusal(read, path)

    @pytest.mark.parametrize("suffix", ["png", "jpg", "webp", "bmp"])
    def test_a_picture(self, tmp_path, read, suffix):
        path = tmp_path / f"photo.{suffix}"
        quarters().save(path)
        assert "looks like a picture" in self.refusal(read, path.rename(tmp_path / "photo.mp4"))

    def test_a_text(self, tmp_path, read):
        (tmp_path / "a.mp4").write_text("not a video")
        assert "looks like a text file" in self.refusal(read, tmp_path / "a.mp4")

    @pytest.mark.parametrize(
        "playlist",
        ["ffconcat version 1.0\nfile secret.mp4\n", "#EXTM3U\n#EXTINF:1,\nsecret.mp4\n"],
    )
    def test_a_playlist_is_never_followed(self, tmp_path, read, playlist):
        write_video(tmp_path / "secret.mp4", numbered_frames(3))
        (tmp_path / "list.mp4").write_text(playlist)
        assert "looks like a text file" in self.refusal(read, tmp_path / "list.mp4")

    def test_an_index_that_never_came(self, tmp_path, read):
        path = write_video(tmp_path / "cut.mp4", numbered_frames(48))
        assert "whole" in self.refusal(read, cut_off(path))

    def test_a_codec_that_nobody_knows(self, tmp_path, read):
        path = write_video(tmp_path / "odd.mkv", numbered_frames(5))
        path.write_bytes(path.read_bytes().replace(b"V_MPEG4/ISO/AVC", b"V_MPEG4/ISO/ZZZ"))
        assert "No picture could be read" in self.refusal(read, path)

    def test_a_video_without_frames(self, tmp_path, read):
        path = write_video(tmp_path / "none.mkv", numbered_frames(0), samples=tone(0.1))
        assert "No picture" in self.refusal(read, path) or "only sound" in self.refusal(read, path)


@pytest.mark.parametrize("share", [0.5, 0.9, 0.97])
@pytest.mark.parametrize("with_sound", [True, False])
def test_probe_clip_refuses_an_upload_that_broke_off(tmp_path, share, with_sound):
    samples = bursts(2) if with_sound else None
    path = write_video(tmp_path / "a.mp4", numbered_frames(48), samples=samples, faststart=True)
    assert probe_clip(path).frames_estimate == 48
    with pytest.raises(BadInput, match="cut off"):
        probe_clip(cut_off(path, share))


def test_probe_clip_refuses_a_single_picture(tmp_path):
    quarters().save(tmp_path / "a.gif")
    with pytest.raises(BadInput, match="single picture"):
        probe_clip(tmp_path / "a.gif")


def test_probe_clip_refuses_tiny_and_huge_pictures(tmp_path, monkeypatch):
    path = write_video(tmp_path / "tiny.mp4", numbered_frames(3, 20, 8))
    with pytest.raises(BadInput, match="only 20 x 8 pixels"):
        probe_clip(path)
    monkeypatch.setattr(media_clips, "MAX_FRAME_PIXELS", 80 * 47)
    with pytest.raises(BadInput, match="80 x 48 pixels, more than 8K"):
        probe_clip(write_video(tmp_path / "big.mp4", numbered_frames(3)))


def test_probe_clip_refuses_a_film(tmp_path):
    times = [index * 31.0 for index in range(5)]
    path = write_video(tmp_path / "film.mp4", numbered_frames(5), times=times)
    with pytest.raises(BadInput, match="longer than 120 seconds"):
        probe_clip(path)
