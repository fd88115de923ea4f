"""Whose turn it is to run jobs: the engine lock that all processes of a home share."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from studio.errors import StudioError


class Turns:
    """Turns at the lock file `path`, `at_once` side by side in this process.

    The file is held from the first of them to the last. `on_first` is called then, when no job
    can be running but those of a dead process.
    """

    def __init__(self, path: Path, at_once: int, on_first: Callable[[], None]) -> None:
        self._path = path
        self._on_first = on_first
        self._seats = threading.Semaphore(at_once)
        self._guard = threading.Lock()
        self._held: FileLock | None = None
        self._taken = 0

    @contextmanager
    def turn(self) -> Iterator[bool]:
        """Takes a turn, if one is free, and says whether it did. Raises StudioError."""
        if not self._seats.acquire(blocking=False):
            yield False
            return
        try:
            mine = self._take()
            try:
                yield mine
            finally:
                if mine:
                    self._leave()
        finally:
            self._seats.release()

    def _take(self) -> bool:
        with self._guard:
            if self._taken == 0:
                self._held = self._lock()
            if self._held is None:
                return False
            if self._taken == 0:
                self._begin(self._held)
            self._taken += 1
            return True

    def _begin(self, lock: FileLock) -> None:
        try:
            self._on_first()
        except BaseException:
            lock.release()
            raise

    def _leave(self) -> None:
        with self._guard:
            self._taken -= 1
            if self._taken == 0 and self._held is not None:
                self._held.release()

    def _lock(self) -> FileLock | None:
        """The lock, held by this process; None where another has it."""
        # Another thread may give it back than the one that took it.
        lock = FileLock(self._path, thread_local=False)
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            lock.acquire(blocking=False)
        except Timeout:
            return None
        except (OSError, NotImplementedError) as error:
            raise StudioError(
                f"The folder {self._path.parent} cannot be locked; choose a home on a local disk "
                "that can be written."
            ) from error
        return lock
