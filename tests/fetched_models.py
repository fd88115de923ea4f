"""Stand-ins for the models of the photo and image modes, as a Hub has them."""

import json
import time

from local_hub import weights
from model_files import variant

from studio.families import QWEN_IMAGE, SDXL

EPIC = variant(SDXL, "epiCRealism XL").models[0]
QWEN = variant(QWEN_IMAGE, "Qwen-Image").models[0]
LIGHTNING = variant(QWEN_IMAGE, "Qwen-Image").adapters["lightning-4steps"].model
PART = "unet/diffusion_pytorch_model.safetensors"


def serve_photo(hub, size=5000):
    """SDXL in the layout of diffusers, with `size` bytes of weights."""
    hub.repos[EPIC.repo] = {
        "model_index.json": json.dumps({"unet": ["diffusers", "UNet"]}).encode(),
        "unet/config.json": b"{}",
        PART: weights(size),
    }


def serve_lightning(hub, size=3000):
    hub.repos[LIGHTNING.source.repo] = {LIGHTNING.source.path: weights(size)}


def wait_until(look, seconds=20):
    """What `look` gives once it gives anything."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        found = look()
        if found:
            return found
        time.sleep(0.02)
    raise AssertionError("It did not happen.")
