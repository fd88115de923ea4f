"""The official templates become graphs that ComfyUI accepts, where they and a ComfyUI are."""

import asyncio
import importlib.util
import json
import re
import sys
from pathlib import Path

import pytest

from studio.comfy_convert import by_output
from studio.comfy_editor import read_workflow
from studio.comfy_widgets import read_definitions
from studio.errors import BadInput
from studio.home import Home, home_at

sys.path.insert(0, str(Path(__file__).parent.parent / "tools"))

import extract_modes

OFFICIAL = "comfyui_workflow_templates_json"
WANTED = re.compile(r"ltx2_3|qwen_image|template_.*qwen|sdxl", re.IGNORECASE)

NEWER_NODES = ("QwenImage21", "CameraAngle")
"""Parts of the names of classes that came after the ComfyUI that the studio pins."""

NEWER_VALUES = {("CreateVideo", "bit_depth")}
"""'auto' came after the pinned ComfyUI, which takes 8 and 10."""


def templates():
    found = importlib.util.find_spec(OFFICIAL)
    places = found.submodule_search_locations if found else None
    paths = Path(places[0], "templates").glob("*.json") if places else ()
    return sorted(one for one in paths if WANTED.search(one.name) and "api_" not in one.name)


def reason_to_skip():
    if not templates():
        return "no official templates here: install comfyui-workflow-templates-json"
    if not (home_at().comfyui / "execution.py").is_file():
        return "no ComfyUI here: set AIO_COMFYUI to its folder"
    needed = ("torchvision", "torchaudio", "torchsde", "kornia", "spandrel", "comfy_kitchen")
    missing = [name for name in needed if importlib.util.find_spec(name) is None]
    return f"ComfyUI needs {', '.join(missing)}" if missing else ""


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    from studio.comfy_boot import boot

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AIO_COMFYUI", str(home_at().comfyui))
        home = Home(tmp_path_factory.mktemp("comfy home"))
        boot(home, packs=())
        yield read_definitions(extract_modes.node_interfaces())


def faults(graph):
    """What ComfyUI has against the graph, but for files that are not on this machine."""
    import execution

    _, error, _, by_node = asyncio.run(execution.validate_prompt("test", graph, None))
    assert by_node or error is None, error
    for found in by_node.values():
        for one in found["errors"]:
            name = one["extra_info"].get("input_name")
            given = str(one["extra_info"].get("received_value"))
            is_weights = one["type"] == "value_not_in_list" and given.endswith(
                (".safetensors", ".ckpt")
            )
            is_media = "Invalid" in one["details"] and " file: " in one["details"]
            is_newer = (found["class_type"], name) in NEWER_VALUES
            if not (is_weights or is_media or is_newer):
                yield found["class_type"], one["type"], one["details"]


@pytest.mark.comfy
@pytest.mark.skipif(bool(reason_to_skip()), reason=reason_to_skip() or "ready")
@pytest.mark.parametrize("path", templates(), ids=lambda path: path.stem)
def test_official_template_converts_to_what_comfyui_accepts(path, installed):
    try:
        graphs = by_output(read_workflow(json.loads(path.read_text())), installed)
    except BadInput as error:
        if any(name in str(error) for name in NEWER_NODES):
            pytest.skip(f"newer than this ComfyUI: {error}")
        raise
    assert [fault for graph in graphs.values() for fault in faults(graph)] == []
