"""The official templates become graphs that ComfyUI accepts, where they and a ComfyUI are."""

import asyncio
import sys
from pathlib import Path

import pytest
from official_templates import converted, reason_to_skip, templates

from studio.comfy_widgets import read_definitions
from studio.errors import BadInput
from studio.home import Home

sys.path.insert(0, str(Path(__file__).parent.parent / "tools"))

import extract_modes

NEWER_NODES = ("QwenImage21", "CameraAngle")
"""Parts of the names of classes that came after the ComfyUI that the studio pins."""

NEWER_VALUES = {("CreateVideo", "bit_depth")}
"""'auto' came after the pinned ComfyUI, which takes 8 and 10."""


@pytest.fixture(scope="module")
def installed(tmp_path_factory, comfyui_named, started_comfyui):
    from studio.comfy_boot import boot

    home = Home(tmp_path_factory.mktemp("comfy home"))
    boot(home)
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
        graphs = converted(path, installed)
    except BadInput as error:
        if any(name in str(error) for name in NEWER_NODES):
            pytest.skip(f"newer than this ComfyUI: {error}")
        raise
    assert [fault for graph in graphs.values() for fault in faults(graph)] == []
