"""Recipes in PNG files: text chunks, written by Pillow and read without touching the pixels."""

import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from PIL import Image
from PIL.PngImagePlugin import PngInfo

from studio import disk
from studio.errors import BadInput, EngineFailed
from studio.recipe import MAX_TEXT_BYTES, Recipe
from studio.recipe_text import READ_KEYS, XMP_KEY, texts, xmp_packet

SIGNATURE = b"\x89PNG\r\n\x1a\n"

_MAX_CHUNKS = 100_000
"""A 100-megapixel PNG in 8 KB pieces has half as many."""


def png_info(recipe: Recipe) -> PngInfo:
    """The chunks of a result: `parameters`, `aio_studio`, ComfyUI's `prompt`, and the AI mark."""
    info = PngInfo()
    for key, text in texts(recipe).items():
        info.add_text(key, text)
    # XMP must be uncompressed UTF-8 (XMP specification, part 3).
    info.add_itxt(XMP_KEY, xmp_packet(recipe))
    return info


def write_png(image: Image.Image, path: Path, recipe: Recipe) -> None:
    """Saves the picture with its recipe. Raises EngineFailed when the disk refuses."""
    with disk.disk_errors(path.parent, EngineFailed):
        image.save(path, format="PNG", pnginfo=png_info(recipe))


def png_texts(path: Path) -> dict[str, str]:
    """The texts under `READ_KEYS` in a PNG file, the first of each key.

    Raises BadInput for a damaged file or a text that would unpack to more than MAX_TEXT_BYTES,
    OSError where the file cannot be read.
    """
    found: dict[str, str] = {}
    with path.open("rb") as file:
        file.seek(len(SIGNATURE))
        for kind, length in _chunks(file):
            if kind not in _READERS:
                continue
            body = file.read(min(length, MAX_TEXT_BYTES))
            keyword, _, rest = body.partition(b"\0")
            key = keyword.decode("latin-1")
            if key in READ_KEYS - set(found):
                _require_whole(file, kind, body, length)
                found[key] = _READERS[kind](rest)
    return found


def _chunks(file: BinaryIO) -> Iterator[tuple[bytes, int]]:
    """Kind and length of every chunk, the file standing at its body."""
    for _ in range(_MAX_CHUNKS):
        header = file.read(8)
        if len(header) < 8 or header[4:] == b"IEND":
            return
        length = int.from_bytes(header[:4], "big")
        body = file.tell()
        yield header[4:], length
        file.seek(body + length + 4)


def _require_whole(file: BinaryIO, kind: bytes, body: bytes, length: int) -> None:
    checksum = int.from_bytes(file.read(4), "big")
    if len(body) < length or zlib.crc32(kind + body) != checksum:
        raise _unreadable()


def _plain_text(body: bytes) -> str:
    return body.decode("latin-1")


def _compressed_text(body: bytes) -> str:
    return _inflated(body[1:]).decode("latin-1")


def _international_text(body: bytes) -> str:
    compressed = body[:1] == b"\1"
    text = body[2:].split(b"\0", 2)[-1]
    return (_inflated(text) if compressed else text).decode("utf-8", "replace")


def _inflated(packed: bytes) -> bytes:
    unpacker = zlib.decompressobj()
    try:
        text = unpacker.decompress(packed, MAX_TEXT_BYTES)
    except zlib.error as error:
        raise _unreadable() from error
    if not unpacker.eof:
        raise _unreadable()
    return text


_READERS = {b"tEXt": _plain_text, b"zTXt": _compressed_text, b"iTXt": _international_text}


def _unreadable() -> BadInput:
    return BadInput(
        "The recipe in this picture is damaged or far too large to be real: choose another file."
    )
