"""Finished files: their names, and how they reach their place whole and without overwriting.

A result is made under a temporary name below `home.scratch` and published in one step.
"""

import errno
import os
from collections.abc import Iterator
from contextlib import suppress
from datetime import datetime
from pathlib import Path

from studio import disk
from studio.errors import BadInput, EngineFailed
from studio.home import Home

CLOCK_SECONDS = 2.0
"""By so much a file's time may lag behind the clock: FAT keeps even seconds."""

SPARE_BYTES = 256 * 1024**2
"""Kept free beside what a job needs: the job table, logs and other programs write too."""

# What file systems answer that have no hard links (FAT, many network mounts; EINVAL: Windows), or
# none for this file (Linux protects other owners' files).
_NO_LINKS = {
    errno.EPERM,
    errno.EACCES,
    errno.EINVAL,
    errno.ENOTSUP,
    errno.EOPNOTSUPP,
    errno.ENOSYS,
    errno.EMLINK,
}


def output_name(mode: str, seed: int, when: datetime) -> str:
    """`HHMMSS_<mode>_<seed>`, which sorts by time within a day's folder."""
    return f"{when:%H%M%S}_{mode}_{seed}"


def publish(
    temporary: Path, home: Home, mode: str, seed: int, extension: str, when: datetime | None = None
) -> Path:
    """Moves a finished file to `outputs/YYYY-MM-DD/HHMMSS_<mode>_<seed>[_n].<extension>`.

    Never overwrites: a taken name gets `_2`, `_3`, …. The name appears with the whole content
    or not at all. `when` is local time, now by default. Raises EngineFailed with a sentence
    when the disk refuses; the temporary file is then still there.
    """
    when = when or datetime.now()
    folder = home.outputs / f"{when:%Y-%m-%d}"
    with disk.disk_errors(folder, EngineFailed):
        folder.mkdir(parents=True, exist_ok=True)
        disk.sync_file(temporary)
        target = _settle(temporary, folder, output_name(mode, seed, when), extension, home.scratch)
        disk.sync_folder(folder)
        disk.sync_folder(home.outputs)
    return target


def copy_to(path: Path, destination: Path) -> Path:
    """Copies a finished file to where the user wants it, replacing what is there in one step.

    A `destination` that is a folder gets the file under its own name; missing folders are made.
    Returns the copy's path. Raises BadInput with a sentence when the disk refuses.
    """
    target = destination / path.name if destination.is_dir() else destination
    folder = target.parent
    with disk.disk_errors(folder, BadInput), disk.partial_file(folder) as partial:
        disk.copy_durably(path, partial)
        partial.replace(target)
        disk.sync_folder(folder)
    return target


def made_since(home: Home, mode: str, since: float) -> Iterator[Path]:
    """The mode's results that are not older than `since`, in seconds since the epoch."""
    for path in home.outputs.glob(f"*/*_{mode}_*"):
        with suppress(FileNotFoundError):
            if path.stat().st_mtime >= since - CLOCK_SECONDS:
                yield path


def free_bytes(home: Home) -> int:
    """Bytes that can still be written under `home`, which need not exist yet."""
    return disk.free_bytes(home.outputs)


def ensure_room(home: Home, needed_bytes: int) -> None:
    """Raises BadInput when a job that writes `needed_bytes` would fill the disk."""
    with disk.disk_errors(home.root, BadInput):
        free = free_bytes(home)
    if free < needed_bytes + SPARE_BYTES:
        raise BadInput(
            f"The disk that holds {home.root} has {_megabytes(free)} free and this needs"
            f" {_megabytes(needed_bytes + SPARE_BYTES)}: free some space first."
        )


def _settle(temporary: Path, folder: Path, stem: str, extension: str, scratch: Path) -> Path:
    try:
        return _move_to_free_name(temporary, folder, stem, extension, scratch)
    except OSError as error:
        if error.errno != errno.EXDEV:
            raise
    # The user put `outputs` on another disk: bring the file over there first.
    with disk.partial_file(folder) as partial:
        disk.copy_durably(temporary, partial)
        target = _move_to_free_name(partial, folder, stem, extension, scratch)
    temporary.unlink()
    return target


def _move_to_free_name(
    temporary: Path, folder: Path, stem: str, extension: str, scratch: Path
) -> Path:
    number, target = 1, folder / f"{stem}.{extension}"
    while not _move(temporary, target, scratch):
        number += 1
        target = folder / f"{stem}_{number}.{extension}"
    return target


def _move(temporary: Path, target: Path, scratch: Path) -> bool:
    """Gives the file its final name; False when the name is taken."""
    try:
        os.link(temporary, target)
    except FileExistsError:
        return False
    except OSError as error:
        if error.errno not in _NO_LINKS:
            raise
        return _rename(temporary, target, scratch)
    temporary.unlink()
    return True


def _rename(temporary: Path, target: Path, scratch: Path) -> bool:
    """`_move` where there are no hard links. A rename would overwrite, so the name is claimed
    first: making a folder is atomic on every file system and needs no lock that a killed
    process could leave closed (a claim left behind only costs its name).
    """
    claim = scratch / f".claim-{target.parent.name}-{target.name}"
    try:
        claim.mkdir(parents=True)
    except FileExistsError:
        return False
    try:
        if target.exists():
            return False
        temporary.rename(target)
        return True
    finally:
        claim.rmdir()


def _megabytes(size: int) -> str:
    return f"{size / 1e6:,.0f} MB"
