"""Files of LoRAs whose layers a test names, and the layers of a model."""

import json
import struct
from collections.abc import Mapping
from pathlib import Path

import torch

RANK = 4


def write_header(path: Path, shapes: Mapping[str, tuple[int, ...]], **metadata: str) -> Path:
    """A safetensors file whose tensors are a hole: real sizes, no disk."""
    content: dict[str, object] = {"__metadata__": metadata} if metadata else {}
    end = 0
    for key, shape in shapes.items():
        begin, end = end, end + 2 * torch.Size(shape).numel()
        content[key] = {"dtype": "BF16", "shape": shape, "data_offsets": [begin, end]}
    raw = json.dumps(content).encode()
    with path.open("wb") as file:
        file.write(struct.pack("<Q", len(raw)) + raw)
        file.truncate(8 + len(raw) + end)
    return path


def lora_shapes(layers: Mapping[str, tuple[int, int]]) -> dict[str, tuple[int, ...]]:
    """Keys in the lora_A / lora_B spelling for layers of (in, out) features."""
    shapes: dict[str, tuple[int, ...]] = {}
    for layer, (inside, outside) in layers.items():
        shapes[f"{layer}.lora_A.weight"] = (RANK, inside)
        shapes[f"{layer}.lora_B.weight"] = (outside, RANK)
    return shapes


def modules_of(model: torch.nn.Module) -> dict[str, tuple[int, int]]:
    return {
        name: (module.in_features, module.out_features)
        for name, module in model.named_modules()
        if isinstance(module, torch.nn.Linear)
    }
