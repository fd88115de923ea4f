"""A node between sampling and decoding: keeps the latents, or gives those of an earlier try."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from studio.plan import Plan
from studio.torch_latents import save_latents

Latent = dict[str, Any]
"""ComfyUI's own form: `samples` is the tensor."""


@dataclass(frozen=True)
class Sampled:
    """Where a job's latents are kept, and what was found there."""

    plan: Plan
    scratch: Path
    found: Mapping[str, Any] | None
    """Tensors called `video` and `audio`."""


def latents_node(jobs: Mapping[str, Sampled]) -> type:
    """A ComfyUI node class that looks its job up in `jobs`.

    With a picture it saves what it is given and passes it on; without one it gives what was found.
    """

    class AIOStudioLatents:
        # ComfyUI's names for a node's interface.
        RETURN_TYPES = ("LATENT", "LATENT")
        FUNCTION = "passed_on"
        CATEGORY = "AIO Studio"

        @classmethod
        def INPUT_TYPES(cls) -> dict[str, dict[str, tuple[str, ...]]]:
            return {
                "required": {"job": ("STRING",)},
                "optional": {"picture": ("LATENT",), "sound": ("LATENT",)},
            }

        def passed_on(
            self, job: str, picture: Latent | None = None, sound: Latent | None = None
        ) -> tuple[Latent | None, Latent | None]:
            sampled = jobs[job]
            if picture is None:
                found = sampled.found or {}
                return _latent(found.get("video")), _latent(found.get("audio"))
            streams = {"video": picture, "audio": sound}
            tensors = {name: one["samples"] for name, one in streams.items() if one is not None}
            save_latents(sampled.scratch, sampled.plan, tensors)
            return picture, sound

    return AIOStudioLatents


def _latent(tensor: object) -> Latent | None:
    return None if tensor is None else {"samples": tensor}
