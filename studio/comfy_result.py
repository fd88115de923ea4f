"""The node that ends every graph in the studio: it hands pictures and sound to the running job.

A video file written by ComfyUI would have to be decoded and encoded again to carry the studio's
own sound and recipe, and would lose quality each time.
"""

from collections.abc import Iterator, MutableMapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from studio.errors import EngineFailed
from studio.media_clips import Frames
from studio.media_sound import Sound


@dataclass(frozen=True)
class Result:
    """What a graph made, as ComfyUI's nodes pass it on."""

    images: Any
    """A tensor [frames, height, width, 3] from 0 to 1."""
    audio: Any
    """A waveform [1, channels, n] and its sample rate, or None."""

    def frames(self) -> Iterator[Frames]:
        """uint8 [height, width, 3], one by one. Raises EngineFailed for what is no picture."""
        import torch

        for image in self.images:
            if not image.isfinite().all():
                raise _broken("pictures")
            yield (image[..., :3] * 255).round().clamp(0, 255).to(torch.uint8).cpu().numpy()

    def sound(self) -> Sound | None:
        """Raises EngineFailed for samples that are no numbers."""
        if self.audio is None:
            return None
        samples = self.audio["waveform"][0].float().cpu().numpy()
        if not np.isfinite(samples).all():
            raise _broken("sound")
        return Sound(np.clip(samples, -1, 1), int(self.audio["sample_rate"]))


def result_node(results: MutableMapping[str, Result]) -> type:
    """A ComfyUI node class that keeps what it is given in `results`, by the name of its job."""

    class AIOStudioResult:
        # ComfyUI's names for a node's interface.
        OUTPUT_NODE = True
        RETURN_TYPES = ()
        FUNCTION = "keep"
        CATEGORY = "AIO Studio"

        @classmethod
        def INPUT_TYPES(cls) -> dict[str, dict[str, tuple[str, ...]]]:
            return {
                "required": {"images": ("IMAGE",), "job": ("STRING",)},
                "optional": {"audio": ("AUDIO",)},
            }

        def keep(self, images: object, job: str, audio: object = None) -> dict[str, object]:
            results[job] = Result(images, audio)
            return {}

    return AIOStudioResult


def _broken(what: str) -> EngineFailed:
    return EngineFailed(
        f"The {what} came out as no numbers: try another seed, or fetch the weights again."
    )
