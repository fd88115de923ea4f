"""The official Qwen-Image templates run from end to end on tiny weights, where they are.

They are converted as `tools/extract_modes.py` does it; then only numbers are made small.
"""

import sys
from pathlib import Path

import numpy as np
import pytest
from official_templates import converted, reason_to_skip, run, templates
from PIL import Image
from requests_of_modes import draw_image

from studio.comfy_widgets import read_definitions
from studio.errors import BadInput
from studio.home import Home

sys.path.insert(0, str(Path(__file__).parent.parent / "tools"))

import extract_modes

pytestmark = [
    pytest.mark.comfy,
    pytest.mark.skipif(bool(reason_to_skip()), reason=reason_to_skip() or "ready"),
]

SIDE, STEPS = 128, 2
SMALL = {"width": SIDE, "height": SIDE, "megapixels": 0.02, "largest_size": SIDE}

FOLDERS = {
    "unet_name": "diffusion_models",
    "clip_name": "text_encoders",
    "vae_name": "vae",
    "lora_name": "loras",
}

NOT_SHRUNK = {
    "ControlNetLoader": "its control model has no tiny twin",
    "ModelPatchLoader": "its control model has no tiny twin",
    "CheckpointLoaderSimple": "SDXL's text encoders and widths are written down in ComfyUI: a file"
    " of random numbers has 2.2 GB",
}
"""Why a template with such a node is converted and validated, and not run."""


def image_templates():
    return [one for one in templates() if "ltx2_3" not in one.name]


@pytest.fixture(scope="module")
def home(tmp_path_factory, comfyui_named, started_comfyui):
    from studio.comfy_boot import boot

    home = Home(tmp_path_factory.mktemp("comfy home"))
    boot(home)
    import comfy.cli_args
    import comfy_weights_qwen

    # Most CPUs are several times slower with half precision.
    patch = comfyui_named
    patch.setattr(comfy.cli_args.args, "fp32_text_enc", True)
    comfy_weights_qwen.shrink(patch, SIDE)
    yield home


@pytest.fixture(scope="module")
def definitions(home):
    return read_definitions(extract_modes.node_interfaces())


def shrunk(graph):
    for node in graph.values():
        inputs = node["inputs"]
        inputs |= {
            name: one for name, one in SMALL.items() if isinstance(inputs.get(name), int | float)
        }
        if node["class_type"] == "KSampler":
            inputs["steps"] = STEPS
    return graph


def provide(home, graph):
    """Every file that the graph names, under its name."""
    import comfy_weights_qwen as weights

    write = {
        "unet_name": weights.write_transformer,
        "clip_name": weights.write_text_encoder,
        "vae_name": weights.write_vae,
        "lora_name": weights.write_lora,
    }
    for node in graph.values():
        for name, value in node["inputs"].items():
            if name in FOLDERS and "Loader" in node["class_type"]:
                path = home.models / FOLDERS[name] / value
                path.parent.mkdir(parents=True, exist_ok=True)
                if not path.exists():
                    write[name](path)
            elif node["class_type"] == "LoadImage" and name == "image":
                folder = home.scratch / "comfy" / "input"
                draw_image(folder, 0).rename(folder / value)


@pytest.mark.parametrize("path", image_templates(), ids=lambda path: path.stem)
def test_official_template_makes_its_picture(path, home, definitions):
    try:
        graphs = converted(path, definitions)
    except BadInput as error:
        pytest.skip(f"see test_comfy_templates: {error}")
    for graph in graphs.values():
        for node in graph.values():
            if node["class_type"] in NOT_SHRUNK:
                pytest.skip(NOT_SHRUNK[node["class_type"]])
        provide(home, shrunk(graph))
        picture = Image.open(run(home, graph)).convert("RGB")
        assert np.asarray(picture).std() > 1
