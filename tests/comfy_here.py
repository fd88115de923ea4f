"""Where the tests with a real ComfyUI find one, and how they start it."""

import importlib.util
from pathlib import Path

import pytest

from studio.home import Home, home_at

PACKS = Path(__file__).parent / "comfy_packs"
NEEDED = ("torchvision", "torchaudio", "torchsde", "kornia", "spandrel", "einops", "comfy_kitchen")
"""Some of what ComfyUI requires and the studio does not."""

PLACE = home_at().comfyui


def reason_to_skip():
    if not (PLACE / "execution.py").is_file():
        return "no ComfyUI here: set AIO_COMFYUI to its folder"
    missing = [name for name in NEEDED if importlib.util.find_spec(name) is None]
    return f"ComfyUI needs {', '.join(missing)}" if missing else ""


NEEDS_COMFYUI = [
    pytest.mark.comfy,
    pytest.mark.skipif(bool(reason_to_skip()), reason=reason_to_skip() or "ready"),
]


def start(folder):
    """A home in `folder` with ComfyUI started on tiny weights, and its engine.

    One pack is what tiny weights need, the other cannot be loaded. AIO_COMFYUI must be set.
    """
    from studio.comfy_engine import ComfyEngine

    home = Home(folder)
    broken = folder / "broken pack"
    broken.mkdir(parents=True)
    (broken / "__init__.py").write_text("import nothing_of_that_name")
    engine = ComfyEngine(home, [PACKS / "tiny_gemma", broken])
    # It imports ComfyUI's own modules.
    import comfy_weights

    comfy_weights.write_weights(home)
    return home, engine
