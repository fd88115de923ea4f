"""Whether a real ComfyUI can run here."""

import importlib.util

from studio.home import home_at

NEEDED = ("torchvision", "torchaudio", "torchsde", "kornia", "spandrel", "comfy_kitchen")
"""Some of what ComfyUI requires and the studio does not."""


def reason_to_skip():
    """Empty where it can."""
    if not (home_at().comfyui / "execution.py").is_file():
        return "no ComfyUI here: set AIO_COMFYUI to its folder"
    missing = [name for name in NEEDED if importlib.util.find_spec(name) is None]
    return f"ComfyUI needs {', '.join(missing)}" if missing else ""
