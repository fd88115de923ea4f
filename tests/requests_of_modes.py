"""Requests that every mode accepts, with real media, and another value for every control."""

import wave
from dataclasses import replace
from pathlib import Path

import numpy as np
from PIL import Image

from studio.fields import (
    ChoiceControl,
    Field,
    LoraControl,
    MediaControl,
    NumberControl,
    TextControl,
    ToggleControl,
)
from studio.media_clips import write_clip
from studio.modes import MODES


class Media:
    """Two different files of every kind, drawn once into a folder."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.files = {
            kind: [draw(folder, number) for number in range(2)]
            for kind, draw in (("image", draw_image), ("audio", draw_sound), ("video", draw_clip))
        }

    def path(self, kind: str, number: int = 0) -> str:
        return str(self.files[kind][number])


def draw_image(folder: Path, number: int) -> Path:
    path = folder / f"picture {number}.png"
    across = np.linspace(0, 255, 96, dtype=np.uint8)
    pixels = np.zeros((64 + 32 * number, 96, 3), np.uint8)
    pixels[..., number] = across
    pixels[20:40, 30:60] = 200
    Image.fromarray(pixels).save(path)
    return path


def draw_sound(folder: Path, number: int) -> Path:
    path = folder / f"sound {number}.wav"
    rate, seconds = 16000, 1.0 + number
    time = np.arange(int(rate * seconds)) / rate
    tone = np.sin(2 * np.pi * (300 + 200 * number) * time) * np.sin(np.pi * time) ** 2
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(rate)
        file.writeframes((tone * 12000).astype("<i2").tobytes())
    return path


def draw_clip(folder: Path, number: int) -> Path:
    path = folder / f"clip {number}.mp4"
    frames = np.full((25 + 16 * number, 64, 96, 3), 40, np.uint8)
    for index, frame in enumerate(frames):
        frame[20:44, index : index + 24] = (220, 120, 60 + 60 * number)
    write_clip(path, frames, 24, None, {})
    return path


def raw_request(mode_id: str, media: Media, **more: object) -> dict[str, object]:
    """The least that the mode needs, small, with seed 1; `more` adds or replaces values."""
    mode = MODES[mode_id]
    raw: dict[str, object] = {"prompt": "a red circle", "seed": 1}
    raw |= {field.name: [media.path(field.kind)] for field in mode.media if field.required}
    return {**raw, **more}


def another(field: Field, media: Media, lora: str) -> list[object]:
    """Values of the control that differ from its default and from those of `raw_request`."""
    if isinstance(field, TextControl):
        return ["a blue square"]
    if isinstance(field, NumberControl):
        return [_another_number(field)]
    if field.name == "shape":
        # No input drawn here has it, and no weights as their usual one.
        return ["9:16"]
    if isinstance(field, ChoiceControl):
        return [option.value for option in field.options if option.value != field.default]
    if isinstance(field, ToggleControl):
        return [not field.default]
    if isinstance(field, MediaControl):
        return [[media.path(field.kind, 1)]]
    assert isinstance(field, LoraControl)
    return [[f"{lora}:0.5"], [f"{lora}:0.7"]]


def _another_number(field: NumberControl) -> float:
    known = {"seed": 2, "width": 176, "height": 144, "seconds": 0.4, "longest_side": 64}
    if field.name in known:
        return known[field.name]
    halfway = (field.minimum + field.maximum) / 2
    halfway = field.maximum if halfway == field.default else halfway
    return int(halfway) if field.integer else halfway


def without_notes(plan: object) -> object:
    """The plan without its notes: two plans that differ only in what they say do the same."""
    return replace(plan, notes=())
