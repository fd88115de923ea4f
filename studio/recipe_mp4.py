"""Recipes in MP4 files: the muxer's tags, and the AI mark as an XMP box behind the media.

An MP4 is a row of boxes: length (4 bytes, big-endian, itself included), kind (4), body. Names of
the boxes as in ISO/IEC 14496-12, of the tags as in Apple's QuickTime File Format.
"""

import io
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from studio import disk
from studio.errors import BadInput, EngineFailed
from studio.recipe import MAX_TEXT_BYTES, Recipe
from studio.recipe_text import COMMENT_KEY, READ_KEYS, XMP_KEY, made_with, texts, xmp_packet

XMP_UUID = bytes.fromhex("BE7ACFCB97A942E89C71999491E3AFAC")
"""Marks a top-level `uuid` box as XMP (XMP specification, part 3)."""

_MAX_BOXES = 100_000
"""In one place. An hour of one-second fragments has 7,200."""

_UTF8 = b"\0\0\0\1"
"""Type of a `data` box that holds text (QuickTime's well-known types)."""

_CLASSIC_KEYS = {b"\xa9cmt": COMMENT_KEY}


def mp4_tags(recipe: Recipe) -> dict[str, str]:
    """Container tags for the muxer, which must be opened with the movflags
    `use_metadata_tags+faststart`: without the first, only names that iTunes knows are written.
    """
    return {COMMENT_KEY: f"Made by AI with {made_with(recipe)}", **texts(recipe)}


def add_xmp(path: Path, recipe: Recipe) -> None:
    """Appends the AI mark to a finished MP4 that still has its temporary name.

    Raises EngineFailed when the file is not whole or the disk refuses.
    """
    body = XMP_UUID + xmp_packet(recipe).encode()
    with disk.disk_errors(path.parent, EngineFailed), path.open("r+b") as file:
        end = 0
        for box in _boxes(file, 0, file.seek(0, io.SEEK_END)):
            end = box.end
        if end != file.seek(0, io.SEEK_END):
            raise EngineFailed("The finished video is not a whole MP4 file: run this job again.")
        file.write(struct.pack(">I4s", 8 + len(body), b"uuid") + body)


def mp4_texts(path: Path) -> dict[str, str]:
    """The texts under `READ_KEYS` in an MP4 file, the first of each key.

    Raises BadInput for a tag larger than MAX_TEXT_BYTES, OSError where the file cannot be read.
    """
    found: dict[str, str] = {}
    with path.open("rb") as file:
        for box in _boxes(file, 0, file.seek(0, io.SEEK_END)):
            if box.kind == b"moov":
                _collect_tags(file, box, found)
            elif box.kind == b"uuid" and _body(file, box, 16) == XMP_UUID:
                packet = _Box(b"xmp ", box.start + 16, box.end)
                found.setdefault(XMP_KEY, _text(file, packet))
    return found


@dataclass(frozen=True)
class _Box:
    kind: bytes
    start: int
    """Of the body."""
    end: int


def _boxes(file: BinaryIO, start: int, end: int) -> Iterator[_Box]:
    """The boxes from `start` to `end`, up to the first that does not fit."""
    for _ in range(_MAX_BOXES):
        file.seek(start)
        header = file.read(min(16, end - start))
        if len(header) < 8:
            return
        length, kind = struct.unpack(">I4s", header[:8])
        body = start + 8
        if length == 1 and len(header) == 16:
            length, body = int.from_bytes(header[8:], "big"), start + 16
        if length < body - start or start + length > end:
            return
        yield _Box(kind, body, start + length)
        start += length


def _first(file: BinaryIO, parent: _Box, kind: bytes, skip: int = 0) -> _Box | None:
    """`skip`: bytes of the parent's own before its children (4 in a box with version and flags)."""
    inside = _boxes(file, parent.start + skip, parent.end)
    return next((box for box in inside if box.kind == kind), None)


def _collect_tags(file: BinaryIO, moov: _Box, found: dict[str, str]) -> None:
    # The first of each kind only: muxers write one, and a forged file could hold a million.
    udta = _first(file, moov, b"udta")
    meta = udta and _first(file, udta, b"meta")
    if meta is None:
        return
    keys = _first(file, meta, b"keys", 4)
    ilst = _first(file, meta, b"ilst", 4)
    if ilst is not None:
        _collect_items(file, ilst, _keys(file, keys) if keys else [], found)


def _keys(file: BinaryIO, box: _Box) -> list[str]:
    """The names in a `keys` box; item n (from 1) of `ilst` has name n - 1."""
    entries = _boxes(file, box.start + 8, box.end)
    return [_body(file, entry, 256).decode("utf-8", "replace") for entry in entries]


def _collect_items(file: BinaryIO, ilst: _Box, keys: list[str], found: dict[str, str]) -> None:
    for item in _boxes(file, ilst.start, ilst.end):
        number = int.from_bytes(item.kind, "big")
        classic = _CLASSIC_KEYS.get(item.kind, "")
        key = keys[number - 1] if 0 < number <= len(keys) else classic
        if key in READ_KEYS - set(found):
            data = next(_boxes(file, item.start, item.end), None)
            if data and data.kind == b"data" and _body(file, data, 4) == _UTF8:
                found[key] = _text(file, _Box(b"text", data.start + 8, data.end))


def _body(file: BinaryIO, box: _Box, most: int) -> bytes:
    file.seek(box.start)
    return file.read(min(box.end - box.start, most))


def _text(file: BinaryIO, box: _Box) -> str:
    if box.end - box.start > MAX_TEXT_BYTES:
        raise BadInput("The recipe in this video is far too large to be real: choose another file.")
    return _body(file, box, MAX_TEXT_BYTES).decode("utf-8", "replace")
