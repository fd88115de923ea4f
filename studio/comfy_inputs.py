"""Writes what a clip is given into a job's own input folder, as ComfyUI's loaders read it."""

import os
import shutil
import wave
import zlib
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

from studio.clip_media import anchor_picture, control_frames, heard_sound
from studio.comfy_graphs import CONTROL, FIRST, LAST, SOUND
from studio.media_clips import Frames
from studio.media_sound import Sound, resample
from studio.plan import Clip, Plan
from studio.progress import Progress

HEARD_RATE, HEARD_CHANNELS = 16_000, 2
"""Of LTX-2.3's audio VAE."""

ENCODER_RATE, ENCODER_BLOCK = 44_100, 4096
"""ComfyUI takes every sound to this rate before it encodes it, and cuts both ends of what is no
whole number of blocks, up to 46 ms of the beginning: lips would move too early."""


def write_inputs(plan: Plan, clip: Clip, folder: Path, progress: Progress) -> None:
    """Only what acts; names are ours, never the user's.

    Raises OSError for the disk, BadInput, and as `clip_media.control_frames`.

    Nothing is lost on the way: pictures as PNG, frames as FFV1, the sound as 16-bit WAV.
    """
    folder.mkdir(parents=True)
    for anchor, name in ((clip.first, FIRST), (clip.last, LAST)):
        if anchor and anchor.strength:
            anchor_picture(plan, anchor).save(folder / name)
    if clip.sound:
        sound = heard_sound(plan, clip, clip.sound, HEARD_RATE, HEARD_CHANNELS)
        _write_wav(folder / SOUND, _in_blocks(resample(sound, ENCODER_RATE, HEARD_CHANNELS)))
    if clip.control and clip.control.strength:
        frames = control_frames(plan, clip, clip.control, progress)
        _write_lossless(folder / CONTROL, frames, clip.fps)


def stage_placeholders(graphs: Path, folder: Path) -> None:
    """Has the files of `graphs`/inputs in a job's input folder, under their own names.

    ComfyUI refuses a graph whose loaders name files that are not there, also where nothing of
    them is used: so go the defaults in graphs that were saved elsewhere. Raises OSError.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for file in sorted((graphs / "inputs").glob("*")):
        target = folder / file.name
        if file.is_file() and not target.exists():
            shutil.copyfile(file, target)


def _in_blocks(sound: Sound) -> Sound:
    """Continued with silence; the graph cuts the latents to the clip's length."""
    missing = -sound.samples.shape[1] % ENCODER_BLOCK
    return Sound(np.pad(sound.samples, ((0, 0), (0, missing))), sound.rate)


def _write_wav(path: Path, sound: Sound) -> None:
    levels = np.rint(sound.samples.T * 32767).astype("<i2")
    with wave.open(str(path), "wb") as file:
        file.setnchannels(sound.channels)
        file.setsampwidth(levels.itemsize)
        file.setframerate(sound.rate)
        file.writeframes(levels.tobytes())


def _write_lossless(path: Path, frames: Frames, fps: int) -> None:
    with av.open(str(path), "w") as container:
        stream = container.add_stream("ffv1", rate=fps)
        stream.width, stream.height, stream.pix_fmt = frames.shape[2], frames.shape[1], "bgr0"
        for index, picture in enumerate(frames):
            frame = av.VideoFrame.from_ndarray(picture, "rgb24")
            frame.pts, frame.time_base = index, Fraction(1, fps)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    # ComfyUI tells a changed video by its time alone: the same frames get the same time, so that
    # another seed does not read and encode them again.
    mark = zlib.crc32(np.ascontiguousarray(frames).data)
    os.utime(path, (mark, mark))
