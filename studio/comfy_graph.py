"""A ComfyUI graph in API format, whose nodes are found by their titles.

Ids change whenever a graph is edited in ComfyUI and exported again; titles stay.
"""

import copy
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from studio.errors import EngineFailed

RESULT_CLASS = "AIOStudioResult"
LATENTS_CLASS = "AIOStudioLatents"
RESCALE_CLASS = "AIOStudioRescale"
"""The node classes that the studio adds to ComfyUI's own."""

Link = list[Any]
"""`[id of a node, number of its output]`."""

Inputs = dict[str, Any]

THROUGH: Mapping[str, Mapping[int, str]] = {
    "LoraLoaderModelOnly": {0: "model"},
    "LTXVImgToVideoInplace": {0: "latent"},
    "LTXVAddGuide": {0: "positive", 1: "negative", 2: "latent"},
}
"""Which input stands for which output when a node of the class is left out."""


class Graph:
    """Nodes by id. Raises EngineFailed where a title is not there, or there twice."""

    def __init__(self, name: str, nodes: Mapping[str, Mapping[str, Any]]) -> None:
        self.name = name
        self.nodes: dict[str, dict[str, Any]] = copy.deepcopy(
            {node_id: dict(node) for node_id, node in nodes.items()}
        )
        self._ids: dict[str, str] = {}
        for node_id in self.nodes:
            title = self.title(node_id)
            if title in self._ids:
                raise EngineFailed(
                    f"The graph '{name}' has two nodes called '{title}': give one another title."
                )
            self._ids[title] = node_id
        self._require_whole()

    def __contains__(self, title: str) -> bool:
        return title in self._ids

    def title(self, node_id: str) -> str:
        node = self.nodes[node_id]
        return str(node.get("_meta", {}).get("title") or f"{node['class_type']} {node_id}")

    def id(self, title: str) -> str:
        if title not in self._ids:
            raise EngineFailed(
                f"The graph '{self.name}' has no node called '{title}': give the node that does"
                " this part of the work that title, and export the graph again."
            )
        return self._ids[title]

    def inputs(self, title: str) -> Inputs:
        inputs: Inputs = self.nodes[self.id(title)]["inputs"]
        return inputs

    def input(self, title: str, name: str) -> Any:  # noqa: ANN401 - JSON
        """The value or the link of one input."""
        return _input(self.name, title, self.inputs(title), name)

    def give(self, title: str, **values: object) -> None:
        """Give inputs that the node has other values."""
        inputs = self.inputs(title)
        for name, value in values.items():
            _input(self.name, title, inputs, name)
            inputs[name] = value

    def add(self, title: str, class_type: str, inputs: Inputs) -> Link:
        """A new node; returns the link to its first output."""
        node_id = str(1 + max((int(one) for one in self.nodes if one.isdigit()), default=0))
        self.nodes[node_id] = _node(title, class_type, inputs)
        self._ids[title] = node_id
        return [node_id, 0]

    def replace(self, title: str, class_type: str, inputs: Inputs) -> None:
        """Another kind of node in the place of this one."""
        self.nodes[self.id(title)] = _node(title, class_type, inputs)

    def put_before(self, title: str, name: str, new: str, class_type: str, inputs: Inputs) -> None:
        """A new node between an input and what fed it; the new one's input has the same name."""
        fed = self.input(title, name)
        self.inputs(title)[name] = self.add(new, class_type, {name: fed, **inputs})

    def leave_out(self, title: str) -> None:
        """What took the node's outputs takes its inputs instead, as for a bypassed node."""
        node_id = self.id(title)
        kind = self.nodes[node_id]["class_type"]
        if kind not in THROUGH:
            raise EngineFailed(
                f"The node '{title}' of the graph '{self.name}' cannot be left out: use the kind of"
                " node that the studio's own graph has there."
            )
        for slot, name in THROUGH[kind].items():
            self.redirect([node_id, slot], self.input(title, name))

    def redirect(self, old: Link, new: Link) -> None:
        """Everything that took the one output takes the other."""
        for node in self.nodes.values():
            for name, value in node["inputs"].items():
                if value == old:
                    node["inputs"][name] = list(new)

    def reachable(self, title: str) -> set[str]:
        """Ids of all nodes that the node needs, and its own."""
        found: set[str] = set()
        waiting = [self.id(title)]
        while waiting:
            node_id = waiting.pop()
            if node_id not in found:
                found.add(node_id)
                waiting += [link[0] for link in links(self.nodes[node_id]["inputs"])]
        return found

    def _require_whole(self) -> None:
        for node_id, node in self.nodes.items():
            for before, _ in links(node["inputs"]):
                if before not in self.nodes:
                    raise EngineFailed(
                        f"The node '{self.title(node_id)}' of the graph '{self.name}' is linked to"
                        " a node that is not in it: export the graph from ComfyUI again."
                    )

    def keep_only(self, title: str) -> None:
        """Forget what the node does not need."""
        kept = self.reachable(title)
        self.nodes = {node_id: node for node_id, node in self.nodes.items() if node_id in kept}
        self._ids = {name: node_id for name, node_id in self._ids.items() if node_id in kept}


def load_graph(path: Path) -> Graph:
    """Raises EngineFailed for a file that is no graph in API format."""
    try:
        nodes = json.loads(path.read_text(encoding="utf-8"))
        if all("class_type" in node and "inputs" in node for node in nodes.values()):
            return Graph(path.stem, nodes)
    except (OSError, ValueError, AttributeError, TypeError) as error:
        raise _no_graph(path) from error
    raise _no_graph(path)


def links(inputs: Inputs) -> Iterator[Link]:
    """The inputs that come from other nodes."""
    for value in inputs.values():
        if isinstance(value, list) and len(value) == 2 and isinstance(value[0], str):
            yield value


def _input(graph: str, title: str, inputs: Inputs, name: str) -> Any:  # noqa: ANN401 - JSON
    if name not in inputs:
        raise EngineFailed(
            f"The node '{title}' of the graph '{graph}' has no input '{name}': use the kind of"
            " node that the studio's own graph has there."
        )
    return inputs[name]


def _node(title: str, class_type: str, inputs: Inputs) -> dict[str, Any]:
    return {"class_type": class_type, "inputs": inputs, "_meta": {"title": title}}


def _no_graph(path: Path) -> EngineFailed:
    return EngineFailed(
        f"The graph '{path.name}' cannot be read: export it from ComfyUI with 'Export (API)'."
    )
