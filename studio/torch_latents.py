"""Latents between the sampler and the decoder: saved, found again, and decoded."""

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save

from studio.disk import disk_errors, partial_file
from studio.errors import EngineFailed
from studio.plan import Plan
from studio.progress import Progress
from studio.torch_device import is_out_of_memory, release_memory

if TYPE_CHECKING:
    from diffusers import ModelMixin

T = TypeVar("T")

FILE_NAME = "latents.safetensors"


def fingerprint(plan: Plan) -> str:
    """The same for two plans that make the same latents; notes do not count."""
    return hashlib.sha256(repr(replace(plan, notes=())).encode()).hexdigest()


def save_latents(
    scratch: Path, plan: Plan, latents: Mapping[str, torch.Tensor], name: str = FILE_NAME
) -> None:
    """Keep the sampled latents, so that a decode that fails needs no second sampling.

    Raises EngineFailed where they hold numbers that are not finite, or the disk refuses.
    """
    require_finite(latents)
    kept = {name: tensor.detach().cpu().contiguous() for name, tensor in latents.items()}
    with disk_errors(scratch, EngineFailed), partial_file(scratch) as partial:
        # Not by `save_file`, which raises no OSError where the disk is full.
        partial.write_bytes(save(kept, metadata={"plan": fingerprint(plan)}))
        partial.replace(scratch / name)


def load_latents(
    scratch: Path, plan: Plan, name: str = FILE_NAME
) -> dict[str, torch.Tensor] | None:
    """The latents that an earlier try of the same plan has left, on the CPU; None without any."""
    path = scratch / name
    if not path.is_file():
        return None
    try:
        with safe_open(path, framework="pt") as file:
            if (file.metadata() or {}).get("plan") != fingerprint(plan):
                return None
            return {name: file.get_tensor(name) for name in file.keys()}
    # Half a file from a disk that was full: sampling again is what is left.
    except (SafetensorError, OSError):
        return None


def require_finite(tensors: Mapping[str, torch.Tensor]) -> None:
    """Raises EngineFailed for NaN or infinity, which would be decoded to a black picture."""
    if all(bool(torch.isfinite(tensor).all()) for tensor in tensors.values()):
        return
    raise EngineFailed(
        "The model made numbers that are no picture: lower the LoRA strengths or the guidance,"
        " or try another size."
    )


def decode(vae: "ModelMixin", run: Callable[[], T], progress: Progress) -> T:
    """What `run` decodes with `vae`; once more in tiles where the memory was not enough."""
    try:
        return run()
    except Exception as error:
        if not is_out_of_memory(error):
            raise
    # Only here, behind the handler, has the failed try let go of its tensors.
    release_memory()
    progress.note("Decoded in tiles, as the memory was not enough for the whole at once.")
    vae.enable_tiling()
    try:
        return run()
    finally:
        vae.disable_tiling()
