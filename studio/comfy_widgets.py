"""Which control of a ComfyUI node each value of an editor's workflow belongs to.

The editor saves values without names, in the order in which the node's class defines its
controls, with controls of the editor's own in between.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from studio.errors import BadInput

DYNAMIC_COMBO = "COMFY_DYNAMICCOMBO_V3"
"""A list whose chosen entry brings inputs of its own, named `<list>.<input>`."""

WIDGET_KINDS = {
    "INT",
    "FLOAT",
    "STRING",
    "BOOLEAN",
    "COMBO",
    "COLOR",
    "COLORS",
    "BOUNDING_BOX",
    "CURVE",
    "RANGE",
    DYNAMIC_COMBO,
}
"""Kinds of input that the editor draws as a control; the others are sockets."""

SEEDS = {"seed", "noise_seed"}
CONTROL_VALUES = {"fixed", "increment", "decrement", "increment-wrap", "randomize"}
"""Values of the 'control after generate' that the editor puts after a seed."""

UPLOADS = {"image_upload", "audio_upload", "video_upload", "file_upload", "upload"}
UPLOAD_VALUES = ("image", "audio", "video", "", None)
"""What the editor saves for the upload button and the player below a file's name."""

EDITOR_VALUES = {"videopreview", "control_after_generate", "control_before_generate"}
"""Values that the editor keeps for itself in nodes that save theirs by name."""


@dataclass(frozen=True)
class Definition:
    """What a class of node takes. `groups` are its required inputs, then the optional ones."""

    groups: tuple[Mapping[str, "Spec"], ...]
    is_output: bool


@dataclass(frozen=True)
class Spec:
    kind: str
    options: Mapping[str, Any]

    def default(self) -> object:
        """None where the class names none."""
        if "default" in self.options:
            return self.options["default"]
        choices = self.options.get("options") or [None]
        first = choices[0]
        return first.get("key") if isinstance(first, dict) else first

    def chosen(self, value: object) -> tuple[Mapping[str, "Spec"], ...]:
        """The further inputs of a dynamic list's chosen entry."""
        if self.kind != DYNAMIC_COMBO:
            return ()
        for one in self.options.get("options") or ():
            if one["key"] == value:
                return groups_of(one["inputs"])
        return ()


Definitions = Mapping[str, Definition]


def read_definitions(data: object) -> Definitions:
    """From what ComfyUI's `/object_info` answers, or what `record_comfy_nodes.py` wrote.

    Raises BadInput.
    """
    try:
        if isinstance(data, dict) and data:
            return {str(name): _definition(str(name), one) for name, one in data.items()}
    except (KeyError, TypeError, ValueError, IndexError, AttributeError) as error:
        raise _no_definitions() from error
    raise _no_definitions()


def _no_definitions() -> BadInput:
    return BadInput("The list of nodes cannot be read: save what ComfyUI's '/object_info' answers.")


def _definition(name: str, data: Mapping[str, Any]) -> Definition:
    if "input" in data:
        return Definition(groups_of(data["input"]), bool(data.get("output_node")))
    # A recording does not say which nodes are outputs.
    is_output = not data["outputs"] or name.startswith("Save")
    return Definition(groups_of(data), is_output)


def groups_of(data: Mapping[str, Any]) -> tuple[Mapping[str, Spec], ...]:
    return tuple(
        {name: _spec(one) for name, one in (data.get(group) or {}).items()}
        for group in ("required", "optional")
    )


def _spec(data: Any) -> Spec:  # noqa: ANN401 - a list of any shape, or a recording's object
    if isinstance(data, Mapping):
        return Spec(str(data["type"]), data)
    kind, options = data[0], data[1] if len(data) > 1 and isinstance(data[1], Mapping) else {}
    if isinstance(kind, list | tuple):
        return Spec("COMBO", {"options": list(kind), **options})
    # ComfyUI's own kinds are enums of strings.
    return Spec(str(getattr(kind, "value", kind)), options)


def named_values(
    definition: Definition, values: list[Any] | dict[str, Any], drawn: set[str]
) -> dict[str, Any]:
    """The value of each control by its name; one that was not saved has the class's default.

    `drawn` are names that the node itself shows as controls, whatever their kind.
    """
    if isinstance(values, dict):
        return {name: one for name, one in values.items() if name not in EDITOR_VALUES}
    return dict(_named(definition.groups, list(values), drawn, ""))


def _named(
    groups: tuple[Mapping[str, Spec], ...], values: list[Any], drawn: set[str], prefix: str
) -> Iterator[tuple[str, Any]]:
    """Takes what it names from the front of `values`."""
    for group in groups:
        for short, spec in group.items():
            name = prefix + short
            if not _is_widget(spec, name in drawn):
                continue
            value = values.pop(0) if values else spec.default()
            if value is not None:
                yield name, value
            yield from _named(spec.chosen(value), values, drawn, f"{name}.")
            _drop_control(spec, short, values)
        if any(spec.options.get(one) for spec in group.values() for one in UPLOADS):
            _drop_upload(values)


def _is_widget(spec: Spec, is_drawn: bool) -> bool:
    if spec.options.get("forceInput") or spec.options.get("rawLink"):
        return False
    return spec.kind in WIDGET_KINDS or "widgetType" in spec.options or is_drawn


def _drop_control(spec: Spec, name: str, values: list[Any]) -> None:
    has_control = name in SEEDS or spec.options.get("control_after_generate")
    if has_control and values and values[0] in CONTROL_VALUES:
        values.pop(0)
        if spec.kind == "COMBO" and values and values[0] == "":
            # The filter that the editor adds below the control of a list.
            values.pop(0)


def _drop_upload(values: list[Any]) -> None:
    """The button, and for sound the player."""
    for _ in range(2):
        if values and values[0] in UPLOAD_VALUES:
            values.pop(0)
