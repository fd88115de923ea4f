"""Turns a workflow of ComfyUI's editor into graphs in API format, one for each output or group."""

import re
from typing import Any

from studio.comfy_editor import Workflow
from studio.comfy_flatten import Scope
from studio.comfy_graph import links
from studio.comfy_widgets import Definitions
from studio.errors import BadInput

ApiGraph = dict[str, dict[str, Any]]
"""Nodes by id, as ComfyUI's executor takes them."""

PREVIEWS = ("Preview", "MaskPreview", "ImageCompare")
"""Beginnings of the classes that only show something; they count where nothing is saved."""


def convert(workflow: Workflow, definitions: Definitions) -> ApiGraph:
    """All nodes that run, with ids as ComfyUI gives them (`267:236` inside the subgraph 267).

    Titles are kept where somebody gave one. Raises BadInput for a node whose class is not
    defined, for a Get without its Set, and for what goes round in a circle.
    """
    graph, _ = _flattened(workflow, definitions)
    _require_defined(graph, definitions)
    return graph


def by_output(workflow: Workflow, definitions: Definitions) -> dict[str, ApiGraph]:
    """One graph for each output node, by its title or class, with only the nodes it needs.

    Nodes that only show something count where none saves. Raises BadInput as `convert` does,
    though only for nodes that are needed, and where no output is switched on.
    """
    graph, outputs = _flattened(workflow, definitions)
    wanted = {_name(graph, one, outputs): [one] for one in _wanted(graph, outputs)}
    return _split(graph, definitions, wanted)


def by_group(workflow: Workflow, definitions: Definitions) -> dict[str, ApiGraph]:
    """One graph for each of the editor's outermost groups that hold outputs, by its title.

    Outputs outside every group have graphs of their own. Raises as `by_output` does.
    """
    graph, outputs = _flattened(workflow, definitions)
    wanted: dict[str, list[str]] = {}
    for one in _wanted(graph, outputs):
        position = workflow.root.nodes[int(one.split(":")[0])].position
        around = [group for group in workflow.groups if group.holds(position)]
        outermost = max(around, key=lambda group: group.width * group.height, default=None)
        name = outermost.title if outermost else _name(graph, one, outputs)
        wanted.setdefault(name, []).append(one)
    return _split(graph, definitions, wanted)


def _flattened(workflow: Workflow, definitions: Definitions) -> tuple[ApiGraph, list[str]]:
    """Every node that runs, and the ids of the outputs."""
    root = Scope(workflow, definitions, workflow.root)
    try:
        running = list(root.running())
        graph = {one: scope.api_node(node) for one, scope, node in running}
    except RecursionError as error:
        raise BadInput(
            "Wires or subgraphs of this workflow go round in a circle: open it in ComfyUI's editor"
            " and cut the circle."
        ) from error
    return graph, [one for one, scope, node in running if scope.is_output(node)]


def _wanted(graph: ApiGraph, outputs: list[str]) -> list[str]:
    """The outputs that save something, else those that show something."""
    if not outputs:
        raise BadInput(
            "This workflow has no output that is switched on: add a node that saves, or switch it"
            " on in ComfyUI's editor."
        )
    saving = [one for one in outputs if not graph[one]["class_type"].startswith(PREVIEWS)]
    return saving or outputs


def _split(
    graph: ApiGraph, definitions: Definitions, wanted: dict[str, list[str]]
) -> dict[str, ApiGraph]:
    parts = {name: _only_needed(graph, outputs) for name, outputs in wanted.items()}
    for part in parts.values():
        _require_defined(part, definitions)
    return parts


def _only_needed(graph: ApiGraph, outputs: list[str]) -> ApiGraph:
    """The outputs and everything that feeds them, in the graph's order."""
    needed: set[str] = set()
    waiting = list(outputs)
    while waiting:
        one = waiting.pop()
        if one not in needed:
            needed.add(one)
            waiting += [link[0] for link in links(graph[one]["inputs"])]
    return {one: node for one, node in graph.items() if one in needed}


def _require_defined(graph: ApiGraph, definitions: Definitions) -> None:
    for node in graph.values():
        if node["class_type"] not in definitions:
            raise BadInput(
                f"This ComfyUI has no node '{node['class_type']}', which the workflow uses: install"
                " the node pack that brings it, or take the node out of the workflow."
            )


def file_name(name: str) -> str:
    """A graph's name as a file name that every system takes: `Text to Video` is
    `text_to_video.json`."""
    words = re.sub(r"\W+", "_", name.lower()).strip("_")
    return f"{words or 'graph'}.json"


def _name(graph: ApiGraph, one: str, outputs: list[str]) -> str:
    """The title or class, with the id where several outputs share it."""
    names = {each: _title(graph[each]) for each in outputs}
    shared = list(names.values()).count(names[one]) > 1
    return f"{names[one]} {one}" if shared else names[one]


def _title(node: dict[str, Any]) -> str:
    return str(node.get("_meta", {}).get("title") or node["class_type"])
