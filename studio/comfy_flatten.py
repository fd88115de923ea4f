"""Follows the wires of an editor's workflow to the nodes and values that really feed each input.

What only the editor knows is resolved as its own 'Export (API)' does: reroutes, primitives,
bypassed and muted nodes, Get/Set pairs, and subgraphs with the controls they show outside.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from studio.comfy_editor import (
    BYPASSED,
    INPUT_NODE,
    MUTED,
    OUTPUT_NODE,
    Link,
    Node,
    Sheet,
    Slot,
    Workflow,
)
from studio.comfy_widgets import EDITOR_VALUES, Definitions, named_values
from studio.errors import BadInput

REROUTES = {"Reroute", "Reroute (rgthree)", "SetNode"}
"""Nodes of the editor that hand on their first input."""

EDITOR_ONLY = REROUTES | {
    "PrimitiveNode",
    "GetNode",
    "Note",
    "MarkdownNote",
    "Bookmark (rgthree)",
    "Fast Bypasser (rgthree)",
    "Fast Groups Bypasser (rgthree)",
    "Fast Groups Muter (rgthree)",
    "Fast Muter (rgthree)",
    "Label (rgthree)",
    "Mute / Bypass Relay (rgthree)",
    "Mute / Bypass Repeater (rgthree)",
    "Node Collector (rgthree)",
}
"""Nodes that ComfyUI itself never sees."""

Values = Mapping[str, Any]


@dataclass(frozen=True)
class Value:
    """What an input is set to, where no node feeds it."""

    value: Any


Source = list[Any] | Value | None
"""What feeds an input: a link `[id, slot]`, a value, or nothing."""


@dataclass(frozen=True)
class Scope:
    """One sheet in its place: a subgraph used twice is two scopes with ids of their own."""

    workflow: Workflow
    definitions: Definitions
    sheet: Sheet
    prefix: str = ""
    outside: "tuple[Scope, Node] | None" = None
    """The scope around a subgraph, and the node there that stands for it."""

    def running(self) -> Iterator[tuple[str, "Scope", Node]]:
        """Every node that ComfyUI would be given, here and in the subgraphs."""
        for node in self.sheet.nodes.values():
            if node.mode in (MUTED, BYPASSED):
                continue
            if node.kind in self.workflow.subgraphs:
                yield from self.inside(node).running()
            elif node.kind not in EDITOR_ONLY:
                yield f"{self.prefix}{node.id}", self, node

    def inside(self, node: Node) -> "Scope":
        sheet = self.workflow.subgraphs[node.kind]
        prefix = f"{self.prefix}{node.id}:"
        return Scope(self.workflow, self.definitions, sheet, prefix, (self, node))

    def api_node(self, node: Node) -> dict[str, Any]:
        """The node in API format; one whose class is not defined has no values of its own."""
        inputs = {name: _literal(value) for name, value in self.values(node).items()}
        for slot in node.inputs:
            source = self.source(slot)
            if source is not None:
                inputs[slot.name] = _literal(source.value) if isinstance(source, Value) else source
        meta = {"_meta": {"title": node.title}} if node.title else {}
        return {"class_type": node.kind, "inputs": inputs, **meta}

    def values(self, node: Node) -> dict[str, Any]:
        """What the node's controls are set to, here or on the subgraph's node outside."""
        drawn = {slot.name for slot in node.inputs if slot.widget}
        # A class that is not defined matters only where something needs the node.
        definition = self.definitions.get(node.kind)
        own = named_values(definition, node.values, drawn) if definition else {}
        return {**own, **self._promoted_to(node)}

    def is_output(self, node: Node) -> bool:
        if node.kind in self.definitions:
            return self.definitions[node.kind].is_output
        # Of a class that is not defined: it takes something and hands nothing on.
        return not node.outputs and any(slot.link is not None for slot in node.inputs)

    def source(self, slot: Slot | None) -> Source:
        """What feeds the input in the end."""
        if slot is None or slot.link is None:
            return None
        return self._origin(self.sheet.links.get(slot.link))

    def _origin(self, link: Link | None) -> Source:
        """What comes along the wire."""
        if link is None:
            return None
        if link.origin == INPUT_NODE:
            return self._from_outside(link.origin_slot)
        node = self.sheet.nodes.get(link.origin)
        return self._output(node, link.origin_slot) if node else None

    def _output(self, node: Node, slot: int) -> Source:
        """What comes out of the node's socket."""
        if node.mode == MUTED:
            return None
        if node.mode == BYPASSED:
            return self.source(_bypass(node, slot))
        if node.kind in self.workflow.subgraphs:
            inner = self.inside(node)
            return inner._origin(_link_to(inner.sheet, OUTPUT_NODE, slot))
        through = THROUGH.get(node.kind)
        if through is not None:
            return through(self, node)
        if node.kind in EDITOR_ONLY:
            return None
        return [f"{self.prefix}{node.id}", slot]

    def _from_outside(self, slot: int) -> Source:
        """What the subgraph's input is fed with, else the value of the control it stands for."""
        if self.outside is None:
            return None
        around, host = self.outside
        fed = around.source(host.input(self.sheet.inputs[slot]))
        if fed is not None:
            return fed
        return around.shown_value(host, self.sheet.inputs[slot])

    def shown_value(self, host: Node, name: str) -> Value | None:
        """The value of a control that a subgraph's node shows: its own, else the first inner
        one's, which then holds for every input it feeds, a mere socket too."""
        held = {**self._held_inputs(host), **self._promoted_to(host)}
        if name in held:
            return Value(held[name])
        inner = self.inside(host)
        fed = inner.sheet.fed_by_border(inner.sheet.inputs.index(name))
        found = (inner._control(node, slot.name) for node, slot in fed)
        return next((value for value in found if value is not None), None)

    def _control(self, node: Node, name: str) -> Value | None:
        if node.kind in self.workflow.subgraphs:
            return self.shown_value(node, name)
        values = self.values(node)
        return Value(values[name]) if name in values else None

    def _held_inputs(self, host: Node) -> Values:
        """The values that a subgraph's node holds itself, by the names of its inputs.

        They stand in the order of the subgraph's inputs that have a control, or, in files that
        list what is promoted, in that order (`-1` names an input of the subgraph itself).
        """
        if isinstance(host.values, dict):
            return host.values
        if host.promoted:
            pairs = zip(host.promoted, host.values, strict=False)
            return {name: value for (inner, name), value in pairs if inner == "-1"}
        inputs = self.inside(host)._inputs_with_control()
        if len(inputs) != len(host.values):
            # Of an older definition: no telling whose they are.
            return {}
        return dict(zip(inputs, host.values, strict=True))

    def _inputs_with_control(self) -> list[str]:
        return [
            name
            for slot, name in enumerate(self.sheet.inputs)
            if any(self._has_control(node, fed) for node, fed in self.sheet.fed_by_border(slot))
        ]

    def _has_control(self, node: Node, slot: Slot) -> bool:
        if node.kind in self.workflow.subgraphs:
            return slot.name in self.inside(node)._inputs_with_control()
        return slot.widget is not None

    def _promoted_to(self, node: Node) -> Values:
        """Values for this node's controls on the subgraph's node outside."""
        if self.outside is None:
            return {}
        _, host = self.outside
        if not host.promoted or isinstance(host.values, dict):
            return {}
        pairs = zip(host.promoted, host.values, strict=False)
        return {
            name: value
            for (inner, name), value in pairs
            if inner == str(node.id) and value is not None and name not in EDITOR_VALUES
        }

    def set_node(self, name: str) -> "tuple[Scope, Node]":
        """The Set of that name, here or around. Raises BadInput."""
        for node in self.sheet.nodes.values():
            if node.kind == "SetNode" and _first_value(node) == name:
                return self, node
        if self.outside is None:
            raise BadInput(
                f"The workflow gets '{name}' but sets it nowhere: add the Set node in ComfyUI's"
                " editor, or take the Get node out."
            )
        return self.outside[0].set_node(name)


def _through_first(scope: Scope, node: Node) -> Source:
    return scope.source(node.inputs[0] if node.inputs else None)


def _through_primitive(scope: Scope, node: Node) -> Source:
    value = _first_value(node)
    return None if value is None else Value(value)


def _through_get(scope: Scope, node: Node) -> Source:
    place, setter = scope.set_node(str(_first_value(node)))
    return place._output(setter, 0)


THROUGH: Mapping[str, Callable[[Scope, Node], Source]] = {
    **dict.fromkeys(REROUTES, _through_first),
    "PrimitiveNode": _through_primitive,
    "GetNode": _through_get,
}
"""How the editor's own nodes find what they hand on."""


def _literal(value: object) -> object:
    """A list would be read as a link: ComfyUI unwraps this one."""
    return {"__value__": value} if isinstance(value, list) else value


def _first_value(node: Node) -> object:
    values = node.values.values() if isinstance(node.values, dict) else node.values
    return next(iter(values), None)


def _bypass(node: Node, slot: int) -> Slot | None:
    """The input that a bypassed node hands on: of the output's kind, the same number first."""
    kind = node.outputs[slot].kind if slot < len(node.outputs) else "*"
    order = [*node.inputs[slot : slot + 1], *node.inputs]
    fitting = [one for one in order if one.link is not None and "*" in (kind, one.kind)]
    same = [one for one in order if one.link is not None and one.kind == kind]
    return next(iter([*same, *fitting]), None)


def _link_to(sheet: Sheet, target: int, slot: int) -> Link | None:
    ends = (one for one in sheet.links.values() if (one.target, one.target_slot) == (target, slot))
    return next(ends, None)
