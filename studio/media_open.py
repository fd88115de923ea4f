"""What users bring, before it is decoded: which pictures are read, and what a file looks like."""

import codecs
import struct
import warnings
from pathlib import Path

from PIL import Image, UnidentifiedImageError

from studio.errors import BadInput

PICTURE_FORMATS = ("PNG", "JPEG", "WEBP", "AVIF", "GIF", "BMP", "TIFF")
"""Pillow formats that are read. Named, because Pillow also hands EPS files to Ghostscript."""

PICTURE_ERRORS = (
    OSError,
    RuntimeError,
    ValueError,
    SyntaxError,
    EOFError,
    IndexError,
    TypeError,
    struct.error,
)
"""What Pillow's decoders raise on damaged files."""

_HEIC_BRANDS = frozenset({b"heic", b"heix", b"hevc", b"heim", b"heis", b"mif1", b"msf1"})
"""Major brands of the photos that iPhones write; Pillow has no decoder for them."""


def require_file(path: Path) -> None:
    """Raises BadInput for a missing or empty file."""
    if not path.is_file():
        raise BadInput(f"There is no file '{path.name}': choose it again.")
    if path.stat().st_size == 0:
        raise BadInput("This file is empty: upload it again.")


def open_picture(path: Path) -> Image.Image:
    """The picture's header; its pixels are not decoded yet.

    Raises UnidentifiedImageError, one of PICTURE_ERRORS for a damaged header, or
    Image.DecompressionBombError above 179 megapixels.
    """
    with warnings.catch_warnings():
        # Pillow warns from 89 megapixels on; the studio has a limit of its own.
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)
        return Image.open(path, formats=PICTURE_FORMATS)


def is_picture(path: Path) -> bool:
    """Whether the file is a picture, be it damaged or far too large."""
    try:
        open_picture(path).close()
    except UnidentifiedImageError:
        return False
    except (*PICTURE_ERRORS, Image.DecompressionBombError):
        return True
    return True


def is_heic(path: Path) -> bool:
    """Whether the file is a photo as iPhones write them."""
    head = _head(path)
    return head[4:8] == b"ftyp" and head[8:12] in _HEIC_BRANDS


def is_text(path: Path) -> bool:
    try:
        # Incremental, because the head may end in the middle of a character.
        text = codecs.getincrementaldecoder("utf-8")().decode(_head(path))
    except UnicodeDecodeError:
        return False
    return "\0" not in text


def _head(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(1024)
