"""How ComfyUI uses a GPU's memory, by AIO_VRAM.

Its own start (`main.py`) switches dynamic VRAM on, by which weights visit the GPU layer by layer as
the memory allows. A library never runs that file, so the same is done here.
"""

import importlib
import logging
import os
from collections.abc import Mapping
from typing import Any

from studio.errors import EngineFailed

logger = logging.getLogger(__name__)

FLAGS: Mapping[str, tuple[str, ...]] = {
    "auto": (),
    "low": ("disable_dynamic_vram", "lowvram"),
    "normal": ("disable_dynamic_vram",),
    "high": ("highvram",),
    "cpu": ("cpu",),
}
"""ComfyUI's own switches for each value of AIO_VRAM. Without any, dynamic VRAM where it works;
with `lowvram` text encoders stay on the CPU, with `highvram` models stay on the GPU."""

OLDEST_TORCH = (2, 8)
"""The first that dynamic VRAM works with, as ComfyUI's start has it."""


def set_vram_flags() -> None:
    """Settle ComfyUI's memory arguments. Raises EngineFailed for an unknown AIO_VRAM."""
    import torch

    level = os.environ.get("AIO_VRAM", "auto")
    if level not in FLAGS:
        raise EngineFailed(f"AIO_VRAM is '{level}': set it to one of {', '.join(FLAGS)}.")
    args = importlib.import_module("comfy.cli_args").args
    accelerator = torch.cuda.is_available() or torch.backends.mps.is_available()
    for flag in FLAGS[level] if accelerator else FLAGS["cpu"]:
        setattr(args, flag, True)


def start_dynamic_vram() -> bool:
    """Switch dynamic VRAM on where flags, GPU and torch allow it; says whether it is on.

    Call it once all of ComfyUI's modules are imported and before any model is made.
    """
    management: Any = importlib.import_module("comfy.model_management")
    wanted = importlib.import_module("comfy.cli_args").enables_dynamic_vram()
    if not wanted or not management.is_nvidia():
        return False
    if management.torch_version_numeric < OLDEST_TORCH or not _ready(management):
        logger.warning("ComfyUI estimates the memory that models need: no dynamic VRAM here.")
        return False
    patcher: Any = importlib.import_module("comfy.model_patcher")
    patcher.CoreModelPatcher = patcher.ModelPatcherDynamic
    memory: Any = importlib.import_module("comfy.memory_management")
    memory.aimdo_enabled = True
    return True


def _ready(management: Any) -> bool:  # noqa: ANN401
    control: Any = importlib.import_module("comfy_aimdo.control")
    if not control.init(nvml_pressure=True):
        return False
    # No headroom beyond its own: ComfyUI's default.
    return bool(control.init_devices((one.index, 0) for one in management.get_all_torch_devices()))
