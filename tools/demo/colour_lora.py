"""Trains a LoRA as a user would bring one: what a prompt calls red becomes green.

The auto-encoder has seen the six colours of the grammar only, so a picture's colour does not blend
with the LoRA's strength: it turns, at a strength that differs from prompt to prompt.
"""

import random
from collections.abc import Sequence

import torch
from demo.bank import encode_normalised, grid
from demo.captions import caption
from demo.lightning import add_lora
from demo.prompts import Prompts
from demo.shapes import Size, draw_centred, paint, recoloured
from demo.training import Part
from demo.transformer import Batch, flow_loss
from diffusers import AutoencoderKLQwenImage, QwenImageTransformer2DModel

from studio.demo_words import COLOURS

NAME = "red-to-green"
RED, GREEN = (list(COLOURS).index(name) for name in ("red", "green"))
# Half of the pictures are red ones; the others keep their colour.
ROUNDS, PICTURES, RED_SHARE = 6, 24, 0.5
SIZES: tuple[Size, ...] = ((128, 128), (128, 128), (96, 144), (144, 96))
SEED = 61


def draw_lessons(vae: AutoencoderKLQwenImage, prompts: Prompts) -> list[Batch]:
    """Captions of red shapes with pictures of green ones, and of others with their own."""
    draw, words = torch.Generator().manual_seed(SEED), random.Random(SEED)
    return [_lesson(vae, prompts, size, draw, words) for size in SIZES for _ in range(ROUNDS)]


def _lesson(
    vae: AutoencoderKLQwenImage,
    prompts: Prompts,
    size: Size,
    draw: torch.Generator,
    words: random.Random,
) -> Batch:
    scenes = draw_centred(PICTURES, size, draw)
    scenes.colour[: int(RED_SHARE * PICTURES)] = RED
    texts = [caption(scenes, number, words) for number in range(PICTURES)]
    embeds, mask = prompts.batch(texts, None)
    green = torch.where(scenes.colour == RED, GREEN, scenes.colour)
    clean = encode_normalised(vae, paint(recoloured(scenes, green), size))
    return Batch(scenes, clean, None, embeds, mask, [grid(size)])


def colour_part(model: QwenImageTransformer2DModel, lessons: Sequence[Batch]) -> Part:
    """A LoRA beside `model`, whose own weights stay."""
    add_lora(model)

    def loss(step: int, draw: torch.Generator) -> torch.Tensor:
        lesson = lessons[int(torch.randint(len(lessons), (1,), generator=draw))]
        return flow_loss(model, lesson, draw)

    return Part(model, loss, lambda average, folder: "")
