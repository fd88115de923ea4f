"""Graphs against the interfaces of ComfyUI's nodes, which were recorded."""

import json
from pathlib import Path

from studio.comfy_graph import links
from studio.modes import MODES

CLIP_MODES = [mode for mode in MODES if "comfy" in MODES[mode].engines]
NODES = json.loads((Path(__file__).parent / "comfy_nodes.json").read_text())
LITERALS = {"INT": int, "FLOAT": (int, float), "STRING": str, "BOOLEAN": bool, "COMBO": str}


def node(graph, title):
    return graph.nodes[graph.id(title)]


def problems(graph):
    """What the recorded interfaces of the nodes do not allow."""
    return [problem for one in graph.nodes.values() for problem in problems_of(graph, one)]


def problems_of(graph, one):
    name, inputs = one["class_type"], one["inputs"]
    if name not in NODES:
        yield f"{name} is not recorded"
        return
    known = {**NODES[name]["required"], **NODES[name]["optional"]}
    yield from (f"{name} lacks {lost}" for lost in set(NODES[name]["required"]) - set(inputs))
    yield from (f"{name} has no {extra}" for extra in set(inputs) - set(known))
    linked = {key for key, value in inputs.items() if value in list(links(inputs))}
    for key in set(inputs) & set(known):
        kind, value = known[key]["type"], inputs[key]
        if key in linked:
            given = NODES[graph.nodes[value[0]]["class_type"]]["outputs"][value[1]]
            if given not in kind.split(","):
                yield f"{name}.{key} wants {kind}, not {given}"
        elif kind.split(",")[0] in LITERALS:
            if not isinstance(value, LITERALS[kind.split(",")[0]]):
                yield f"{name}.{key} is {value!r}"
            elif not known[key].get("min", value) <= value <= known[key].get("max", value):
                yield f"{name}.{key} = {value} is out of bounds"
