"""What users bring in, kept once by content hash: `inputs/<ab>/<sha256><suffix>`."""

import hashlib
import os
import re
import unicodedata
from dataclasses import dataclass
from pathlib import Path

from studio import disk
from studio.errors import BadInput
from studio.home import Home

MAX_UPLOAD_BYTES = 2 * 1024**3
"""Far above any clip the modes take; a limit so that one upload cannot fill the disk."""

SUFFIXES = frozenset(
    ".png .jpg .jpeg .webp .bmp .gif .tif .tiff .avif .heic .heif"
    " .wav .mp3 .m4a .aac .flac .ogg .opus"
    " .mp4 .m4v .mov .mkv .webm .avi".split()
)
"""The suffixes that are kept; Pillow and PyAV look at the content, so none is needed."""

_LONGEST_NAME = 120
"""Characters of a name that is shown; fits a line of the page."""

_CHUNK_BYTES = 1024**2
_SHA256 = re.compile(r"[0-9a-f]{64}")
_UNSHOWN = {"Cc", "Cs", "Zl", "Zp"}
# Direction overrides can make "gpj.exe" read as "exe.jpg".
_OVERRIDES = {"LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI"}


@dataclass(frozen=True)
class InputFile:
    """A file in the store. `name` is what its user called it, for display only."""

    sha256: str
    name: str
    suffix: str


def stored_input(sha256: str, name: str) -> InputFile:
    """What `store_input` returned for this content and name: both are kept in the recipe."""
    shown = display_name(name)
    return InputFile(sha256, shown, _suffix(shown))


def store_input(home: Home, source_path: Path, name: str | None = None) -> InputFile:
    """Copies a file into the store, once for the same content.

    `name` is the file's original name, where `source_path` is an upload's temporary one.
    Raises BadInput with a sentence: no file, too large, the disk refuses.
    """
    with disk.disk_errors(home.inputs, BadInput):
        _require_file(source_path)
        with disk.partial_file(home.inputs) as partial:
            stored = stored_input(_copy_hashed(source_path, partial), name or source_path.name)
            _settle(partial, _place(home, stored))
    return stored


def input_path(home: Home, stored: InputFile) -> Path:
    """Where the input lies. Raises BadInput for a forged record or an input no longer there."""
    if not _SHA256.fullmatch(stored.sha256) or stored.suffix not in SUFFIXES | {""}:
        raise BadInput("This input is not one of the studio's: add the file again.")
    path = _place(home, stored)
    if not path.is_file():
        raise BadInput(f"The input '{stored.name}' is no longer here: add the file again.")
    return path


def display_name(name: str) -> str:
    """The last part of a file name without what could mislead a reader, at most 120 characters."""
    base = re.split(r"[/\\]", name)[-1]
    shown = "".join(character for character in base if _is_shown(character)).strip()
    if shown.strip(".") == "":
        return "input"
    suffix = Path(shown).suffix if len(Path(shown).suffix) < 10 else ""
    if len(shown) <= _LONGEST_NAME:
        return shown
    return shown[: _LONGEST_NAME - len(suffix)].rstrip() + suffix


def _is_shown(character: str) -> bool:
    hidden = unicodedata.category(character) in _UNSHOWN
    return not hidden and unicodedata.bidirectional(character) not in _OVERRIDES


def _suffix(name: str) -> str:
    suffix = Path(name).suffix.lower()
    return suffix if suffix in SUFFIXES else ""


def _require_file(path: Path) -> None:
    if not path.is_file():
        raise BadInput(f"'{display_name(path.name)}' is not a file that can be read.")
    if path.stat().st_size > MAX_UPLOAD_BYTES:
        raise _too_large(path)


def _too_large(path: Path) -> BadInput:
    limit = MAX_UPLOAD_BYTES / 1024**3
    return BadInput(
        f"'{display_name(path.name)}' is larger than {limit:g} GB, the most that is taken:"
        " cut it, or compress it more."
    )


def _copy_hashed(source: Path, target: Path) -> str:
    digest = hashlib.sha256()
    with source.open("rb") as reader, target.open("xb") as writer:
        for chunk in iter(lambda: reader.read(_CHUNK_BYTES), b""):
            digest.update(chunk)
            writer.write(chunk)
    disk.sync_file(target)
    return digest.hexdigest()


def _settle(partial: Path, place: Path) -> None:
    """Moves a copy to its place, where a whole one is not there already.

    That one counts as new again: somebody has just brought it.
    """
    if place.is_file() and place.stat().st_size == partial.stat().st_size:
        os.utime(place)
        return
    place.parent.mkdir(exist_ok=True)
    partial.replace(place)
    disk.sync_folder(place.parent)


def _place(home: Home, stored: InputFile) -> Path:
    return home.inputs / stored.sha256[:2] / f"{stored.sha256}{stored.suffix}"
