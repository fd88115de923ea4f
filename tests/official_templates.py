"""The official templates of ComfyUI, where their package is installed.

The package that belongs to the pinned ComfyUI v0.33.0 is comfyui-workflow-templates-json 0.1.47;
newer ones bring templates for newer nodes.
"""

import importlib.util
import json
import re
from pathlib import Path

import real_comfyui

from studio.comfy_convert import by_output
from studio.comfy_editor import read_workflow

OFFICIAL = "comfyui_workflow_templates_json"
WANTED = re.compile(r"ltx2_3|qwen_image|template_.*qwen|sdxl", re.IGNORECASE)

TINY_GEMMA = Path(__file__).parent / "comfy_packs" / "tiny_gemma"
"""Every test boots ComfyUI with it: a process has one ComfyUI, and some run its text encoder."""


def templates():
    found = importlib.util.find_spec(OFFICIAL)
    places = found.submodule_search_locations if found else None
    paths = Path(places[0], "templates").glob("*.json") if places else ()
    return sorted(one for one in paths if WANTED.search(one.name) and "api_" not in one.name)


def reason_to_skip():
    if not templates():
        return "no official templates here: install comfyui-workflow-templates-json"
    return real_comfyui.reason_to_skip()


def converted(path, definitions):
    """The template's graphs, as `tools/extract_modes.py` makes them."""
    return by_output(read_workflow(json.loads(path.read_text())), definitions)
