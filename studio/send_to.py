"""Where a result can go on: which controls of which modes take it, from their declarations."""

from dataclasses import dataclass
from typing import Literal

from studio.fields import MediaControl, MediaKind, MediaRole
from studio.modes import MODES, Mode

Part = Literal["file", "last_frame"]
"""What of a result is sent: all of it, or the picture that a clip ends with."""


@dataclass(frozen=True)
class Sendable:
    """A result of the kind `made` gives its `part` to every control of this kind and role."""

    made: Literal["image", "video"]
    part: Part
    kind: MediaKind
    roles: frozenset[MediaRole]
    prefix: str = ""


SENDABLES = (
    Sendable(
        "image", "file", "image", frozenset({"source", "reference", "first_frame", "last_frame"})
    ),
    Sendable("video", "last_frame", "image", frozenset({"first_frame"}), "Last frame: "),
    Sendable("video", "file", "video", frozenset({"control"})),
)


@dataclass(frozen=True)
class Target:
    """A control that takes a part of a result; `label` is what the page calls it."""

    mode: str
    control: str
    part: Part
    label: str


def targets_of(made: str) -> tuple[Target, ...]:
    """The controls that take a result of a mode that makes `made`, in the order of the modes."""
    return tuple(
        Target(mode.id, field.name, sendable.part, sendable.prefix + _label(mode, field))
        for sendable in SENDABLES
        for mode in MODES.values()
        for field in mode.media
        if sendable.made == made and _takes(sendable, field)
    )


def _takes(sendable: Sendable, field: MediaControl) -> bool:
    return field.kind == sendable.kind and field.role in sendable.roles


def _label(mode: Mode, field: MediaControl) -> str:
    """The mode, and the control where the mode has more than one of the kind."""
    alike = [one for one in mode.media if one.kind == field.kind]
    return f"{mode.label}, {field.label.lower()}" if len(alike) > 1 else mode.label
