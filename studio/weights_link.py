"""Bringing a downloaded file into the models tree, and telling a whole file from a broken one."""

import os
import shutil
import stat
from pathlib import Path

from studio import disk
from studio.safetensors_header import BrokenHeader, ShortFile, read_safetensors_header
from studio.weights_hub_failures import disk_failure

_SAMPLE_BYTES = 1024**2


def is_whole(path: Path, size: int | None = None) -> bool:
    """Whether a file is there, has `size` bytes where that is known, and is not cut short.

    A safetensors file must have exactly the bytes that its header tells of, as its library asks;
    any other file must not be empty.
    """
    try:
        status = path.stat()
        found = status.st_size
        if not stat.S_ISREG(status.st_mode) or size not in (None, found):
            return False
        if path.suffix == ".safetensors":
            return read_safetensors_header(path).needed == found
    except (OSError, BrokenHeader, ShortFile):
        return False
    return found > 0 or size == 0


def link_into(path: Path, target: Path) -> bool:
    """Makes `target` lead to `path`; False where a file of the user's has that name, and stays.

    A relative symbolic link, so that a disk with both may be mounted elsewhere; a hard link or a
    copy where the disk has none. A link that leads nowhere, an empty file (other tools note so
    that the Hub has no such file) and a cut copy of `path` are replaced. Raises FetchFailed.
    """
    try:
        if os.path.lexists(target) and not _is_replaceable(target, path):
            return target.exists() and target.samefile(path)
        with disk.partial_file(target.parent) as partial:
            _link(path, partial)
            partial.replace(target)
    except OSError as error:
        raise disk_failure(error, target.parent) from error
    return True


def _is_replaceable(target: Path, path: Path) -> bool:
    if not target.exists():
        return True
    if target.is_dir() or target.samefile(path):
        return False
    size = target.stat().st_size
    return size == 0 or (size < path.stat().st_size and _begins_like(target, path, size))


def _begins_like(target: Path, path: Path, size: int) -> bool:
    """Whether `target`, `size` bytes long, is the beginning of `path`: by its two ends."""
    with target.open("rb") as cut, path.open("rb") as whole:
        for offset in (0, max(0, size - _SAMPLE_BYTES)):
            cut.seek(offset)
            whole.seek(offset)
            if cut.read(_SAMPLE_BYTES) != whole.read(min(_SAMPLE_BYTES, size - offset)):
                return False
    return True


def _link(path: Path, target: Path) -> None:
    try:
        target.symlink_to(_relative(path, target.parent))
    except (OSError, NotImplementedError):
        _link_hard(path.resolve(), target)


def _relative(path: Path, folder: Path) -> str:
    """The way to `path` from where `folder` really is, for its name may lead through a link."""
    try:
        return os.path.relpath(path.absolute(), folder.resolve())
    except ValueError:  # another drive of Windows
        return str(path.absolute())


def _link_hard(path: Path, target: Path) -> None:
    try:
        os.link(path, target)
    except OSError:
        shutil.copyfile(path, target)
