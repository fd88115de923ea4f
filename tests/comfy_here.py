"""Where the tests with a real ComfyUI find one, and how they start it."""

import importlib.util
import shutil
from pathlib import Path

import pytest

from studio.families import LTX
from studio.home import Home, home_at
from studio.model_places import target
from studio.weights_demo import ensure_demo

PACKS = Path(__file__).parent / "comfy_packs"
NEEDED = ("torchvision", "torchaudio", "torchsde", "kornia", "spandrel", "einops", "comfy_kitchen")
"""Some of what ComfyUI requires and the studio does not."""

PLACE = home_at().comfyui

# At the start: what cannot be loaded here is hidden later, and then looks as if it were missing.
MISSING = tuple(name for name in NEEDED if importlib.util.find_spec(name) is None)


def reason_to_skip():
    if not (PLACE / "execution.py").is_file():
        return "no ComfyUI here: set AIO_COMFYUI to its folder"
    return f"ComfyUI needs {', '.join(MISSING)}" if MISSING else ""


NEEDS_COMFYUI = [
    pytest.mark.comfy,
    pytest.mark.skipif(bool(reason_to_skip()), reason=reason_to_skip() or "ready"),
]


def start(folder, demo_home):
    """A home in `folder` with ComfyUI started on tiny weights, and its engine.

    What draws control maps comes from `demo_home`. Of two packs one is what tiny weights need, the
    other cannot be loaded. AIO_COMFYUI must be set.
    """
    from studio.comfy_engine import ComfyEngine

    home = Home(folder)
    broken = folder / "broken pack"
    broken.mkdir(parents=True)
    (broken / "__init__.py").write_text("import nothing_of_that_name")
    engine = ComfyEngine(home, [PACKS / "tiny_gemma", broken])
    write_models(home, demo_home)
    return home, engine


def write_models(home, demo_home):
    """Tiny weights for a ComfyUI that runs, and what draws control maps from `demo_home`."""
    # It imports ComfyUI's own modules.
    import comfy_weights

    comfy_weights.write_weights(home)
    for role, model in LTX.control_models.items():
        shutil.copytree(ensure_demo(demo_home, LTX.id) / "control" / role, target(home, model))
