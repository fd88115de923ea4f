"""A safetensors file's header: its keys, shapes and metadata, without reading a tensor.

File format: 8 bytes little-endian length, that many bytes of JSON, then the tensors
(https://github.com/huggingface/safetensors#format).
"""

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

# The limit of the safetensors library itself.
LENGTH_LIMIT = 100_000_000


class Entry(NamedTuple):
    """A tensor's shape and its dtype as safetensors writes it ("BF16")."""

    shape: tuple[int, ...]
    dtype: str


@dataclass(frozen=True)
class SafetensorsHeader:
    tensors: Mapping[str, Entry]
    metadata: Mapping[str, str]
    size: int
    """Bytes of the file that was read."""
    needed: int
    """Bytes of the whole file by what its header says."""


class BrokenHeader(ValueError):
    """The file does not begin like a safetensors file."""


class ShortFile(ValueError):
    """The file ends before its tensors do: `size` of `needed` bytes are there."""

    def __init__(self, size: int, needed: int) -> None:
        super().__init__(f"{size} of {needed} bytes")
        self.size = size
        self.needed = needed


def read_safetensors_header(path: Path) -> SafetensorsHeader:
    """Raises OSError, BrokenHeader, and ShortFile where the file is incomplete."""
    with path.open("rb") as file:
        size = os.fstat(file.fileno()).st_size
        length = int.from_bytes(file.read(8), "little")
        raw = file.read(length) if length <= LENGTH_LIMIT else b""
    if raw.startswith(b"{") and size < 8 + length:
        raise ShortFile(size, 8 + length)
    header = _parse(raw, size, 8 + length)
    if size < header.needed:
        raise ShortFile(size, header.needed)
    return header


def _parse(raw: bytes, size: int, start: int) -> SafetensorsHeader:
    """The header whose tensors begin at byte `start` of the file."""
    try:
        content = json.loads(raw)
        notes = {str(key): str(note) for key, note in content.pop("__metadata__", {}).items()}
        tensors = {
            key: Entry(tuple(map(int, entry["shape"])), str(entry["dtype"]))
            for key, entry in content.items()
        }
        ends = (int(entry["data_offsets"][1]) for entry in content.values())
        return SafetensorsHeader(tensors, notes, size, start + max(ends, default=0))
    except (ValueError, TypeError, AttributeError, LookupError, RecursionError) as error:
        raise BrokenHeader("not a safetensors header") from error
