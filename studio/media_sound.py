"""Sound in: checked, decoded, resampled, cut to length."""

import math
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from itertools import chain, groupby
from pathlib import Path

import av
import numpy as np
from av.audio.stream import AudioStream
from av.container import InputContainer
from numpy.typing import NDArray

from studio.errors import BadInput
from studio.media_streams import decoded, measure, opened_container, start_seconds, video_stream

MAX_SECONDS = 600
"""A song with room to spare; clips take less than a minute of it. 230 MB as 48 kHz stereo."""

_USABLE = "a WAV, MP3, M4A, OGG or FLAC file"

MAX_CHANNELS = 8
"""7.1 surround; FFmpeg has no weights to mix most of what is beyond."""

_SAMPLES = "flt"
"""Float samples of all channels in turn. With a plane for each, PyAV 18 reads memory that is not
its own from eight channels on."""


@dataclass(frozen=True)
class SoundInfo:
    seconds: float
    rate: int
    channels: int


@dataclass(frozen=True, eq=False)
class Sound:
    """`samples` is float32 [channels, n] in [-1, 1], at `rate` samples per second."""

    samples: NDArray[np.float32]
    rate: int

    @property
    def channels(self) -> int:
        return int(self.samples.shape[0])

    @property
    def seconds(self) -> float:
        return float(self.samples.shape[1] / self.rate)


def probe_sound(path: Path) -> SoundInfo:
    """What the file holds, without decoding more than its first frame.

    Raises BadInput: missing, empty, no sound in it, damaged, cut off, or over MAX_SECONDS.
    """
    with _opened(path) as (container, stream):
        extent = measure(container, stream, MAX_SECONDS)
        if extent.seconds > MAX_SECONDS:
            raise _too_long()
        if extent.first is None or extent.seconds == 0:
            raise _nothing_to_hear()
        if extent.cut_off:
            raise BadInput("This sound is cut off, its end is missing: upload it again.")
        return SoundInfo(extent.seconds, stream.rate, stream.channels)


def load_sound(path: Path, rate: int | None = None, channels: int | None = None) -> Sound:
    """The sound of an audio or video file, at its own rate and channels where none are given.

    `channels` is 1 or 2: surround is mixed down as FFmpeg does (centre and rear at -3 dB, no
    LFE), mono is doubled. The sound of a video begins with its picture. Raises BadInput:
    missing, empty, no sound in it, damaged, or over MAX_SECONDS.
    """
    with _opened(path) as (container, stream):
        frames = decoded(container, stream)
        first = next(frames, None)
        if first is None:
            raise _nothing_to_hear()
        rate = rate or int(first.sample_rate)
        lead = _lead_seconds(container, first)
        if lead > MAX_SECONDS:
            raise _too_long()
        samples = _converted(_limited(chain([first], frames)), first.layout, rate, channels)
    samples = _delayed(samples, _sample_count(lead, rate))
    if samples.shape[1] == 0:
        raise _nothing_to_hear()
    return Sound(samples, rate)


def resample(sound: Sound, rate: int, channels: int) -> Sound:
    """The sound at another rate, and with 1 or 2 channels, mixed as in `load_sound`."""
    if (sound.rate, sound.channels) == (rate, channels):
        return sound
    frame = audio_frame(sound.samples, sound.rate)
    return Sound(_converted([frame], frame.layout, rate, channels), rate)


def fit_length(sound: Sound, seconds: float) -> Sound:
    """The sound cut, or continued with silence, to exactly `seconds`, half a sample up."""
    count = _sample_count(seconds, sound.rate)
    missing = max(0, count - sound.samples.shape[1])
    return Sound(np.pad(sound.samples[:, :count], ((0, 0), (0, missing))), sound.rate)


def add_noise_floor(sound: Sound, decibels: float, seed: int) -> Sound:
    """The sound over white noise, `decibels` below full scale (RMS); 60 is faint, inf is none.

    The same seed gives the same noise. Raises ValueError for a negative number of decibels.
    """
    if decibels < 0:
        raise ValueError("decibels below full scale are not negative")
    noise = np.random.default_rng(seed).standard_normal(sound.samples.shape, dtype=np.float32)
    level = np.float32(10 ** (-decibels / 20))
    return Sound(np.clip(sound.samples + level * noise, -1, 1), sound.rate)


def audio_frame(samples: NDArray[np.float32], rate: int) -> av.AudioFrame:
    """PyAV's frame of float samples [channels, n]; up to 8 channels."""
    packed = np.ascontiguousarray(samples.T).reshape(1, -1)
    frame = av.AudioFrame.from_ndarray(packed, _SAMPLES, f"{samples.shape[0]}c")
    frame.sample_rate = rate
    return frame


@contextmanager
def _opened(path: Path) -> Iterator[tuple[InputContainer, AudioStream]]:
    with opened_container(path, "a sound", _USABLE, _nothing_to_hear()) as container:
        yield container, _audio_stream(container)


def _audio_stream(container: InputContainer) -> AudioStream:
    if not container.streams.audio:
        raise BadInput("This file has no sound in it: choose one that has.")
    stream: AudioStream = container.streams.audio[0]
    if stream.codec_context is None:
        raise _nothing_to_hear()
    if stream.channels > MAX_CHANNELS:
        raise BadInput(f"This sound has {stream.channels} channels: save it in stereo first.")
    return stream


def _nothing_to_hear() -> BadInput:
    return BadInput("No sound could be read from this file: it is empty or damaged.")


def _too_long() -> BadInput:
    return BadInput(
        f"This sound is longer than {MAX_SECONDS // 60} minutes: cut out the part that you want."
    )


def _limited(frames: Iterable[av.AudioFrame]) -> Iterator[av.AudioFrame]:
    seconds = 0.0
    for frame in frames:
        seconds += frame.samples / frame.sample_rate
        if seconds > MAX_SECONDS:
            raise _too_long()
        yield frame


def _lead_seconds(container: InputContainer, first: av.AudioFrame) -> float:
    """How long after the picture the sound begins; negative where it begins before."""
    video = video_stream(container)
    if video is None or video.start_time is None or first.pts is None:
        return 0.0
    return float(Fraction(first.pts) * first.time_base - start_seconds(video))


def _converted(
    frames: Iterable[av.AudioFrame], layout: av.AudioLayout, rate: int, channels: int | None
) -> NDArray[np.float32]:
    present = layout.nb_channels
    if channels is None or channels == present:
        return _clipped(_resampled(frames, layout, rate))
    if present == 1:
        # FFmpeg would make mono quieter by 3 dB on its way to stereo.
        return np.repeat(_clipped(_resampled(frames, layout, rate)), channels, axis=0)
    stereo = _turned_down(_resampled(frames, "stereo", rate))
    # The mean, because FFmpeg makes what both sides have louder by 3 dB.
    return stereo if channels == 2 else stereo.mean(axis=0, keepdims=True)


def _resampled(
    frames: Iterable[av.AudioFrame], layout: av.AudioLayout | str, rate: int
) -> NDArray[np.float32]:
    parts = [np.zeros(0, np.float32)]
    # A stream may change its format midway (chained OGG, some AAC); a resampler may not.
    for _, run in groupby(frames, key=lambda f: (f.sample_rate, f.layout.name, f.format.name)):
        resampler = av.AudioResampler(_SAMPLES, layout, rate)
        for frame in chain(run, [None]):
            parts += [part.to_ndarray()[0] for part in resampler.resample(frame)]
    channels = av.AudioLayout(layout).nb_channels
    return np.nan_to_num(np.concatenate(parts).reshape(-1, channels).T)


def _clipped(samples: NDArray[np.float32]) -> NDArray[np.float32]:
    """Lossy formats overshoot full scale a little; players clip it."""
    return np.clip(samples, -1, 1)


def _turned_down(samples: NDArray[np.float32]) -> NDArray[np.float32]:
    """A mix may be far too loud as a whole; clipped it would be distorted."""
    peak = float(np.abs(samples).max(initial=0))
    return samples / np.float32(max(1.0, peak))


def _delayed(samples: NDArray[np.float32], count: int) -> NDArray[np.float32]:
    if count < 0:
        return samples[:, -count:]
    return np.pad(samples, ((0, 0), (count, 0)))


def _sample_count(seconds: float, rate: int) -> int:
    # Half up, as sizes.sample_count does.
    return math.floor(seconds * rate + 0.5)
