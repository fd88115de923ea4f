"""Deletes what visitors have left, oldest first, where the disk is small and nobody tidies up.

Locally nothing is ever deleted; only a host that `prunes` has this run, in a thread of its own.
"""

import json
import logging
import re
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from studio import disk
from studio.errors import StudioError
from studio.home import Home
from studio.jobs_schema import BUSY_SECONDS, JobFile

logger = logging.getLogger(__name__)

SWEEP_SECONDS = 600.0
"""Between two looks: what is made in ten minutes fits into the room that is kept free."""

GRACE_SECONDS = 3600.0
"""What is newer stays, whatever room it takes: its maker is still looking at it."""

_JOB_FOLDER = re.compile(r"[0-9a-f]{32}")
"""`JobTable.submit` names jobs so, and `production` their folders in `scratch`."""


@dataclass(frozen=True)
class Limits:
    """What may stay: files by age, all of them by size, and the room to leave for new ones."""

    age_seconds: float
    total_bytes: int
    free_bytes: int


SPACE_LIMITS = Limits(24 * 3600, 10 * 1000**3, 5 * 1000**3)
"""A Space's own disk has 50 GB and is empty after a restart
(https://huggingface.co/docs/hub/spaces-storage): a day is for coming back once, and the sizes
leave most of the disk to models."""


@dataclass(frozen=True)
class _File:
    path: Path
    changed: float
    size: int


class Retention:
    """Sweeps one home."""

    def __init__(
        self,
        home: Home,
        limits: Limits = SPACE_LIMITS,
        clock: Callable[[], float] = time.time,
        free_bytes: Callable[[Path], int] = disk.free_bytes,
    ) -> None:
        """`clock` gives seconds since the epoch, `free_bytes` the room where a folder is."""
        self._home = home
        self._limits = limits
        self._clock = clock
        self._begun = clock() - time.monotonic()
        self._free_bytes = free_bytes
        self._file = JobFile(home.database, BUSY_SECONDS)

    def sweep(self) -> None:
        """Deletes what is over the limits, never what a queued or running job needs.

        Raises StudioError for the job table, OSError for the disk.
        """
        files = sorted(
            (*_files(self._home.outputs), *_files(self._home.inputs)), key=lambda one: one.changed
        )
        excess = sum(file.size for file in files) - self._limits.total_bytes
        missing = self._limits.free_bytes - self._free_bytes(self._home.outputs)
        too_much = max(excess, missing)
        for file in files:
            if too_much <= 0 and not self._is_old(file.changed):
                break
            if self._delete(file):
                too_much -= file.size
        self._sweep_scratch()

    def _delete(self, file: _File) -> bool:
        if self._now() - file.changed < GRACE_SECONDS or self._is_needed(file.path):
            return False
        file.path.unlink(missing_ok=True)
        # The day's folder, once it is empty.
        with suppress(OSError):
            file.path.parent.rmdir()
        return True

    def _is_needed(self, path: Path) -> bool:
        """Asked in front of each file anew, since jobs come while a sweep goes on."""
        _, files = self._live()
        return path.stem in files or path.relative_to(self._home.root).as_posix() in files

    def _live(self) -> tuple[set[str], set[str]]:
        """Of queued and running jobs: the ids, and hashes of inputs with paths of outputs."""
        live = "state IN ('queued', 'running')"
        with self._file.reading() as connection:
            jobs = connection.execute(f"SELECT id, inputs FROM jobs WHERE {live}").fetchall()
            items = connection.execute(
                "SELECT output FROM items WHERE output IS NOT NULL"
                f" AND job_id IN (SELECT id FROM jobs WHERE {live})"
            ).fetchall()
        inputs = {
            file["sha256"]
            for job in jobs
            for files in json.loads(job["inputs"]).values()
            for file in files
        }
        return {job["id"] for job in jobs}, inputs | {item["output"] for item in items}

    def _sweep_scratch(self) -> None:
        """Posters, and latents of jobs that were never run again."""
        jobs, _ = self._live()
        for folder in self._home.scratch.glob("*"):
            if _JOB_FOLDER.fullmatch(folder.name) and folder.name not in jobs:
                if self._is_old(max((file.changed for file in _files(folder)), default=0.0)):
                    shutil.rmtree(folder, ignore_errors=True)
        for file in _files(self._home.scratch / "posters"):
            if self._is_old(file.changed):
                file.path.unlink(missing_ok=True)

    def _now(self) -> float:
        """A clock that is set forward makes no file older; set back, it leaves new ones new."""
        return min(self._clock(), self._begun + time.monotonic())

    def _is_old(self, changed: float) -> bool:
        return self._now() - changed > self._limits.age_seconds


@contextmanager
def swept(retention: Retention, seconds: float = SWEEP_SECONDS) -> Iterator[None]:
    """Has the home swept now and every so many seconds, in a thread of its own."""
    over = threading.Event()
    thread = threading.Thread(target=_sweep, args=(retention, seconds, over), daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()


def _sweep(retention: Retention, seconds: float, over: threading.Event) -> None:
    while not over.is_set():
        try:
            retention.sweep()
        # The next sweep tries again.
        except (StudioError, OSError):
            logger.warning("Old files could not be deleted.", exc_info=True)
        over.wait(seconds)


def _files(folder: Path) -> Iterator[_File]:
    for path in folder.rglob("*"):
        # Hidden ones are in the making.
        if path.name.startswith(".") or path.is_dir():
            continue
        with suppress(FileNotFoundError):
            about = path.stat()
            yield _File(path, about.st_mtime, about.st_size)
