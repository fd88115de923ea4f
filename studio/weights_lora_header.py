"""A LoRA file's header: its keys, shapes and metadata, without reading a tensor.

File format: 8 bytes little-endian length, that many bytes of JSON, then the tensors
(https://github.com/huggingface/safetensors#format).
"""

import json
import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from studio.errors import BadInput

# The limit of the safetensors library itself.
HEADER_LIMIT = 100_000_000
MEGABYTE = 1_000_000

Shapes = Mapping[str, tuple[int, ...]]
"""Shapes of tensors by their keys, of a file's header or of loaded tensors."""

_LYCORIS = re.compile(r"\.(hada_w|lokr_w)[12]")

_FACTOR = re.compile(
    r"^(?P<layer>.+?)\."
    r"(?:(?P<down>lora_A|lora_down|lora\.down)|(?P<up>lora_B|lora_up|lora\.up)|(?P<alpha>alpha))"
    r"(?:\.default)?(?:\.weight)?$"
)


class Entry(NamedTuple):
    """A tensor's shape and its dtype as safetensors writes it ("BF16")."""

    shape: tuple[int, ...]
    dtype: str


@dataclass(frozen=True)
class LoraHeader:
    path: Path
    tensors: Mapping[str, Entry]
    metadata: Mapping[str, str]

    @property
    def shapes(self) -> Shapes:
        return {key: entry.shape for key, entry in self.tensors.items()}


@dataclass(frozen=True)
class Layer:
    """The keys of one layer's tensors; alpha scales the product by alpha / rank."""

    down: str = ""
    up: str = ""
    alpha: str = ""


def read_header(path: Path) -> LoraHeader:
    """Keys, shapes, dtypes and metadata of a LoRA file.

    Raises BadInput where the file is missing, not in safetensors format, incomplete, or no LoRA.
    """
    try:
        with path.open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            length = int.from_bytes(file.read(8), "little")
            raw = file.read(length) if length <= HEADER_LIMIT else b""
    except OSError as error:
        raise BadInput(
            f"The LoRA '{path.name}' cannot be read: put it into the LoRA folder and choose it"
            " again."
        ) from error
    if raw.startswith(b"{"):
        _check_size(path.name, size, 8 + length)
    header, data_size = _parse(path, raw)
    _check_size(path.name, size, 8 + length + data_size)
    _check_lora(header)
    _check_factors(header)
    return header


def layers(keys: Iterable[str]) -> dict[str, Layer]:
    """Layers by their names in the file; a key that is no LoRA factor is a layer without any."""
    roles: dict[str, dict[str, str]] = {}
    for key in keys:
        factor = _FACTOR.match(key)
        if factor is None:
            roles.setdefault(key, {})
        else:
            roles.setdefault(factor["layer"], {})[str(factor.lastgroup)] = key
    return {name: Layer(**role) for name, role in roles.items()}


def _check_size(name: str, size: int, needed: int) -> None:
    if size < needed:
        raise BadInput(
            f"The LoRA '{name}' is incomplete, {size / MEGABYTE:.1f} of {needed / MEGABYTE:.1f} MB"
            " are here: download it again."
        )


def _parse(path: Path, raw: bytes) -> tuple[LoraHeader, int]:
    """The header and the bytes of tensors that follow it."""
    try:
        content = json.loads(raw)
        notes = {str(key): str(note) for key, note in content.pop("__metadata__", {}).items()}
        tensors = {
            key: Entry(tuple(map(int, entry["shape"])), str(entry["dtype"]))
            for key, entry in content.items()
        }
        data_size = max((int(entry["data_offsets"][1]) for entry in content.values()), default=0)
        return LoraHeader(path, tensors, notes), data_size
    except (ValueError, TypeError, AttributeError, LookupError, RecursionError) as error:
        raise BadInput(
            f"'{path.name}' is not a safetensors file: choose a LoRA in that format."
        ) from error


def _check_lora(header: LoraHeader) -> None:
    names = "\n".join(header.tensors)
    if _LYCORIS.search(names):
        raise BadInput(
            f"'{header.path.name}' is a LyCORIS file (LoHa or LoKr), which cannot be used here:"
            " choose a plain LoRA."
        )
    if "lora" not in names:
        raise BadInput(
            f"'{header.path.name}' has no LoRA layers in it, it looks like a full checkpoint:"
            " choose a LoRA file."
        )


def _check_factors(header: LoraHeader) -> None:
    for layer in layers(header.tensors).values():
        factors = [header.tensors[key] for key in (layer.down, layer.up) if key]
        if any(len(factor.shape) < 2 or min(factor.shape) < 1 for factor in factors):
            raise BadInput(
                f"The LoRA '{header.path.name}' is damaged: download it again, or choose another."
            )
