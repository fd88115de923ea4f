"""The controls of a mode as data: what a value may be, and when the control acts."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from studio.errors import BadInput

Scalar = str | float | int | bool | None
Params = Mapping[str, object]
"""The values of a request by field name, after `parse`."""

MediaKind = Literal["image", "audio", "video"]

MediaRole = Literal["source", "reference", "first_frame", "last_frame", "sound", "control"]
"""What the engine does with a file: `source` is changed, `reference` is looked at beside it, the
frames are where a clip starts or ends, `sound` is kept in it, `control` gives its movement."""


@dataclass(frozen=True)
class When:
    """The control acts only while the control `field` has one of the values `among`."""

    field: str
    among: tuple[Scalar, ...]

    def holds(self, params: Params) -> bool:
        return params.get(self.field) in self.among


@dataclass(frozen=True, kw_only=True)
class Control:
    """What every kind of control has. `shown` is None for one that always acts."""

    name: str
    label: str
    help: str = ""
    advanced: bool = False
    shown: When | None = None

    @property
    def flag(self) -> str:
        """The option on the command line."""
        return "--" + self.name.replace("_", "-")

    def acts(self, params: Params) -> bool:
        return self.shown is None or self.shown.holds(params)


@dataclass(frozen=True, kw_only=True)
class TextControl(Control):
    default: str = ""
    required: bool = False
    lines: int = 3
    longest: int = 8000
    """Characters. The text encoders read at most 1024 tokens, far less than this."""

    def parse(self, raw: object) -> str:
        # Half a character, as JSON can hold it, is no text for a tokenizer or a file.
        text = self.default if raw is None else _whole(str(raw)).strip()
        if self.required and not text:
            raise BadInput(f"{self.label} is empty: say what you want to see.", self.name)
        if len(text) > self.longest:
            raise BadInput(
                f"{self.label} has {len(text)} characters; at most {self.longest} are allowed.",
                self.name,
            )
        return text


@dataclass(frozen=True, kw_only=True)
class NumberControl(Control):
    minimum: float
    maximum: float
    default: float | None
    """None: decided by the inputs or the weights, as `empty` says."""
    step: float = 1
    integer: bool = False
    unit: str = ""
    empty: str = ""

    def parse(self, raw: object) -> float | int | None:
        if raw is None or raw == "":
            return self.default
        number = _number(raw)
        if number is None or (self.integer and number != int(number)):
            kind = "a whole number" if self.integer else "a number"
            raise BadInput(f"{self.label} must be {kind}, not '{_short(raw)}'.", self.name)
        if not self.minimum <= number <= self.maximum:
            raise BadInput(
                f"{self.label} must be between {self.minimum:g} and {self.maximum:g}{self._unit()},"
                f" not {number:g}.",
                self.name,
            )
        return int(number) if self.integer else number

    def _unit(self) -> str:
        return f" {self.unit}" if self.unit else ""


@dataclass(frozen=True)
class Option:
    value: str
    label: str
    help: str = ""


@dataclass(frozen=True, kw_only=True)
class ChoiceControl(Control):
    options: tuple[Option, ...]
    default: str

    def parse(self, raw: object) -> str:
        if raw is None or raw == "":
            return self.default
        values = [option.value for option in self.options]
        if raw not in values:
            raise BadInput(
                f"{self.label} cannot be '{_short(raw)}': choose {_either(values)}.", self.name
            )
        return str(raw)


@dataclass(frozen=True, kw_only=True)
class ToggleControl(Control):
    default: bool = False

    def parse(self, raw: object) -> bool:
        if raw is None or raw == "":
            return self.default
        if isinstance(raw, bool):
            return raw
        known = {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}
        if str(raw).lower() not in known:
            raise BadInput(f"{self.label} must be yes or no, not '{_short(raw)}'.", self.name)
        return known[str(raw).lower()]


@dataclass(frozen=True, kw_only=True)
class MediaControl(Control):
    """One file, or up to `most`. The parsed value is a tuple of paths as text."""

    kind: MediaKind
    role: MediaRole
    strength: str | None = None
    """The control that says how firmly the file is followed."""
    required: bool = True
    most: int = 1

    def parse(self, raw: object) -> tuple[str, ...]:
        files = _as_list(raw)
        if self.required and not files:
            raise BadInput(f"{self.label} is missing: give {_A_FILE[self.kind]}.", self.name)
        if len(files) > self.most:
            raise BadInput(
                f"{self.label}: {len(files)} files are given, at most {self.most} are allowed.",
                self.name,
            )
        return tuple(str(file) for file in files)


@dataclass(frozen=True)
class LoraChoice:
    """A user's LoRA: a file name in the LoRA folder, or a path, and how strongly it acts."""

    file: str
    strength: float


@dataclass(frozen=True, kw_only=True)
class LoraControl(Control):
    """Up to `most` LoRAs, each `FILE` or `FILE:STRENGTH`."""

    most: int = 4
    minimum: float = -2.0
    maximum: float = 2.0

    @property
    def flag(self) -> str:
        return "--lora"

    def parse(self, raw: object) -> tuple[LoraChoice, ...]:
        chosen = tuple(self._choice(one) for one in _as_list(raw))
        if len(chosen) > self.most:
            raise BadInput(
                f"{len(chosen)} LoRAs are given, at most {self.most} are allowed.", self.name
            )
        return chosen

    def _choice(self, raw: object) -> LoraChoice:
        choice = raw if isinstance(raw, LoraChoice) else _split_lora(raw)
        if not self.minimum <= choice.strength <= self.maximum:
            raise BadInput(
                f"The strength of the LoRA '{choice.file}' must be between {self.minimum:g} and"
                f" {self.maximum:g}, not {choice.strength:g}.",
                self.name,
            )
        return choice


Field = TextControl | NumberControl | ChoiceControl | ToggleControl | MediaControl | LoraControl

_A_FILE: dict[MediaKind, str] = {
    "image": "a picture (PNG, JPEG, WebP, …)",
    "audio": "a sound (WAV, MP3, M4A, FLAC, …)",
    "video": "a video (MP4, MOV, WebM, …)",
}


def parse_fields(fields: tuple[Field, ...], raw: Mapping[str, object]) -> dict[str, object]:
    """Every field's value by name. Raises BadInput for an unknown name or a value not allowed."""
    unknown = sorted(set(raw) - {field.name for field in fields})
    if unknown:
        raise BadInput(f"This mode has no control '{_short(unknown[0])}'.", unknown[0])
    return {field.name: field.parse(raw.get(field.name)) for field in fields}


def _number(raw: object) -> float | None:
    if isinstance(raw, bool):
        return None
    try:
        number = float(str(raw))
    except ValueError:
        return None
    return number if math.isfinite(number) else None


def _as_list(raw: object) -> list[object]:
    if raw is None or raw == "":
        return []
    return [one for one in raw if one] if isinstance(raw, list | tuple) else [raw]


def _split_lora(raw: object) -> LoraChoice:
    if isinstance(raw, Mapping):
        return LoraChoice(str(raw.get("file", "")), _number(raw.get("strength", 1.0)) or 0.0)
    file, colon, strength = str(raw).rpartition(":")
    number = _number(strength)
    return LoraChoice(file, number) if colon and number is not None else LoraChoice(str(raw), 1.0)


def _either(values: list[str]) -> str:
    return ", ".join(values[:-1]) + f" or {values[-1]}" if len(values) > 1 else values[0]


def _whole(text: str) -> str:
    return text.encode("utf-8", "replace").decode("utf-8")


def _short(raw: object) -> str:
    text = str(raw)
    return text if len(text) <= 40 else text[:39] + "…"
