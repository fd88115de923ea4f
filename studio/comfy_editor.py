"""Reads a workflow as ComfyUI's editor saves it: nodes, links, groups and nested subgraphs."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from studio.errors import BadInput

ACTIVE, MUTED, BYPASSED = 0, 2, 4
"""`mode` of a node, as LiteGraph numbers them; any other value runs like ACTIVE."""

INPUT_NODE, OUTPUT_NODE = -10, -20
"""Ids by which a subgraph's links name its own border."""


@dataclass(frozen=True)
class Slot:
    """A socket of a node. `link` is the id of the link that ends here; `widget` names a control."""

    name: str
    kind: str
    link: int | None
    widget: str | None


@dataclass(frozen=True)
class Link:
    origin: int
    origin_slot: int
    target: int
    target_slot: int


@dataclass(frozen=True)
class Node:
    """`kind` is the class, or the id of a subgraph. `values` are its controls', in their order,
    or by name as some packs save them. `title` is empty unless somebody gave one."""

    id: int
    kind: str
    mode: int
    title: str
    position: tuple[float, float]
    inputs: tuple[Slot, ...]
    outputs: tuple[Slot, ...]
    values: list[Any] | dict[str, Any]
    promoted: tuple[tuple[str, str], ...]
    """Of a subgraph's node, in older files: (id of the inner node, its control) for each value."""

    def input(self, name: str) -> Slot | None:
        return next((slot for slot in self.inputs if slot.name == name), None)


@dataclass(frozen=True)
class Sheet:
    """One sheet of nodes: the workflow itself, or a subgraph with the names of its sockets."""

    nodes: Mapping[int, Node]
    links: Mapping[int, Link]
    inputs: tuple[str, ...] = ()
    outputs: tuple[str, ...] = ()

    def fed_by_border(self, slot: int) -> list[tuple[Node, Slot]]:
        """The inner sockets that the subgraph's own input feeds, in the order of the links."""
        ends = [
            (self.nodes[link.target], link.target_slot)
            for link in self.links.values()
            if (link.origin, link.origin_slot) == (INPUT_NODE, slot) and link.target in self.nodes
        ]
        return [(node, node.inputs[at]) for node, at in ends if at < len(node.inputs)]


@dataclass(frozen=True)
class Group:
    """A frame drawn around nodes; pixels of the editor's sheet."""

    title: str
    left: float
    top: float
    width: float
    height: float

    def holds(self, position: tuple[float, float]) -> bool:
        x, y = position[0] - self.left, position[1] - self.top
        return 0 <= x <= self.width and 0 <= y <= self.height


@dataclass(frozen=True)
class Workflow:
    root: Sheet
    subgraphs: Mapping[str, Sheet]
    groups: tuple[Group, ...]


def read_workflow(data: object) -> Workflow:
    """Raises BadInput for anything but an editor's workflow."""
    if not isinstance(data, dict):
        raise _no_workflow()
    if data and all(isinstance(node, dict) and "class_type" in node for node in data.values()):
        raise BadInput("This file is in API format already: use it as it is.")
    if not isinstance(data.get("nodes"), list):
        raise _no_workflow()
    try:
        definitions = (data.get("definitions") or {}).get("subgraphs") or []
        return Workflow(
            _sheet(data),
            {str(one["id"]): _sheet(one) for one in definitions},
            tuple(_group(one) for one in data.get("groups") or []),
        )
    except (KeyError, TypeError, ValueError, IndexError, AttributeError) as error:
        raise BadInput(
            "This workflow is damaged: open it in ComfyUI's editor and save it again."
        ) from error


def _no_workflow() -> BadInput:
    return BadInput("This file is no ComfyUI workflow: save one from ComfyUI's editor with 'Save'.")


def _sheet(data: Mapping[str, Any]) -> Sheet:
    nodes = [_node(one) for one in data["nodes"]]
    return Sheet(
        {node.id: node for node in nodes},
        dict(_link(one) for one in data.get("links") or [] if one),
        tuple(str(one["name"]) for one in data.get("inputs") or []),
        tuple(str(one["name"]) for one in data.get("outputs") or []),
    )


def _node(data: Mapping[str, Any]) -> Node:
    values = data.get("widgets_values")
    promoted = (data.get("properties") or {}).get("proxyWidgets") or ()
    return Node(
        int(data["id"]),
        str(data["type"]),
        int(data.get("mode") or ACTIVE),
        str(data.get("title") or ""),
        _point(data.get("pos") or [0, 0]),
        tuple(_slot(one) for one in data.get("inputs") or ()),
        tuple(_slot(one) for one in data.get("outputs") or ()),
        values if isinstance(values, dict) else list(values or ()),
        tuple((str(one[0]), str(one[1])) for one in promoted if isinstance(one, list)),
    )


def _point(data: Mapping[str, float] | list[float]) -> tuple[float, float]:
    """Older files hold a point as an object with the keys "0" and "1"."""
    x, y = data.values() if isinstance(data, Mapping) else data
    return float(x), float(y)


def _slot(data: Mapping[str, Any]) -> Slot:
    widget = data.get("widget")
    name = widget.get("name") if isinstance(widget, dict) else None
    link = data.get("link")
    return Slot(str(data["name"]), str(data.get("type")), None if link is None else int(link), name)


def _link(data: Mapping[str, Any] | list[Any]) -> tuple[int, Link]:
    """Subgraphs hold links as objects, the workflow itself as lists."""
    if isinstance(data, Mapping):
        ends = (data[f"{end}_{part}"] for end in ("origin", "target") for part in ("id", "slot"))
        return int(data["id"]), Link(*(int(one) for one in ends))
    return int(data[0]), Link(*(int(one) for one in data[1:5]))


def _group(data: Mapping[str, Any]) -> Group:
    return Group(str(data.get("title") or "Group"), *(float(one) for one in data["bounding"]))
