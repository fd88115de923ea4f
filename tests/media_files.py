"""Test media, drawn on the spot: odd pictures, odd sounds, odd videos, damaged files.

Pictures have a colour of their own in each quarter and frames carry their number, so that a test
can tell what was turned, cropped, dropped or shown twice.
"""

import io
import struct
import wave
import zlib
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from PIL import Image

QUARTERS = {
    "red": (220, 30, 30),
    "green": (30, 200, 30),
    "blue": (30, 30, 220),
    "white": (255,) * 3,
}
"""Top left, top right, bottom left, bottom right."""

ORIENTATION_TAG = 0x0112
NUMBER_BITS = 10


# Pictures


def quarters(width: int = 96, height: int = 64) -> Image.Image:
    """Red, green over blue, white."""
    pixels = np.empty((height, width, 3), np.uint8)
    red, green, blue, white = QUARTERS.values()
    top, left = slice(None, height // 2), slice(None, width // 2)
    bottom, right = slice(height // 2, None), slice(width // 2, None)
    pixels[top, left], pixels[top, right] = red, green
    pixels[bottom, left], pixels[bottom, right] = blue, white
    return Image.fromarray(pixels)


def quarter_names(picture: Image.Image | np.ndarray) -> list[str]:
    """The nearest colour name of each quarter: top left, top right, bottom left, bottom right."""
    pixels = np.asarray(picture).astype(int)
    height, width = pixels.shape[:2]
    rows, columns = (height // 4, height * 3 // 4), (width // 4, width * 3 // 4)
    return [_nearest_name(pixels[y, x]) for y in rows for x in columns]


def _nearest_name(colour: np.ndarray) -> str:
    return min(QUARTERS, key=lambda name: int(np.abs(colour - QUARTERS[name]).sum()))


def write_turned_jpeg(path: Path, orientation: int, width: int = 96, height: int = 64) -> Path:
    """The quarters as stored, with the EXIF orientation that a camera would add."""
    exif = Image.Exif()
    exif[ORIENTATION_TAG] = orientation
    quarters(width, height).save(path, exif=exif, quality=95)
    return path


def write_grey16_png(path: Path, values: np.ndarray) -> Path:
    """A 16-bit grey PNG of uint16 [height, width]."""
    Image.fromarray(values.astype(np.uint16)).save(path)
    return path


def write_png_header(path: Path, width: int, height: int) -> Path:
    """A black-and-white PNG that claims its size and holds next to nothing."""
    header = struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0)
    chunks = [(b"IHDR", header), (b"IDAT", zlib.compress(b"\0" * 64)), (b"IEND", b"")]
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(_png_chunk(*chunk) for chunk in chunks))
    return path


def _png_chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def noise(height: int, width: int, spread: float, seed: int = 0) -> np.ndarray:
    """Grey noise around the middle, uint8 [height, width, 3]."""
    grey = np.random.default_rng(seed).normal(128, spread, (height, width, 1))
    return np.repeat(np.clip(grey, 0, 255).astype(np.uint8), 3, axis=2)


# Sounds


def tone(seconds: float, rate: int = 48_000, channels: int = 2, hertz: float = 440) -> np.ndarray:
    """A sine at half of full scale, float32 [channels, n]."""
    times = np.arange(round(seconds * rate)) / rate
    return np.tile(0.5 * np.sin(2 * np.pi * hertz * times), (channels, 1)).astype(np.float32)


def bursts(seconds: float, rate: int = 48_000, channels: int = 2, seed: int = 0) -> np.ndarray:
    """Noise that comes and goes: only one shift of it fits, and a lossy codec keeps that."""
    random = np.random.default_rng(seed)
    count = round(seconds * rate)
    low = np.convolve(random.standard_normal(count + 15), np.ones(16) / 16, "valid")
    envelope = np.repeat(random.random(count // 400 + 1), 400)[:count]
    return np.tile(low * envelope * 0.5, (channels, 1)).astype(np.float32)


def write_wav(path: Path, samples: np.ndarray, rate: int) -> Path:
    """16-bit PCM of float [channels, n]."""
    with wave.open(str(path), "wb") as file:
        file.setnchannels(samples.shape[0])
        file.setsampwidth(2)
        file.setframerate(rate)
        file.writeframes((np.clip(samples.T, -1, 1) * 32767).round().astype("<i2").tobytes())
    return path


def write_sound(
    path: Path, samples: np.ndarray, rate: int, codec: str, layout: str = "stereo"
) -> Path:
    """The samples in the container that the path's suffix names."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=rate, layout=layout)
        container.mux(stream.encode(_audio_frame(samples, rate, layout)))
        container.mux(stream.encode())
    return path


def write_song_with_cover(path: Path, samples: np.ndarray, rate: int) -> Path:
    """An MP3 with a cover picture, which FFmpeg shows as a video stream."""
    cover = io.BytesIO()
    quarters().save(cover, "PNG")
    write_sound(path, samples, rate, "libmp3lame")
    picture = b"\0image/png\0\x03\0" + cover.getvalue()
    frame = b"APIC" + struct.pack(">IH", len(picture), 0) + picture
    path.write_bytes(b"ID3\x03\0\0" + _synchsafe(len(frame)) + frame + path.read_bytes())
    return path


def _synchsafe(number: int) -> bytes:
    return bytes(number >> shift & 0x7F for shift in (21, 14, 7, 0))


def _audio_frame(samples: np.ndarray, rate: int, layout: str) -> av.AudioFrame:
    frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(samples), "fltp", layout)
    frame.sample_rate, frame.pts, frame.time_base = rate, 0, Fraction(1, rate)
    return frame


# Videos


def numbered_frames(count: int, width: int = 80, height: int = 48) -> np.ndarray:
    """Frames [count, height, width, 3] that show their number as dark and light columns."""
    columns = np.arange(width) * NUMBER_BITS // width
    numbers = np.arange(count)[:, None]
    bits = numbers >> columns & 1
    rows = np.where(bits, 215, 40).astype(np.uint8)
    return np.ascontiguousarray(np.broadcast_to(rows[:, None, :, None], (count, height, width, 3)))


def frame_number(frame: np.ndarray) -> int:
    """The number that a frame of `numbered_frames` shows, at any size and after coding."""
    middle = np.asarray(frame)[frame.shape[0] // 2].mean(axis=1)
    centres = ((np.arange(NUMBER_BITS) + 0.5) * len(middle) / NUMBER_BITS).astype(int)
    return int(sum(1 << bit for bit, x in enumerate(centres) if middle[x] > 128))


def write_video(
    path: Path,
    frames: np.ndarray,
    fps: float = 24,
    *,
    times: list[float] | None = None,
    samples: np.ndarray | None = None,
    rate: int = 48_000,
    rotation: int = 0,
    mirrored: bool = False,
    faststart: bool = False,
    codec: str = "libx264",
) -> Path:
    """Frames [n, height, width, 3] at `fps`, or at `times` in seconds as phones record them.

    `rotation` is what a player must turn the pictures by, in degrees counterclockwise.
    """
    time_base = Fraction(1, 90_000) if times else 1 / Fraction(fps).limit_denominator(1001)
    options = {"movflags": "faststart"} if faststart and path.suffix == ".mp4" else {}
    with av.open(str(path), "w", options=options) as container:
        stream = container.add_stream(codec, rate=1 / time_base if not times else 24)
        stream.height, stream.width = frames.shape[1:3]
        stream.pix_fmt = "yuv420p"
        stream.codec_context.time_base = time_base
        if rotation or mirrored:
            stream.set_display_rotation(rotation, hflip=mirrored)
        if samples is not None:
            sound = container.add_stream("aac", rate=rate, layout="stereo")
            container.mux(sound.encode(_audio_frame(samples, rate, "stereo")))
            container.mux(sound.encode())
        for index, pixels in enumerate(frames):
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(pixels), "rgb24")
            frame.pts = round(times[index] / time_base) if times else index
            frame.time_base = time_base
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


# Damage


def cut_off(path: Path, share: float = 0.5) -> Path:
    """Keeps only the first part of the file, as a broken upload does."""
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * share)])
    return path
