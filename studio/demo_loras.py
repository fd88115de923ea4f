"""Tiny LoRAs in the published files' format and spelling, one for each of the registry."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import torch
from safetensors.torch import save_file

from studio.demo_init import uniform
from studio.families import LTX, QWEN_IMAGE
from studio.registry import Adapter
from studio.weights_lora import ltx_original_name

RANK = 4
# Not the rank, so that a reader that forgets the factor alpha / rank is found out.
LIGHTNING_ALPHA = 2.0
# How much of a layer's own output a LoRA adds at strength 1: seen at once, nothing destroyed.
EFFECT = 0.25

# Trained pictures are kept: more than this, and a random LoRA bends their outlines.
TRAINED_EFFECT = 0.02

# The distilled LoRA reaches every layer, the others only these.
_CONTROL_LAYERS = (".attn1.", ".attn2.", ".ff.")


def write_lightning_loras(folder: Path, transformer: torch.nn.Module, trained: Path) -> None:
    """Qwen-Image-Lightning's format: bare names, lora_down/lora_up with alpha.

    Those in the folder `trained` are taken as they are.
    """
    folder.mkdir()
    for name in QWEN_IMAGE.adapters:
        path = folder / f"{name}.safetensors"
        kept = trained / path.name
        if kept.is_file():
            shutil.copyfile(kept, path)
        else:
            save_file(_lightning(name, transformer), path)


def _lightning(name: str, transformer: torch.nn.Module) -> dict[str, torch.Tensor]:
    tensors = {}
    for layer, down, up in _factors(name, transformer, ("transformer_blocks.",)):
        tensors[f"{layer}.lora_down.weight"] = down
        tensors[f"{layer}.lora_up.weight"] = up * (TRAINED_EFFECT * RANK / LIGHTNING_ALPHA)
        tensors[f"{layer}.alpha"] = torch.tensor(LIGHTNING_ALPHA)
    return tensors


def write_ltx_loras(folder: Path, transformer: torch.nn.Module) -> None:
    """LTX-2's format: original layer names behind `diffusion_model.`, lora_A/lora_B, bfloat16."""
    folder.mkdir()
    for name, adapter in LTX.adapters.items():
        tensors = {}
        parts = ("",) if name == "distilled" else _CONTROL_LAYERS
        for layer, down, up in _factors(name, transformer, parts):
            key = f"diffusion_model.{ltx_original_name(layer)}"
            tensors[f"{key}.lora_A.weight"] = down.bfloat16()
            tensors[f"{key}.lora_B.weight"] = (up * EFFECT).bfloat16()
        save_file(tensors, folder / f"{name}.safetensors", _metadata(adapter))


def _factors(
    name: str, transformer: torch.nn.Module, parts: tuple[str, ...]
) -> Iterator[tuple[str, torch.Tensor, torch.Tensor]]:
    """Layer, down [rank, in] and up [out, rank] of the linear layers whose names have a part."""
    for layer, module in transformer.named_modules():
        if isinstance(module, torch.nn.Linear) and any(part in layer for part in parts):
            down = uniform((RANK, module.in_features), f"{name} {layer} down")
            up = uniform((module.out_features, RANK), f"{name} {layer} up")
            yield layer, down, up


def _metadata(adapter: Adapter) -> dict[str, str] | None:
    """What a control LoRA's header says of the size of its control clip."""
    if adapter.reference_downscale == 1:
        return None
    return {"reference_downscale_factor": str(adapter.reference_downscale)}
