"""Draws the pictures, the sound and the clip of the examples: `python tools/draw_examples.py`."""

import sys
import wave
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

sys.path.insert(0, str(Path(__file__).parents[1]))

from studio.examples import FOLDER
from studio.media_clips import write_clip

# The shape of the demo weights' clips, so that nothing is cut off.
SIZE = (480, 288)
RADIUS = 54
RED, BLUE, WHITE = (225, 35, 35), (45, 75, 230), (245, 245, 245)
FPS, FRAMES = 24, 49
RATE, SECONDS = 16_000, 3
LEFT, RIGHT = 110, 370


def main() -> None:
    """Write all of them into the examples' folder."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    _circle(LEFT).save(FOLDER / "red-circle.png")
    _circle(RIGHT).save(FOLDER / "red-circle-right.png")
    _square().save(FOLDER / "blue-square.png")
    places = np.linspace(LEFT, RIGHT, FRAMES)
    frames = np.stack([np.asarray(_circle(float(place))) for place in places])
    write_clip(FOLDER / "circle-moves.mp4", frames, FPS, None, {})
    _write_swells(FOLDER / "swells.wav")


def _circle(x: float) -> Image.Image:
    image, y = Image.new("RGB", SIZE, WHITE), SIZE[1] / 2
    ImageDraw.Draw(image).ellipse((x - RADIUS, y - RADIUS, x + RADIUS, y + RADIUS), fill=RED)
    return image


def _square() -> Image.Image:
    image, (x, y) = Image.new("RGB", SIZE, WHITE), (LEFT, SIZE[1] / 2)
    ImageDraw.Draw(image).rectangle((x - RADIUS, y - RADIUS, x + RADIUS, y + RADIUS), fill=BLUE)
    return image


def _write_swells(path: Path) -> None:
    """A tone that swells and fades once a second."""
    time = np.arange(RATE * SECONDS) / RATE
    tone = np.sin(2 * np.pi * 330 * time) * np.sin(np.pi * time) ** 2
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(RATE)
        file.writeframes((tone * 16_000).astype("<i2").tobytes())


if __name__ == "__main__":
    main()
