"""What killed processes have left behind, and nothing uses any more."""

import re
import shutil
import time
from collections.abc import Iterable, Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path

from studio import disk
from studio.doctor_fault import Fault
from studio.errors import EngineFailed
from studio.home import Home
from studio.jobs_mend import ASIDE
from studio.jobs_schema import BUSY_SECONDS, JobFile
from studio.packages import Say
from studio.weights_hub import GIGABYTE
from studio.weights_hub_cache import cache_folder

LEFT_SECONDS = 24 * 3600.0
"""What has not changed for so long is in nobody's hands: no step of a job or download is longer."""

_JOB_FOLDER = re.compile(r"[0-9a-f]{32}")
_PARTIAL = ".partial-*"
"""What `disk.partial_file` calls a file in the making."""

OVER = ("done",)
"""States of jobs that are never run again: of all others the kept latents save the sampling."""


def leftover_faults(home: Home) -> Iterator[Fault]:
    """Old files in the making, folders of jobs that are over, downloads that were made twice.

    Raises StudioError where the job table cannot be read.
    """
    for name, what, found in (
        ("scratch", "files and folders that nothing uses", _scratch(home)),
        ("downloads", "half downloads of files that are here whole", _half_downloads()),
    ):
        old = [path for path in found if _is_old(path)]
        if old:
            size = f"{sum(map(_bytes, old)) / GIGABYTE:.1f} GB"
            yield Fault(
                name, f"{len(old)} {what}, {size}.", partial(_delete, old, what, size), True
            )


def _scratch(home: Home) -> Iterator[Path]:
    for folder in (home.scratch, home.outputs, home.inputs, home.models):
        yield from folder.rglob(_PARTIAL)
    yield from home.demo.glob(".building-*")
    for name in ("uploads", "trash"):
        yield from (home.scratch / name).glob("*")
    yield from _folders_of_jobs(home)


def _folders_of_jobs(home: Home) -> Iterator[Path]:
    """Of jobs that are done, and of those that no table knows, unless one was set aside."""
    folders = [one for one in home.scratch.glob("*") if _JOB_FOLDER.fullmatch(one.name)]
    if not folders or not home.database.exists():
        return
    with JobFile(home.database, BUSY_SECONDS).reading() as table:
        states = dict(map(tuple, table.execute("SELECT id, state FROM jobs")))
    aside = any(home.database.parent.glob(f"{ASIDE}*"))
    for folder in folders:
        state = states.get(folder.name, "" if aside else OVER[0])
        if state in OVER:
            yield folder


def _half_downloads() -> Iterator[Path]:
    """Beside a blob of at least their size; any other is gone on with by the next download."""
    for path in cache_folder().glob("models--*/blobs/*.incomplete"):
        blob = path.with_name(path.name.partition(".")[0])
        with suppress(FileNotFoundError):
            if blob.stat().st_size >= path.stat().st_size:
                yield path


def _is_old(path: Path) -> bool:
    return time.time() - max(map(_changed, _within(path)), default=0.0) > LEFT_SECONDS


def _within(path: Path) -> Iterable[Path]:
    return (path, *path.rglob("*"))


def _changed(path: Path) -> float:
    try:
        return path.lstat().st_mtime
    except FileNotFoundError:
        return time.time()


def _bytes(path: Path) -> int:
    return sum(one.lstat().st_size for one in _within(path) if one.is_file())


def _delete(paths: list[Path], what: str, size: str, _say: Say) -> str:
    for path in paths:
        with disk.disk_errors(path.parent, EngineFailed):
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            else:
                path.unlink(missing_ok=True)
    return f"Deleted {len(paths)} {what}, {size}."
