"""torchvision and torchaudio beside any torch, in whichever order the engines start."""

import subprocess
import sys
from pathlib import Path

import pytest
from comfy_here import MISSING

ROOT = Path(__file__).parent.parent

pytestmark = [
    pytest.mark.comfy,
    pytest.mark.skipif(
        any(name in MISSING for name in ("torchvision", "torchaudio")),
        reason="needs torchvision and torchaudio, which only ComfyUI requires",
    ),
]

# Both are imported by what these bring: torchvision by the first, torchaudio by the second.
HIDE = (
    "companions.hide_broken_companions(); from transformers import CLIPTokenizer;"
    "import diffusers.loaders.peft"
)
IMPORT = "companions.import_python_parts()"
USE = (
    "import torch, torchvision, torchaudio;"
    "torchvision.transforms.functional.resize(torch.zeros(1, 3, 8, 8), [4, 4]);"
    "assert torchaudio.functional.resample(torch.zeros(1, 100), 10, 5).shape == (1, 50)"
)


@pytest.mark.parametrize("order", [(HIDE, IMPORT), (IMPORT, HIDE), (IMPORT, IMPORT)])
def test_both_engines_find_what_they_need_in_any_order(order):
    program = "; ".join(["from studio import torch_companions as companions", *order, USE])
    command = [sys.executable, "-c", program]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stderr
