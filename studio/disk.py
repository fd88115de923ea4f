"""Writing files so that nobody ever sees half of one, and saying plainly why a disk refuses."""

import errno
import os
import shutil
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

from studio.errors import BadInput, EngineFailed

Failure = type[BadInput] | type[EngineFailed]

FULL = frozenset({errno.ENOSPC, errno.EDQUOT})
"""What an OSError says where the disk, or the user's share of it, has no room left."""

_FULL = "The disk that holds {folder} is full: free some space there, or use another disk."
_DENIED = "The studio may not write in {folder}: allow it, or use another folder."
_NO_FOLDER = "{folder} cannot be used as a folder: a file has its place, move that file away."
_SENTENCES: Mapping[int | None, str] = {
    errno.ENOSPC: _FULL,
    errno.EDQUOT: _FULL,
    errno.EACCES: _DENIED,
    errno.EPERM: _DENIED,
    errno.EROFS: "{folder} is read-only: make it writable, or use another folder.",
    errno.ENOTDIR: _NO_FOLDER,
    errno.EEXIST: _NO_FOLDER,
    errno.EISDIR: "{folder} is a folder, and a file was expected: give the path of a file.",
    errno.ENOENT: "A file for {folder} is no longer there: try again.",
    errno.ENAMETOOLONG: "The path of {folder} is too long for this disk: use a shorter one.",
    errno.EFBIG: "The disk that holds {folder} takes no file of this size: use another disk.",
}
_UNKNOWN = "{folder} could not be used ({reason}): check that disk and try again."


@contextmanager
def disk_errors(folder: Path, failure: Failure) -> Iterator[None]:
    """Turns an OSError about `folder` into one sentence of the class `failure`."""
    try:
        yield
    except OSError as error:
        raise failure(explain(error, folder)) from error


def explain(error: OSError, folder: Path) -> str:
    """One sentence on why `folder` could not be used."""
    sentence = _SENTENCES.get(error.errno, _UNKNOWN)
    return sentence.format(folder=folder, reason=error.strerror or "no reason given")


@contextmanager
def partial_file(folder: Path) -> Iterator[Path]:
    """A hidden new path in `folder` (made if needed), gone afterwards unless it was moved away.

    A hidden name: whatever lists the folder skips it, also when the process was killed.
    """
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f".partial-{uuid.uuid4().hex}"
    try:
        yield path
    finally:
        path.unlink(missing_ok=True)


def copy_durably(source: Path, target: Path) -> None:
    """Copies the content and waits until the disk has it. Raises OSError."""
    shutil.copyfile(source, target)
    sync_file(target)


def sync_file(path: Path) -> None:
    """Waits until the disk has the file's content, so that its final name never shows less."""
    # Opened for writing because Windows refuses to flush a handle that only reads.
    with path.open("r+b") as file:
        os.fsync(file.fileno())


def sync_folder(folder: Path) -> None:
    """Waits until the disk has the folder's names, where the file system can do that."""
    # The file is whole and in place by now; without this only a power cut could lose its name,
    # and Windows and several network file systems cannot flush a folder.
    with suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def free_bytes(folder: Path) -> int:
    """Bytes that can still be written where `folder` is, or will be made. Raises OSError."""
    existing = next((place for place in (folder, *folder.parents) if place.exists()), folder)
    return shutil.disk_usage(existing).free
