"""Trains the Lightning LoRAs: in few steps to where the model itself comes in many guided ones.

The model draws pictures out of noise; a LoRA learns the straight way from each noise to its
picture (rectified flow, Liu 2022), at the noise levels of its own few steps alone.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path

import torch
from demo.bank import Bank
from demo.prompts import Prompts
from demo.sampling import noise_levels
from demo.training import Part
from demo.transformer import Batch, draw_batch, edit_batch, velocity, velocity_loss
from diffusers import QwenImageTransformer2DModel
from peft import LoraConfig
from peft.utils import get_peft_model_state_dict
from safetensors.torch import save_file

from studio.demo_loras import LIGHTNING_ALPHA, RANK
from studio.diffusers_qwen import NO_NEGATIVE

TEACHER_STEPS, GUIDANCE = 12, 2.0
DRAWN_AT_ONCE, EDITED_AT_ONCE = 32, 20
LAYERS = [
    *("attn.to_q", "attn.to_k", "attn.to_v", "attn.to_out.0"),
    *("attn.add_q_proj", "attn.add_k_proj", "attn.add_v_proj"),
    *("img_mlp.net.0.proj", "img_mlp.net.2"),
]


@dataclass(frozen=True)
class Lesson:
    """Noise and what the model makes of it, both [n, tokens, 64], in place of `batch.clean`."""

    batch: Batch
    noise: torch.Tensor


@torch.no_grad()
def draw_lessons(
    model: QwenImageTransformer2DModel,
    banks: Sequence[Bank],
    prompts: Prompts,
    rounds: int,
    draw: torch.Generator,
) -> list[Lesson]:
    """In each round a batch for every bank: of edits where it has pictures to edit."""
    lessons = []
    for _ in range(rounds):
        for bank in banks:
            make, count = (
                (draw_batch, DRAWN_AT_ONCE) if bank.seen is None else (edit_batch, EDITED_AT_ONCE)
            )
            batch = make(bank, prompts, count, draw, unprompted=0.0)
            lessons.append(_lesson(model, batch, _unprompted(batch, prompts, bank), draw))
    return lessons


def _unprompted(batch: Batch, prompts: Prompts, bank: Bank) -> Batch:
    embeds, mask = prompts.batch([NO_NEGATIVE] * len(batch.clean), bank.aspect.seen)
    return replace(batch, embeds=embeds, mask=mask)


def _lesson(
    model: QwenImageTransformer2DModel, batch: Batch, blank: Batch, draw: torch.Generator
) -> Lesson:
    noise = torch.randn(batch.clean.shape, generator=draw)
    latents, levels = noise, noise_levels(TEACHER_STEPS)
    for level, following in pairwise(levels):
        now = level.expand(len(latents))
        away, toward = (velocity(model, latents, now, one) for one in (blank, batch))
        latents = latents + (following - level) * (away + GUIDANCE * (toward - away))
    return Lesson(replace(batch, clean=latents), noise)


def add_lora(model: QwenImageTransformer2DModel) -> None:
    """Beside the model's own weights, which stay."""
    model.add_adapter(LoraConfig(r=RANK, lora_alpha=RANK, target_modules=LAYERS))


def lightning_part(
    model: QwenImageTransformer2DModel, lessons: Sequence[Lesson], steps: int
) -> Part:
    """A LoRA beside `model`, whose own weights stay; `steps` are those of the preset."""
    add_lora(model)
    levels = noise_levels(steps)[:-1]

    def loss(step: int, draw: torch.Generator) -> torch.Tensor:
        lesson = lessons[int(torch.randint(len(lessons), (1,), generator=draw))]
        clean = lesson.batch.clean
        level = levels[torch.randint(len(levels), (len(clean),), generator=draw)]
        noisy = torch.lerp(clean, lesson.noise, level[:, None, None])
        slope = velocity(model, noisy, level, lesson.batch)
        return velocity_loss(slope, clean, lesson.noise)

    return Part(model, loss, lambda average, folder: "")


def save_lora(model: QwenImageTransformer2DModel, path: Path) -> None:
    """In Qwen-Image-Lightning's format, in half precision."""
    path.parent.mkdir(parents=True, exist_ok=True)
    tensors = {}
    for name, value in get_peft_model_state_dict(model).items():
        layer, _, kind = name.removesuffix(".weight").rpartition(".")
        factor = RANK / LIGHTNING_ALPHA if kind == "lora_B" else 1.0
        spelled = {"lora_A": "lora_down", "lora_B": "lora_up"}[kind]
        tensors[f"{layer}.{spelled}.weight"] = (value * factor).half().contiguous()
        tensors[f"{layer}.alpha"] = torch.tensor(LIGHTNING_ALPHA)
    save_file(tensors, path)
