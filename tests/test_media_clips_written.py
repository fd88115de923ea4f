"""Clips out: everything is measured in the file that was written."""

import struct
from fractions import Fraction

import av
import numpy as np
import pytest
from media_files import bursts, frame_number, numbered_frames, tone

from studio.media_clips import exact_fps, load_frames, probe_clip, write_clip
from studio.media_sound import Sound, load_sound, probe_sound

NTSC = Fraction(24_000, 1001)


def numbers(frames):
    return [frame_number(frame) for frame in frames]


def shift_seconds(path, samples, rate):
    """How late the file's first channel is against `samples`, and how alike the two are."""
    heard = load_sound(path, rate).samples[0].astype(np.float64)
    size = 1 << (len(heard) + samples.shape[1]).bit_length()
    spectrum = np.fft.rfft(heard, size) * np.conj(np.fft.rfft(samples[0], size))
    correlation = np.fft.irfft(spectrum, size)
    lag = int(np.argmax(correlation))
    likeness = correlation.max() / np.sqrt((heard**2).sum() * (samples[0] ** 2).sum())
    return (lag if lag < size // 2 else lag - size) / rate, likeness


@pytest.mark.parametrize("fps", [8, 12, 24, 25, 30, 23.976])
@pytest.mark.parametrize("seconds", [1, 2, 3, 5, 10])
def test_write_clip_plays_exactly_as_long_as_promised(tmp_path, fps, seconds):
    rate = exact_fps(fps)
    count = round(seconds * fps)
    samples = bursts(seconds, channels=1)
    path = tmp_path / "a.mp4"
    write_clip(path, numbered_frames(count), fps, Sound(samples, 48_000), {})

    info = probe_clip(path)
    assert (info.frames_estimate, info.has_sound) == (count, True)
    assert info.fps == pytest.approx(float(rate), abs=1e-6)
    assert info.seconds == pytest.approx(count / rate, abs=1e-3)
    assert probe_sound(path).seconds == pytest.approx(count / rate, abs=1e-3)
    with av.open(str(path)) as container:
        times = [frame.pts * frame.time_base for frame in container.decode(video=0)]
    assert times == [index / rate for index in range(count)]
    assert numbers(load_frames(path, fps, count + 5)) == list(range(count))

    kept = samples[:, : round(float(count / rate) * 48_000)]
    late, likeness = shift_seconds(path, kept, 48_000)
    assert abs(late) < 0.002
    assert likeness > 0.98


@pytest.mark.parametrize("count", [1, 2, 9])
@pytest.mark.parametrize("rate", [8000, 22_050, 44_100, 48_000, 96_000])
def test_write_clip_takes_any_rate_and_any_shortness(tmp_path, count, rate):
    path = tmp_path / "short.mp4"
    write_clip(path, numbered_frames(count), 24, Sound(tone(1, rate, 1), rate), {})
    info = probe_sound(path)
    assert info.rate == (rate if rate == 44_100 else 48_000)
    assert info.channels == 1
    assert info.seconds == pytest.approx(count / 24, abs=1e-3)
    assert numbers(load_frames(path, 24, 99)) == list(range(count))


def test_write_clip_continues_a_short_sound_with_silence(tmp_path):
    path = tmp_path / "a.mp4"
    write_clip(path, numbered_frames(48), 24, Sound(tone(1), 48_000), {})
    heard = load_sound(path).samples
    assert probe_sound(path).seconds == pytest.approx(2, abs=1e-3)
    assert np.abs(heard[:, 20_000:40_000]).max() == pytest.approx(0.5, abs=0.03)
    assert np.abs(heard[:, 50_000:]).max() < 0.01


def test_write_clip_mixes_surround_to_stereo(tmp_path):
    loud = Sound(1.9 * tone(1, channels=6), 48_000)
    write_clip(tmp_path / "a.mp4", numbered_frames(24), 24, loud, {})
    heard = load_sound(tmp_path / "a.mp4").samples[:, :48_000]
    assert heard.shape[0] == 2
    assert np.corrcoef(heard[0], tone(1)[0])[0, 1] > 0.999  # Turned down, and still a sine.


def test_write_clip_without_sound_has_no_track(tmp_path):
    write_clip(tmp_path / "a.mp4", numbered_frames(9), 24, None, {})
    assert not probe_clip(tmp_path / "a.mp4").has_sound


def test_write_clip_takes_frames_one_by_one(tmp_path):
    write_clip(tmp_path / "a.mp4", (frame for frame in numbered_frames(17)), 24, None, {})
    assert numbers(load_frames(tmp_path / "a.mp4", 24, 99)) == list(range(17))


def test_write_clip_keeps_its_tags(tmp_path):
    tags = {
        "aio_studio": '{"version": 1, "prompt": "a \\"red\\" fox"}' + " " * 50_000,
        "parameters": "línea 1\nSteps: 8, Seed: 日本 \U0001f600",
        "comment": "hello",
        "title": "Fox",
    }
    path = tmp_path / "Füchse 日本.mp4"
    write_clip(path, numbered_frames(9), 24, None, tags)
    with av.open(str(path)) as container:
        assert tags.items() <= dict(container.metadata).items()


def boxes(path):
    data, start = path.read_bytes(), 0
    while start < len(data):
        size, kind = struct.unpack_from(">I4s", data, start)
        yield kind.decode()
        start += size


def test_write_clip_puts_the_index_first(tmp_path):
    write_clip(tmp_path / "a.mp4", numbered_frames(9), 24, Sound(tone(1), 48_000), {})
    order = list(boxes(tmp_path / "a.mp4"))
    assert order.index("moov") < order.index("mdat")


def test_write_clip_is_tagged_bt709_h264_and_aac(tmp_path):
    write_clip(tmp_path / "a.mp4", numbered_frames(9), 24, Sound(tone(1), 48_000), {})
    with av.open(str(tmp_path / "a.mp4")) as container:
        video, audio = container.streams.video[0], container.streams.audio[0]
        assert (video.codec_context.name, audio.codec_context.name) == ("h264", "aac")
        assert video.pix_fmt == "yuv420p"
        codec = video.codec_context
        assert [codec.color_primaries, codec.color_trc, codec.colorspace, codec.color_range] == [
            1
        ] * 4


def test_write_clip_mixes_sound_and_picture_in_step(tmp_path):
    path = tmp_path / "a.mp4"
    noise = np.random.default_rng(0).integers(0, 255, (120, 64, 64, 3), dtype=np.uint8)
    write_clip(path, noise, 24, Sound(bursts(5), 48_000), {})
    with av.open(str(path)) as container:
        packets = [(p.pos, p.stream.type, p.pts * p.time_base) for p in container.demux() if p.size]
    at = {"video": 0, "audio": 0}
    for _, kind, time in sorted(packets):
        at[kind] = float(max(at[kind], time))
        assert abs(at["video"] - at["audio"]) < 2.5


def test_write_clip_has_a_key_frame_every_two_seconds(tmp_path):
    write_clip(tmp_path / "a.mp4", numbered_frames(121), 24, None, {})
    with av.open(str(tmp_path / "a.mp4")) as container:
        keys = [p.pts * p.time_base for p in container.demux(video=0) if p.size and p.is_keyframe]
    assert max(np.diff([float(key) for key in keys])) <= 2


def test_write_clip_gives_the_same_file_again(tmp_path):
    random = np.random.default_rng(1)
    moving = np.cumsum(random.normal(0, 4, (20, 128, 192, 3)), axis=0)
    frames = np.clip(128 + moving, 0, 255).astype(np.uint8)
    paths = [tmp_path / f"{index}.mp4" for index in range(3)]
    for path in paths:
        write_clip(path, frames, 24, Sound(bursts(1), 48_000), {"prompt": "again"})
    assert len({path.read_bytes() for path in paths}) == 1


def test_write_clip_uses_the_same_number_of_threads_everywhere(tmp_path):
    write_clip(tmp_path / "a.mp4", numbered_frames(9, 256, 256), 24, None, {})
    written = (tmp_path / "a.mp4").read_bytes()
    assert b" threads=4 " in written
    assert b"sliced_threads=0" in written
    assert b"crf=16.0" in written


@pytest.mark.parametrize("size", [(33, 32), (32, 33)])
def test_write_clip_refuses_odd_sides(tmp_path, size):
    frames = np.zeros((2, *size, 3), np.uint8)
    with pytest.raises(ValueError, match="even sides"):
        write_clip(tmp_path / "a.mp4", frames, 24, None, {})


def test_write_clip_refuses_no_frames(tmp_path):
    with pytest.raises(ValueError, match="at least one frame"):
        write_clip(tmp_path / "a.mp4", np.zeros((0, 32, 32, 3), np.uint8), 24, None, {})
    assert not (tmp_path / "a.mp4").exists()


@pytest.mark.parametrize(
    ("fps", "exact"),
    [
        (24, Fraction(24)),
        (12.5, Fraction(25, 2)),
        (4, Fraction(4)),
        (23.976, NTSC),
        (23.98, NTSC),
        (29.97, Fraction(30_000, 1001)),
        (59.94, Fraction(60_000, 1001)),
        (Fraction(30_000, 1001), Fraction(30_000, 1001)),
    ],
)
def test_exact_fps_knows_the_ntsc_rates(fps, exact):
    assert exact_fps(fps) == exact
