"""From what a form or a script sends to a raw request that names no file of the server."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from gradio.utils import get_upload_folder

from studio.errors import BadInput
from studio.families import FAMILIES
from studio.fields import LoraChoice, LoraControl, MediaControl
from studio.home import Home
from studio.model_places import names_in
from studio.modes import Mode

Raw = dict[str, object]
"""Values by control, not yet parsed."""


def form_values(mode: Mode, values: Sequence[object]) -> Raw:
    """The values of a form's inputs by control: one each, two for every row of LoRAs.

    What a control holds while it is hidden is nothing that anybody asked for, and is left out.
    """
    waiting = iter(values)
    raw: Raw = {}
    for field in mode.fields:
        if isinstance(field, LoraControl):
            raw[field.name] = _chosen_loras([next(waiting) for _ in range(2 * field.most)])
        else:
            raw[field.name] = next(waiting)
    acting = {field.name: raw[field.name] for field in mode.fields if field.acts(raw)}
    return {**acting, "weights": next(waiting)}


def safe_values(mode: Mode, raw: Mapping[str, object], home: Home, own_files: bool = False) -> Raw:
    """The same with media as paths of uploaded files and LoRAs as names in the LoRA folder.

    A client may send anything. Raises BadInput, naming the control, for any other file; with
    `own_files`, for one whose files these are, media may lie anywhere.
    """
    safe = dict(raw)
    for field in mode.fields:
        if isinstance(field, MediaControl):
            safe[field.name] = _uploads(field, raw.get(field.name), own_files)
        if isinstance(field, LoraControl):
            safe[field.name] = _listed_loras(field, raw.get(field.name), home)
    return safe


def own_loras(home: Home, family: str) -> list[str]:
    """The user's LoRA files by their place in the LoRA folder, the model makers' left out."""
    makers = {adapter.file for adapter in FAMILIES[family].adapters.values()}
    return [name for name in _lora_files(home) if Path(name).name not in makers]


def _lora_files(home: Home) -> list[str]:
    return sorted(names_in(home, "loras"))


def _chosen_loras(values: Sequence[object]) -> list[dict[str, object]]:
    pairs = zip(values[::2], values[1::2], strict=True)
    return [{"file": file, "strength": strength} for file, strength in pairs if file]


def _listed_loras(field: LoraControl, value: object, home: Home) -> tuple[LoraChoice, ...]:
    listed = _lora_files(home)
    chosen = field.parse(value)
    for choice in chosen:
        if choice.file not in listed and f"{choice.file}.safetensors" not in listed:
            raise BadInput(
                f"There is no LoRA '{choice.file}' in the LoRA folder: put the file there first.",
                field.name,
            )
    return chosen


def _uploads(field: MediaControl, value: object, own_files: bool) -> list[str]:
    paths = list(paths_in(value))
    if not all(is_upload(path) or (own_files and Path(path).is_absolute()) for path in paths):
        raise not_uploaded(field)
    return paths


def not_uploaded(field: MediaControl) -> BadInput:
    """For a file that is on the server, and not the visitor's upload."""
    return BadInput(f"{field.label}: this file was not uploaded here, add it.", field.name)


def is_upload(path: str) -> bool:
    """Whether the path leads into the folder of Gradio's uploads."""
    try:
        return Path(path).resolve().is_relative_to(Path(get_upload_folder()).resolve())
    except (ValueError, OSError):
        # What no file can be called, or a loop of links.
        return False


def paths_in(value: object) -> Iterator[str]:
    """The paths in what upload components send: file data, alone, in a list or in a gallery."""
    if isinstance(value, list | tuple):
        for one in value:
            yield from paths_in(one)
    elif isinstance(value, Mapping):
        yield from paths_in(value.get("image") or value.get("path"))
    elif value:
        yield str(value)
