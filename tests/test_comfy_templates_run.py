"""The official LTX-2.3 templates run from end to end on tiny weights, where they and a ComfyUI are.

They are converted as `tools/extract_modes.py` does it; then only numbers are made small.
"""

import shutil
import sys
from pathlib import Path

import pytest
from model_files import variant
from official_templates import converted, reason_to_skip, run, templates
from requests_of_modes import Media

from studio.comfy_widgets import read_definitions
from studio.families import LTX
from studio.home import Home
from studio.media_clips import load_frames, probe_clip
from studio.model_places import target

sys.path.insert(0, str(Path(__file__).parent.parent / "tools"))

import extract_modes

pytestmark = [
    pytest.mark.comfy,
    pytest.mark.skipif(bool(reason_to_skip()), reason=reason_to_skip() or "ready"),
]

SIDE, SECONDS = 128, 1
"""What every template makes here: the smallest square that two stages can make, for a second."""

SMALL = {
    "longer_size": SIDE,
    "target_width": SIDE,
    "target_height": SIDE,
    "max_length": 4,
}
"""Inputs that decide how long a node works: sizes in pixels, and words of a prompt."""

OLDER = {"bit_depth": 8}
"""Where newer templates say 'auto', which the pinned ComfyUI does not know."""

MEDIA = {"image": "image", "audio": "audio", "file": "video"}
"""The kind of media that an input of a loader names."""

FOLDERS = {"ckpt_name": "checkpoint", "text_encoder": "text_encoder", "model_name": "upscaler"}
"""The role in the registry of the file that an input of a loader names."""


def ltx_templates():
    return [one for one in templates() if "ltx2_3" in one.name]


@pytest.fixture(scope="module")
def home(tmp_path_factory, comfyui_named, started_comfyui):
    from studio.comfy_boot import boot

    home = Home(tmp_path_factory.mktemp("comfy home"))
    boot(home)
    import comfy.cli_args
    import comfy.ldm.moge.model
    import comfy_weights

    # CPUs have no half precision for the depth model, which ComfyUI loads as it does Gemma.
    patch = comfyui_named
    patch.setattr(comfy.cli_args.args, "fp32_text_enc", True)
    patch.setattr(comfy.ldm.moge.model.MoGeModelV2, "num_tokens_range", (16, 64))
    comfy_weights.write_weights(home)
    yield home


@pytest.fixture(scope="module")
def definitions(home):
    return read_definitions(extract_modes.node_interfaces())


@pytest.fixture(scope="module")
def media(tmp_path_factory):
    return Media(tmp_path_factory.mktemp("media"))


def shrunk(graph):
    for node in graph.values():
        inputs = node["inputs"]
        inputs |= {name: SMALL[name] for name in SMALL.keys() & inputs}
        inputs |= {name: one for name, one in OLDER.items() if inputs.get(name) == "auto"}
        if node["class_type"] in ("PrimitiveInt", "PrimitiveFloat"):
            inputs["value"] = smaller(inputs["value"])
    return graph


def smaller(number):
    """Sides are hundreds of pixels, lengths up to 10 seconds; frame rates lie between."""
    if isinstance(number, list) or 10 < number < 100:
        return number
    return SIDE if number >= 100 else SECONDS


def provide(home, media, graph):
    """Every file that the graph names, under its name."""
    import comfy_weights_depth

    for node in graph.values():
        is_loader = "Load" in node["class_type"]
        for name, value in node["inputs"].items():
            if not is_loader or not isinstance(value, str):
                continue
            if name in MEDIA:
                place(Path(media.path(MEDIA[name])), home.scratch / "comfy" / "input" / value)
            elif node["class_type"] == "LoadMoGeModel":
                comfy_weights_depth.write_weights(home.models / "geometry_estimation" / value)
            elif name == "lora_name":
                loras = home.models / "loras"
                place(loras / LTX.adapters["distilled"].file, loras / value)
            elif name in FOLDERS:
                source = target(home, variant(LTX, "LTX-2.3 bf16").parts[FOLDERS[name]][0])
                place(source, source.with_name(value))


def place(source, path):
    if not path.exists():
        shutil.copyfile(source, path)


@pytest.mark.parametrize("path", ltx_templates(), ids=lambda path: path.stem)
def test_official_template_makes_its_clip(path, home, definitions, media):
    (graph,) = map(shrunk, converted(path, definitions).values())
    provide(home, media, graph)
    clip = run(home, graph)
    info = probe_clip(clip)
    assert (info.width, info.height) == (SIDE, SIDE) and info.has_sound
    assert abs(info.frames_estimate / info.fps - SECONDS) < 0.1
    assert load_frames(clip, info.fps, 99).std() > 1
