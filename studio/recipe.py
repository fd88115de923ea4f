"""What was made from what: the record that every result carries, as versioned JSON."""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from typing import TypeAlias, TypeVar

from studio.errors import BadInput

Json: TypeAlias = "bool | int | float | str | Sequence[Json] | Mapping[str, Json] | None"

VERSION = 1

MAX_TEXT_BYTES = 8 * 1024**2
"""Of one text in a file. The largest ComfyUI graphs take about 1 MB."""

_MAX_DEPTH = 64
"""Nesting of JSON from a file. A recipe needs 6, a ComfyUI graph fewer than 10."""

_LARGEST_INTEGER = 2**64
"""ComfyUI's seeds end below it, and nothing in a recipe is larger."""

T = TypeVar("T")


@dataclass(frozen=True)
class LoraRecord:
    """A LoRA that took part. `sha256` is of the whole file, None where it was not read."""

    name: str
    strength: float
    sha256: str | None = None


@dataclass(frozen=True)
class InputRecord:
    """A file that the user brought: which control it filled, its name, and its content's hash."""

    role: str
    name: str
    sha256: str


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """Everything needed to say how a result was made, and to make it again."""

    mode: str
    engine: str
    family: str
    weights: str
    demo: bool
    """Made with the demo weights."""
    preset: str
    params: Mapping[str, Json]
    """What the user asked, by field name, without media: enough to restore every control."""
    seed: int
    """The seed that was used, drawn where the user left it open."""
    width: int
    height: int
    frames: int
    """1 for a picture."""
    fps: float | None
    """None for a picture."""
    sampling: tuple[Mapping[str, Json], ...]
    """One entry a stage: `steps`, `sampler`, `sigmas`, `guidance` (a number, or a mapping with
    `scale`), and what else its preset sets."""
    loras: tuple[LoraRecord, ...]
    inputs: tuple[InputRecord, ...]
    timings: Mapping[str, float]
    """Seconds by stage."""
    created: str
    """ISO 8601, UTC."""
    studio: str
    """The version of the studio."""
    edited: bool
    """The result is an edit of a picture or clip that was given."""
    notes: tuple[str, ...] = ()
    graph: Mapping[str, Json] | None = None
    """The ComfyUI prompt (API format) that ran, for a graph job."""
    item: str = ""
    """Names the item of a job that it is; tells something only to the studio that has the job."""
    version: int = VERSION


def to_json(recipe: Recipe) -> str:
    """ASCII JSON, which every container keeps as it is. Equal recipes give equal texts.

    Raises ValueError for a number that JSON has no form for (NaN, infinity).
    """
    return dump_json({field.name: getattr(recipe, field.name) for field in fields(recipe)})


def dump_json(value: object) -> str:
    """ASCII JSON of plain values, mappings of any kind and this module's records."""
    return json.dumps(value, default=_plain, allow_nan=False)


def from_json(text: str) -> Recipe:
    """The recipe in `text`. What a newer version has added is left out, what is absent is empty.

    Raises BadInput for anything that is not a recipe.
    """
    data = parse_json(text)
    if not isinstance(data, Mapping) or not {"version", "mode", "params", "seed"} <= set(data):
        raise _damaged()
    return Recipe(
        mode=_read(data, "mode", str, ""),
        engine=_read(data, "engine", str, ""),
        family=_read(data, "family", str, ""),
        weights=_read(data, "weights", str, ""),
        demo=_read(data, "demo", bool, False),
        preset=_read(data, "preset", str, ""),
        params=_read(data, "params", dict, {}),
        seed=_read(data, "seed", int, 0),
        width=_read(data, "width", int, 0),
        height=_read(data, "height", int, 0),
        frames=_read(data, "frames", int, 1),
        fps=_number(data["fps"]) if data.get("fps") is not None else None,
        sampling=_records(data, "sampling"),
        loras=tuple(_lora(one) for one in _records(data, "loras")),
        inputs=tuple(_input(one) for one in _records(data, "inputs")),
        timings={name: _number(one) for name, one in _read(data, "timings", dict, {}).items()},
        created=_read(data, "created", str, ""),
        studio=_read(data, "studio", str, ""),
        edited=_read(data, "edited", bool, False),
        notes=tuple(_checked(one, str) for one in _read(data, "notes", list, [])),
        graph=_checked(data["graph"], dict) if data.get("graph") is not None else None,
        item=_read(data, "item", str, ""),
        version=_read(data, "version", int, VERSION),
    )


def parse_json(text: str) -> Json:
    """JSON from a file that nobody vouches for. Numbers that are not finite become None.

    Raises BadInput for what is not JSON, is too long, too deep, or holds a vast number.
    """
    if len(text) > MAX_TEXT_BYTES:
        raise _damaged()
    try:
        # ComfyUI itself writes NaN into its graphs ("is_changed").
        value = json.loads(text, parse_constant=lambda _: None, parse_float=_finite)
    except (ValueError, RecursionError) as error:
        raise _damaged() from error
    _require_reasonable(value)
    return value  # type: ignore[no-any-return]


def is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _plain(value: object) -> object:
    if isinstance(value, LoraRecord | InputRecord):
        return asdict(value)
    if isinstance(value, Mapping):
        return dict(value)
    raise TypeError(f"a recipe cannot hold {value!r}")


def _finite(text: str) -> float | None:
    number = float(text)
    return number if math.isfinite(number) else None


def _require_reasonable(value: object) -> None:
    level: list[object] = [value]
    for _ in range(_MAX_DEPTH):
        if any(isinstance(one, int) and abs(one) >= _LARGEST_INTEGER for one in level):
            raise _damaged()
        level = [inner for one in level for inner in _inside(one)]
    if level:
        raise _damaged()


def _inside(value: object) -> Sequence[object]:
    if isinstance(value, dict):
        return list(value.values())
    return value if isinstance(value, list) else ()


def _read(data: Mapping[str, Json], name: str, kind: type[T], absent: T) -> T:
    return _checked(data[name], kind) if name in data else absent


def _checked(value: object, kind: type[T]) -> T:
    # bool is a subclass of int, and true is no size.
    if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
        raise _damaged()
    return value


def _number(value: object) -> float:
    if not is_number(value):
        raise _damaged()
    return value  # type: ignore[return-value]


def _records(data: Mapping[str, Json], name: str) -> tuple[Mapping[str, Json], ...]:
    return tuple(_checked(one, dict) for one in _read(data, name, list, []))


def _lora(data: Mapping[str, Json]) -> LoraRecord:
    sha256 = data.get("sha256")
    return LoraRecord(
        _checked(data.get("name"), str),
        _number(data.get("strength")),
        None if sha256 is None else _checked(sha256, str),
    )


def _input(data: Mapping[str, Json]) -> InputRecord:
    role, name, sha256 = (_checked(data.get(key), str) for key in ("role", "name", "sha256"))
    return InputRecord(role, name, sha256)


def _damaged() -> BadInput:
    return BadInput("The recipe in this file is damaged and cannot be read: choose another file.")
