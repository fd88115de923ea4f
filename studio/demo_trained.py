"""Trained demo weights as they are kept: one half-precision file a model, frames it never uses out.

A causal convolution over time sees only its last slice when there is one frame; where a model was
trained on pictures alone the others are left out of the file and become zero.
"""

import json
from pathlib import Path
from typing import Any, TypeVar, cast

import torch
from safetensors import safe_open
from safetensors.torch import save_file

Model = TypeVar("Model", bound=torch.nn.Module)
SETTINGS = "settings"


def is_trained(path: Path) -> bool:
    """Whether there are trained weights at `path`, which has no suffix."""
    return _file(path).is_file()


@torch.no_grad()
def load_trained(model: Model, path: Path) -> Model:
    """Put trained weights into `model` where there are any, else leave it as it is.

    Raises RuntimeError where they are of another architecture.
    """
    if not is_trained(path):
        return model
    with safe_open(_file(path), "pt") as file:
        kept = {name: file.get_tensor(name).float() for name in file.keys()}
        settings = json.loads((file.metadata() or {}).get(SETTINGS, "{}"))
    own = model.state_dict()
    model.load_state_dict({name: _whole(value, own.get(name)) for name, value in kept.items()})
    if settings:
        cast(Any, model).register_to_config(**settings)
    return model.eval()


def save_trained(model: torch.nn.Module, path: Path, settings: dict[str, object]) -> None:
    """Keep `model`, trained on single frames, with the parts of its configuration that it set."""
    path.parent.mkdir(parents=True, exist_ok=True)
    tensors = {name: _last_slice(value).half() for name, value in model.state_dict().items()}
    metadata = {SETTINGS: json.dumps(settings)} if settings else None
    save_file(tensors, _file(path), metadata)


def _file(path: Path) -> Path:
    return path.with_suffix(".safetensors")


def _last_slice(value: torch.Tensor) -> torch.Tensor:
    return value[:, :, -1:].contiguous() if value.ndim == 5 else value.contiguous()


def _whole(value: torch.Tensor, own: torch.Tensor | None) -> torch.Tensor:
    """`value` with zeros where its earlier slices were left out."""
    if own is None or own.ndim != 5 or value.shape[2] == own.shape[2]:
        return value
    whole = torch.zeros_like(own)
    whole[:, :, -1:] = value
    return whole
