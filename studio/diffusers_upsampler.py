"""LTX-2.3's x2 latent upsampler, from a diffusers folder or from its makers' file."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from diffusers.pipelines.ltx2 import LTX2LatentUpsamplerModel
from safetensors import SafetensorError, safe_open

from studio.errors import MissingWeights
from studio.torch_device import Device

_SIZES: Mapping[str, str] = {
    "in_channels": "in_channels",
    "mid_channels": "mid_channels",
    "num_blocks_per_stage": "num_blocks_per_stage",
    "dims": "dims",
    "spatial_upsample": "spatial_upsample",
    "temporal_upsample": "temporal_upsample",
    "spatial_scale": "rational_spatial_scale",
    "rational_resampler": "use_rational_resampler",
}
"""The names that diffusers has for what the file's metadata says; its tensors have one name."""


def load_upsampler(place: Path | None, device: Device) -> LTX2LatentUpsamplerModel:
    """The upsampler, on the CPU. Raises MissingWeights where it is not there, or not whole."""
    if place is None or not place.exists():
        raise MissingWeights(
            f"The latent upscaler is not at '{place}': fetch it, or choose a preset with one stage."
        )
    if place.is_file():
        return _from_file(place, device)
    return LTX2LatentUpsamplerModel.from_pretrained(
        place, dtype=device.dtype, local_files_only=True
    )


def _from_file(path: Path, device: Device) -> LTX2LatentUpsamplerModel:
    try:
        with safe_open(path, framework="pt") as file:
            config = json.loads((file.metadata() or {})["config"])
            tensors = {name: file.get_tensor(name) for name in file.keys()}
        upsampler = LTX2LatentUpsamplerModel(**_sizes(config))
        upsampler.load_state_dict(tensors)
    except (SafetensorError, KeyError, ValueError, TypeError, RuntimeError) as error:
        raise MissingWeights(
            f"'{path.name}' is no latent upscaler of LTX-2.3 that can be read: fetch it again."
        ) from error
    return upsampler.to(dtype=device.dtype).eval()


def _sizes(config: Mapping[str, Any]) -> dict[str, Any]:
    return {_SIZES[name]: value for name, value in config.items() if name in _SIZES}
