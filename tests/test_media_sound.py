"""Sound in, from whatever people record, download or cut out of a video."""

import struct

import numpy as np
import pytest
from media_files import (
    bursts,
    cut_off,
    numbered_frames,
    quarters,
    tone,
    write_song_with_cover,
    write_sound,
    write_video,
    write_wav,
)

from studio import media_sound
from studio.errors import BadInput
from studio.media_sound import (
    Sound,
    SoundInfo,
    add_noise_floor,
    fit_length,
    load_sound,
    probe_sound,
    resample,
)


def shift(heard, reference):
    """By how many samples `heard` comes after `reference`, by their cross-correlation."""
    size = 1 << (heard.shape[-1] + reference.shape[-1]).bit_length()
    spectrum = np.fft.rfft(heard[0], size) * np.conj(np.fft.rfft(reference[0], size))
    lag = int(np.argmax(np.fft.irfft(spectrum, size)))
    return lag if lag < size // 2 else lag - size


def level(samples):
    return np.sqrt((samples.astype(np.float64) ** 2).mean(axis=1))


def test_load_sound_reads_8_khz_mono(tmp_path):
    sound = load_sound(write_wav(tmp_path / "phone.wav", tone(1, 8000, 1), 8000))
    assert sound.samples.dtype == np.float32
    assert (sound.samples.shape, sound.rate, sound.seconds) == ((1, 8000), 8000, 1.0)
    assert np.abs(sound.samples - tone(1, 8000, 1)).max() < 1e-4


@pytest.mark.parametrize("rate", [16_000, 44_100, 48_000])
def test_load_sound_resamples_in_place(tmp_path, rate):
    path = write_wav(tmp_path / "phone.wav", tone(1, 8000, 1), 8000)
    sound = load_sound(path, rate, 2)
    assert (sound.samples.shape, sound.rate) == ((2, rate), rate)
    middle = slice(rate // 10, -rate // 10)
    assert np.abs(sound.samples - tone(1, rate))[:, middle].max() < 2e-3


def test_load_sound_doubles_mono_at_the_same_loudness(tmp_path):
    path = write_wav(tmp_path / "mono.wav", tone(0.2, 48_000, 1), 48_000)
    mono, stereo = load_sound(path), load_sound(path, channels=2)
    assert np.array_equal(stereo.samples, np.repeat(mono.samples, 2, axis=0))


def test_load_sound_mixes_stereo_to_mono(tmp_path):
    samples = np.concatenate([tone(0.2, channels=1), -0.5 * tone(0.2, channels=1)])
    mono = load_sound(write_wav(tmp_path / "s.wav", samples, 48_000), channels=1)
    assert np.abs(mono.samples[0] - samples.mean(axis=0)).max() < 1e-3


# Front left, front right, centre, LFE, back left, back right to left, right.
DOWNMIX = [(1, 0), (0, 1), (0.707, 0.707), (0, 0), (0.707, 0), (0, 0.707)]


@pytest.mark.parametrize("channel", range(6))
def test_load_sound_mixes_surround_down(tmp_path, channel):
    samples = np.zeros((6, 4800), np.float32)
    samples[channel] = tone(0.1, channels=1)[0]
    path = write_sound(tmp_path / "film.flac", samples, 48_000, "flac", "5.1")
    assert probe_sound(path).channels == 6
    stereo = load_sound(path, channels=2)
    expected = level(tone(0.1, channels=1)) * DOWNMIX[channel]
    assert level(stereo.samples) == pytest.approx(expected, abs=1e-3)


@pytest.mark.parametrize("channels", range(1, 9))
def test_load_sound_keeps_up_to_eight_channels(tmp_path, channels):
    samples = np.stack([tone(0.1, 48_000, 1, 300 + 50 * n)[0] for n in range(channels)])
    loaded = load_sound(write_wav(tmp_path / "many.wav", samples, 48_000))
    assert np.abs(loaded.samples - samples).max() < 1e-4
    assert resample(loaded, 44_100, 2).samples.shape == (2, 4410)


def test_load_sound_turns_a_loud_mix_down_instead_of_clipping_it(tmp_path):
    path = write_wav(tmp_path / "loud.wav", 1.9 * tone(0.2, 48_000, 6), 48_000)
    stereo = load_sound(path, channels=2).samples
    assert np.abs(stereo).max() == pytest.approx(1, abs=1e-4)
    assert (np.abs(stereo) > 0.999).mean() < 0.05


def test_load_sound_clips_overshoot_and_drops_broken_samples(tmp_path):
    samples = 3 * tone(0.2, 48_000, 2)
    samples[:, 5000] = np.nan
    loaded = load_sound(write_sound(tmp_path / "hot.wav", samples, 48_000, "pcm_f32le")).samples
    assert np.abs(loaded).max() == 1
    assert loaded[0, 5000] == 0


@pytest.mark.parametrize(
    ("name", "codec"),
    [
        ("a.mp3", "libmp3lame"),
        ("a.m4a", "aac"),
        ("a.ogg", "libopus"),
        ("a.flac", "flac"),
        ("a.webm", "libopus"),
        ("a.mkv", "aac"),
        ("a.wav", "pcm_s24le"),
        ("a.aiff", "pcm_s16be"),
    ],
)
def test_load_sound_reads_every_usual_format_in_time(tmp_path, name, codec):
    samples = bursts(1)
    path = write_sound(tmp_path / name, samples, 48_000, codec)
    sound = load_sound(path)
    assert sound.rate == 48_000
    assert shift(sound.samples, samples) == 0
    assert sound.seconds == pytest.approx(1, abs=0.03)
    info = probe_sound(path)
    assert (info.rate, info.channels) == (48_000, 2)
    assert info.seconds == pytest.approx(1, abs=0.06)


def test_load_sound_reads_a_song_with_a_cover(tmp_path):
    path = write_song_with_cover(tmp_path / "song.mp3", bursts(0.5), 48_000)
    assert shift(load_sound(path).samples, bursts(0.5)) == 0
    assert probe_sound(path).seconds == pytest.approx(0.5, abs=0.06)


def test_load_sound_takes_the_sound_of_a_video(tmp_path):
    samples = bursts(1)
    path = write_video(tmp_path / "clip.mp4", numbered_frames(24), 24, samples=samples)
    assert shift(load_sound(path).samples, samples) == 0
    assert probe_sound(path).seconds == pytest.approx(1, abs=1e-3)


@pytest.mark.parametrize("late", [0.5, -0.25])
def test_load_sound_begins_with_the_picture(tmp_path, late):
    """A sound that starts after or before the picture keeps its place beside it."""
    times = [max(0.0, -late) + index / 24 for index in range(24)]
    samples = np.pad(bursts(0.5), ((0, 0), (max(0, round(late * 48_000)), 0)))
    path = write_video(tmp_path / "late.mkv", numbered_frames(24), times=times, samples=samples)
    heard = load_sound(path).samples
    assert shift(heard, bursts(0.5)) == pytest.approx(late * 48_000, abs=100)


def test_load_sound_opens_any_name(tmp_path):
    path = write_wav(tmp_path / "Größe: 日本 #1.wav", tone(0.1), 48_000)
    assert load_sound(path).seconds == 0.1


def test_load_sound_reads_a_file_with_an_old_title(tmp_path):
    title = "Größe".encode("latin-1") + b"\0"
    info = b"LIST" + struct.pack("<I", 12 + len(title)) + b"INFOINAM"
    path = write_wav(tmp_path / "old.wav", tone(0.1), 48_000)
    path.write_bytes(path.read_bytes() + info + struct.pack("<I", len(title)) + title)
    assert load_sound(path).seconds == probe_sound(path).seconds == 0.1


@pytest.mark.parametrize("read", [probe_sound, load_sound])
class TestRefusals:
    def refusal(self, read, path):
        with pytest.raises(BadInput) as error:
            read(path)
        assert str(error.value).endswith(".")
        return str(error.value)

    def test_a_missing_file(self, tmp_path, read):
        assert "There is no file 'gone.wav'" in self.refusal(read, tmp_path / "gone.wav")

    def test_an_empty_file(self, tmp_path, read):
        (tmp_path / "empty.mp3").touch()
        assert "empty" in self.refusal(read, tmp_path / "empty.mp3")

    def test_a_wav_of_no_length(self, tmp_path, read):
        path = write_wav(tmp_path / "none.wav", np.zeros((1, 0)), 8000)
        assert "No sound could be read" in self.refusal(read, path)

    def test_a_silent_film(self, tmp_path, read):
        path = write_video(tmp_path / "film.mp4", numbered_frames(3))
        assert "has no sound in it" in self.refusal(read, path)

    def test_a_picture(self, tmp_path, read):
        quarters().save(tmp_path / "song.png")
        assert "looks like a picture" in self.refusal(read, tmp_path / "song.png")

    def test_a_text(self, tmp_path, read):
        (tmp_path / "song.mp3").write_text("la la la")
        assert "looks like a text file" in self.refusal(read, tmp_path / "song.mp3")

    def test_a_playlist_is_never_followed(self, tmp_path, read):
        write_wav(tmp_path / "secret.wav", tone(0.1), 48_000)
        (tmp_path / "list.wav").write_text("ffconcat version 1.0\nfile secret.wav\n")
        assert "looks like a text file" in self.refusal(read, tmp_path / "list.wav")

    def test_an_index_that_never_came(self, tmp_path, read):
        path = write_sound(tmp_path / "cut.m4a", bursts(1), 48_000, "aac")
        assert "not a sound that can be read" in self.refusal(read, cut_off(path))

    def test_more_channels_than_anyone_hears(self, tmp_path, read):
        path = write_wav(tmp_path / "stage.wav", tone(0.1, 8000, 9), 8000)
        assert "9 channels" in self.refusal(read, path)

    def test_a_codec_that_nobody_knows(self, tmp_path, read):
        path = write_sound(tmp_path / "odd.mkv", bursts(0.5), 48_000, "aac")
        path.write_bytes(path.read_bytes().replace(b"A_AAC", b"A_ZZZ"))
        assert "No sound could be read" in self.refusal(read, path)

    def test_a_sound_that_is_too_long(self, tmp_path, read, monkeypatch):
        monkeypatch.setattr(media_sound, "MAX_SECONDS", 60)
        path = write_wav(tmp_path / "long.wav", np.zeros((1, 61 * 8000)), 8000)
        assert "longer than 1 minutes" in self.refusal(read, path)


def test_probe_sound_tells_length_rate_and_channels(tmp_path):
    path = write_wav(tmp_path / "phone.wav", tone(1.5, 8000, 1), 8000)
    assert probe_sound(path) == SoundInfo(1.5, 8000, 1)


def test_probe_sound_refuses_an_upload_that_broke_off(tmp_path):
    samples = bursts(2)
    path = write_video(tmp_path / "a.mp4", numbered_frames(48), samples=samples, faststart=True)
    with pytest.raises(BadInput, match="cut off"):
        probe_sound(cut_off(path, 0.8))


def test_resample_gives_rate_and_channels():
    sound = Sound(tone(1, 8000, 1), 8000)
    assert resample(sound, 8000, 1) is sound
    converted = resample(sound, 48_000, 2)
    assert (converted.samples.shape, converted.rate) == ((2, 48_000), 48_000)
    assert resample(Sound(tone(1, 48_000, 6), 48_000), 48_000, 2).channels == 2


@pytest.mark.parametrize("seconds", [0.1, 1, 1.00001, 121 / 24, 2.5])
def test_fit_length_is_exact(seconds):
    sound = Sound(bursts(2), 48_000)
    fitted = fit_length(sound, seconds)
    count = round(seconds * 48_000)
    assert fitted.samples.shape == (2, count)
    kept = min(count, 96_000)
    assert np.array_equal(fitted.samples[:, :kept], sound.samples[:, :kept])
    assert not fitted.samples[:, kept:].any()


def test_add_noise_floor_is_faint_and_repeatable():
    silence = Sound(np.zeros((2, 48_000), np.float32), 48_000)
    noisy = add_noise_floor(silence, 60, seed=7)
    assert level(noisy.samples) == pytest.approx([1e-3, 1e-3], rel=0.02)
    assert np.array_equal(noisy.samples, add_noise_floor(silence, 60, seed=7).samples)
    assert not np.array_equal(noisy.samples, add_noise_floor(silence, 60, seed=8).samples)
    assert noisy.samples.dtype == np.float32


def test_add_noise_floor_leaves_the_sound_and_its_range():
    sound = Sound(2 * tone(0.1), 48_000)
    noisy = add_noise_floor(sound, 40, seed=1)
    assert np.abs(noisy.samples).max() <= 1
    assert np.abs(noisy.samples - sound.samples).max() < 0.06
    assert np.array_equal(add_noise_floor(sound, float("inf"), 1).samples, sound.samples)
    with pytest.raises(ValueError, match="not negative"):
        add_noise_floor(sound, -60, seed=1)
