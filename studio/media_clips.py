"""Clips in and out: checked, read by presentation time, written as H.264 and AAC in MP4."""

import itertools
import math
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from itertools import chain, islice
from pathlib import Path
from typing import Any

import av
import numpy as np
from av.audio.stream import AudioStream
from av.container import InputContainer, OutputContainer
from av.video.reformatter import Colorspace
from av.video.stream import VideoStream
from numpy.typing import NDArray
from PIL import Image

from studio import sizes
from studio.errors import BadInput
from studio.media_frames import EXACT, pixel_aspect, shown_at, upright_rgb, upright_size
from studio.media_images import MIN_SIDE, small_jpeg
from studio.media_sound import Sound, audio_frame, resample
from studio.media_streams import decoded, measure, opened_container, video_stream

Frames = NDArray[np.uint8]
"""RGB pictures [frames, height, width, 3]."""

MAX_SECONDS = 120
"""Several times the longest clip that the modes make; more is a film to be cut first."""

MAX_FRAME_PIXELS = 8192 * 4320
"""8K, the most that cameras and H.264 level 6.2 have."""

CRF = 16
"""x264's constant quality. 18 is held to be visually lossless (FFmpeg's H.264 guide); two finer,
because results are cut and edited again."""

X264_THREADS = 4
"""x264's result depends on the number of threads, so it must not follow the machine's cores."""

AUDIO_BIT_RATE = 192_000
"""FFmpeg's AAC encoder is transparent to most listeners from here on, for stereo."""

AUDIO_RATES = (44_100, 48_000)
"""Rates that are kept. Others become 48 kHz, the rate of the models' own sound."""

KEYFRAME_SECONDS = 2
"""Apart. A page's slider jumps between key frames; x264's own 250 frames are ten seconds."""

POSTER_SIDE = 512

_USABLE = "an MP4, MOV or WebM file that is whole"

_NTSC_TOLERANCE = 2e-4
"""Relative. "23.98" is 1.6e-4 off; the true 24 is 1e-3 off."""

_BT709 = 1
_MPEG_RANGE = 1
"""Numbers of ISO/IEC 23091-2, as FFmpeg has them."""


@dataclass(frozen=True)
class ClipInfo:
    """Width and height are those of the upright picture with square pixels."""

    width: int
    height: int
    seconds: float
    fps: float
    """The mean, where the frame rate varies."""
    frames_estimate: int
    """Exact for files that are not interlaced."""
    has_sound: bool


def probe_clip(path: Path) -> ClipInfo:
    """What the file holds, without decoding more than its first frame.

    Raises BadInput: missing, empty, no video in it, damaged, cut off, a single picture, smaller
    than MIN_SIDE, larger than MAX_FRAME_PIXELS, or over MAX_SECONDS.
    """
    with _opened(path) as (container, stream):
        extent = measure(container, stream, MAX_SECONDS)
        if extent.seconds > MAX_SECONDS:
            raise BadInput(
                f"This video is longer than {MAX_SECONDS} seconds: cut out the part that you want."
            )
        if extent.first is None:
            raise _nothing_to_see()
        if extent.cut_off:
            raise BadInput("This video is cut off, its end is missing: upload it again.")
        if extent.packets < 2:
            raise BadInput("This video has a single picture in it: use one that moves.")
        width, height = upright_size(extent.first, pixel_aspect(stream))
        _check_size(width, height)
        return ClipInfo(
            width,
            height,
            extent.seconds,
            float(stream.average_rate or extent.packets / extent.seconds),
            extent.packets,
            bool(container.streams.audio),
        )


def load_frames(
    path: Path,
    fps: float | Fraction,
    count: int,
    width: int | None = None,
    height: int | None = None,
) -> Frames:
    """At most `count` frames of the clip: frame k is what is seen `k / fps` seconds into it.

    With both `width` and `height`, each is the middle of the picture scaled to fill them; else
    the picture's own size. Fewer frames come back where the clip ends before. Raises BadInput
    as `probe_clip`, for what keeps it from being read at all.
    """
    size = (width, height) if width and height else None
    with _opened(path) as (container, stream):
        stream.thread_type = "AUTO"
        shown = shown_at(decoded(container, stream), exact_fps(fps), stream.average_rate)
        return _collected(shown, count, pixel_aspect(stream), size)


def first_frame(path: Path) -> Image.Image:
    """The upright picture that the clip starts with. Raises BadInput as `load_frames`."""
    with _opened(path) as (container, stream):
        frame = next(decoded(container, stream), None)
        if frame is None:
            raise _nothing_to_see()
        return Image.fromarray(upright_rgb(frame, pixel_aspect(stream)))


def last_frame(path: Path) -> Image.Image:
    """The upright picture that the clip ends with. Raises BadInput as `load_frames`."""
    # Some containers cannot seek, or lie about their end: those are read from the start.
    image = _last_still(path, near_end=True) or _last_still(path, near_end=False)
    if image is None:
        raise _nothing_to_see()
    return image


def poster_jpeg(path: Path) -> bytes:
    """The first frame for a gallery, no side over POSTER_SIDE. Raises BadInput as `load_frames`."""
    return small_jpeg(first_frame(path), POSTER_SIDE)


def write_clip(
    path: Path,
    frames: Iterable[Frames],
    fps: float | Fraction,
    sound: Sound | None,
    metadata: Mapping[str, str],
) -> None:
    """Writes pictures [height, width, 3], or one array of them, as an MP4 that plays everywhere.

    The sound is cut, or continued with silence, to the length of the pictures; `metadata` becomes
    tags of the file. The same input gives the same file, whatever the machine's cores. Raises
    ValueError for no frames or odd sides, and OSError when the disk refuses.
    """
    rate = exact_fps(fps)
    pictures = iter(frames)
    first = next(pictures, None)
    if first is None:
        raise ValueError("a clip needs at least one frame")
    everything = chain([first], pictures)
    with _new_mp4(path, metadata) as container:
        video = _add_video(container, first.shape[1], first.shape[0], rate)
        tracks: list[tuple[VideoStream | AudioStream, Iterator[Any]]]
        tracks = [(video, _video_frames(everything, rate))]
        if sound is not None:
            sound = _playable(sound)
            tracks.append((_add_audio(container, sound), _audio_frames(sound, rate)))
        # In step, so that a player finds the sound beside its picture; the pictures end it.
        for frames_of_one_moment in zip(*(source for _, source in tracks), strict=False):
            for (stream, _), frame in zip(tracks, frames_of_one_moment, strict=True):
                container.mux(stream.encode(frame))
        for stream, _ in tracks:
            container.mux(stream.encode())


def exact_fps(fps: float | Fraction) -> Fraction:
    """The rate as a fraction; 23.976, 29.97 and 59.94 are short for 24, 30 and 60 over 1.001."""
    ntsc = Fraction(math.ceil(fps) * 1000, 1001)
    is_ntsc = abs(float(fps / ntsc) - 1) < _NTSC_TOLERANCE
    return ntsc if is_ntsc else Fraction(fps).limit_denominator(1000)


@contextmanager
def _opened(path: Path) -> Iterator[tuple[InputContainer, VideoStream]]:
    with opened_container(path, "a video", _USABLE, _nothing_to_see()) as container:
        yield container, _pictures_in(container)


def _pictures_in(container: InputContainer) -> VideoStream:
    stream = video_stream(container)
    if stream is None:
        raise BadInput("This file has no pictures in it, only sound: choose a video.")
    if stream.codec_context is None:
        raise _nothing_to_see()
    return stream


def _nothing_to_see() -> BadInput:
    return BadInput("No picture could be read from this video: it is damaged or cut off.")


def _check_size(width: int, height: int) -> None:
    if min(width, height) < MIN_SIDE:
        raise BadInput(
            f"This video is only {width} x {height} pixels:"
            f" use one of at least {MIN_SIDE} x {MIN_SIDE}."
        )
    if width * height > MAX_FRAME_PIXELS:
        raise BadInput(f"This video is {width} x {height} pixels, more than 8K: make it smaller.")


def _collected(
    shown: Iterator[av.VideoFrame], count: int, aspect: Fraction, size: tuple[int, int] | None
) -> Frames:
    """One array for all: a list of pictures and its copy would need the memory twice."""
    first = next(shown, None)
    if first is None:
        raise _nothing_to_see()
    pixels = upright_rgb(first, aspect, size)
    size = size or (pixels.shape[1], pixels.shape[0])
    collected = np.empty((count, *pixels.shape), np.uint8)
    taken, last = 0, first
    for frame in islice(chain([first], shown), count):
        if frame is not last:
            last, pixels = frame, upright_rgb(frame, aspect, size)
        collected[taken] = pixels
        taken += 1
    return collected[:taken]


def _last_still(path: Path, near_end: bool) -> Image.Image | None:
    with _opened(path) as (container, stream):
        if near_end and stream.duration is not None:
            # Goes to the last key frame before that time.
            container.seek((stream.start_time or 0) + stream.duration, stream=stream)
        last = deque(decoded(container, stream), maxlen=1)
        return Image.fromarray(upright_rgb(last[0], pixel_aspect(stream))) if last else None


def _new_mp4(path: Path, metadata: Mapping[str, str]) -> OutputContainer:
    options = {"movflags": "use_metadata_tags+faststart"}
    container: OutputContainer = av.open(str(path.absolute()), "w", format="mp4", options=options)
    container.metadata.update(metadata)
    return container


def _add_video(container: OutputContainer, width: int, height: int, fps: Fraction) -> VideoStream:
    if width % 2 or height % 2:
        raise ValueError(f"H.264 in 4:2:0 needs even sides, not {width} x {height}")
    options = {"crf": str(CRF), "preset": "medium"}
    stream = container.add_stream("libx264", rate=fps, options=options)
    stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
    codec = stream.codec_context
    # PyAV's default would cut every picture into slices, which costs quality.
    codec.thread_type, codec.thread_count = "FRAME", X264_THREADS
    codec.gop_size = round(KEYFRAME_SECONDS * fps)
    codec.color_primaries = codec.color_trc = codec.colorspace = _BT709
    codec.color_range = _MPEG_RANGE
    return stream


def _video_frames(pictures: Iterable[Frames], fps: Fraction) -> Iterator[av.VideoFrame]:
    for index, picture in enumerate(pictures):
        rgb = av.VideoFrame.from_ndarray(np.ascontiguousarray(picture), "rgb24")
        # The matrix by name: left alone, FFmpeg converts with BT.601, and colours shift.
        frame = rgb.reformat(
            format="yuv420p",
            dst_colorspace=Colorspace.ITU709,
            dst_color_range=_MPEG_RANGE,
            interpolation=EXACT,
            threads=1,
        )
        frame.pts, frame.time_base = index, 1 / fps
        yield frame


def _playable(sound: Sound) -> Sound:
    rate = sound.rate if sound.rate in AUDIO_RATES else max(AUDIO_RATES)
    return resample(sound, rate, min(2, sound.channels))


def _add_audio(container: OutputContainer, sound: Sound) -> AudioStream:
    layout = "mono" if sound.channels == 1 else "stereo"
    return container.add_stream("aac", rate=sound.rate, layout=layout, bit_rate=AUDIO_BIT_RATE)


def _audio_frames(sound: Sound, fps: Fraction) -> Iterator[av.AudioFrame]:
    """The sound in pieces that last as long as a picture; silence where it has ended."""
    start = 0
    for pictures in itertools.count(1):
        end = sizes.sample_count(pictures, float(fps), sound.rate)
        piece = sound.samples[:, start:end]
        missing = end - start - piece.shape[1]
        frame = audio_frame(np.pad(piece, ((0, 0), (0, missing))), sound.rate)
        frame.pts, frame.time_base = start, Fraction(1, sound.rate)
        yield frame
        start = end
