"""The official templates of ComfyUI, where their package is installed.

The package that belongs to the pinned ComfyUI v0.33.0 is comfyui-workflow-templates-json 0.1.47;
newer ones bring templates for newer nodes.
"""

import asyncio
import copy
import importlib.util
import json
import re
from pathlib import Path

import comfy_here

from studio.comfy_convert import by_output
from studio.comfy_editor import read_workflow
from studio.comfy_graph import links

OFFICIAL = "comfyui_workflow_templates_json"
WANTED = re.compile(r"ltx2_3|qwen_image|template_.*qwen|sdxl", re.IGNORECASE)


def templates():
    found = importlib.util.find_spec(OFFICIAL)
    places = found.submodule_search_locations if found else None
    paths = Path(places[0], "templates").glob("*.json") if places else ()
    return sorted(one for one in paths if WANTED.search(one.name) and "api_" not in one.name)


def reason_to_skip():
    if not templates():
        return "no official templates here: install comfyui-workflow-templates-json"
    return comfy_here.reason_to_skip()


def converted(path, definitions):
    """The template's graphs, as `tools/extract_modes.py` makes them."""
    return by_output(read_workflow(json.loads(path.read_text())), definitions)


def run(home, graph):
    """Runs the graph as the studio does, with nothing cached; gives back its file."""
    import execution

    from studio.comfy_boot import boot

    comfy, ran = boot(home), []
    comfy.executor.reset()
    comfy.server.listener = lambda event, data: event == "executing" and ran.append(data["node"])
    (end,) = (one for one, node in graph.items() if node["class_type"].startswith("Save"))
    valid, error, ends, of_nodes = asyncio.run(execution.validate_prompt("test", graph, [end]))
    assert (valid, error, ends, of_nodes) == (True, None, [end], {})
    try:
        comfy.executor.execute(copy.deepcopy(graph), "test", {"client_id": "test"}, [end])
    finally:
        comfy.server.listener = None
    assert comfy.executor.success, comfy.executor.status_messages[-1]
    saved = comfy.executor.history_result["outputs"][end]["images"][0]
    path = home.scratch / "comfy" / "output" / saved["subfolder"] / saved["filename"]
    # By class: of two nodes that do the same, ComfyUI runs one.
    ran = {graph[one]["class_type"] for one in ran if one in graph}
    assert {graph[one]["class_type"] for one in unconditional(graph, end)} <= ran
    return path


def unconditional(graph, end):
    """Ids of the nodes that run whatever the template's switches say."""
    found, waiting = set(), [end]
    while waiting:
        one = waiting.pop()
        if one not in found:
            found.add(one)
            if graph[one]["class_type"] != "ComfySwitchNode":
                waiting += [link[0] for link in links(graph[one]["inputs"])]
    return found
