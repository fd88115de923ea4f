"""Settings out of A1111's `parameters` text, which Forge, SD.Next, Civitai and others write too."""

import json
import re
from collections.abc import Callable, Mapping

from studio.recipe import Json

Recovered = tuple[dict[str, Json], list[str]]
"""Settings by our field names, and what was said but has no field here."""

# As A1111's own reader takes it apart, but with bounded labels and no leading blanks: on a hostile
# text those two would cost quadratic time.
_PAIR = re.compile(r'(\w[\w \-/]{1,60}):\s*("(?:\\.|[^\\"])+"|[^,]*)(?:,|$)')
_FEWEST_PAIRS = 3
_LONGEST_LINE = 2**16
"""Characters. With the longest known extensions a line of settings has a tenth of it."""

_SIZE = re.compile(r"(\d{1,5})x(\d{1,5})")
_WHOLE = re.compile(r"-?\d{1,19}")
_LORA_TAG = re.compile(r" ?<(?:lora|lyco):([^<>]{1,200})>")
_NEGATIVE = "Negative prompt:"

# They name files and programs again that another entry has named already.
_NO_SETTINGS = frozenset(
    {"Version", "Model hash", "VAE hash", "Lora hashes", "TI hashes", "Hashes"}
)


def a1111_settings(text: str) -> Recovered | None:
    """The settings in `text`; None where no line of settings ends it."""
    *lines, last = text.strip().split("\n")
    pairs = _PAIR.findall(last) if len(last) <= _LONGEST_LINE else []
    if len(pairs) < _FEWEST_PAIRS:
        return None
    prompt, negative = _prompts(lines)
    settings: dict[str, Json] = {"prompt": _LORA_TAG.sub("", prompt).strip()}
    if negative:
        settings["negative"] = negative
    lost = [f"LoRA {tag}" for tag in _LORA_TAG.findall(prompt)]
    for label, value in pairs:
        recovered = _setting(label, _unquoted(value))
        settings.update(recovered)
        if not recovered and label not in _NO_SETTINGS:
            lost.append(f"{label}: {_unquoted(value)}")
    return settings, lost


def _prompts(lines: list[str]) -> tuple[str, str]:
    lines = [line.strip() for line in lines]
    starts = [number for number, line in enumerate(lines) if line.startswith(_NEGATIVE)]
    if not starts:
        return "\n".join(lines), ""
    negative = [line.removeprefix(_NEGATIVE).strip() for line in lines[starts[0] :]]
    return "\n".join(lines[: starts[0]]), "\n".join(negative)


def _setting(label: str, value: str) -> Mapping[str, Json]:
    """What the pair sets here; empty where it sets nothing."""
    return _SETTINGS[label](value) if label in _SETTINGS else {}


def _size(value: str) -> Mapping[str, Json]:
    found = _SIZE.fullmatch(value)
    return {"width": int(found[1]), "height": int(found[2])} if found else {}


def _whole(field: str) -> Callable[[str], Mapping[str, Json]]:
    return lambda value: {field: int(value)} if _WHOLE.fullmatch(value) else {}


def _scale(value: str) -> Mapping[str, Json]:
    return {"guidance": float(value)} if re.fullmatch(r"\d{1,4}(\.\d{1,9})?", value) else {}


_SETTINGS: Mapping[str, Callable[[str], Mapping[str, Json]]] = {
    "Steps": _whole("steps"),
    "Seed": _whole("seed"),
    "CFG scale": _scale,
    "Size": _size,
}


def _unquoted(value: str) -> str:
    value = value.strip()
    if value[:1] != '"':
        return value
    try:
        return str(json.loads(value))
    except ValueError:
        return value
