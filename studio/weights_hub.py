"""Weights from the Hugging Face Hub into huggingface_hub's cache, in the background."""

import logging
import threading
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Literal, TypeVar

from studio import disk
from studio.errors import Cancelled, FetchFailed, StudioError
from studio.hub_file import HubFile
from studio.weights_hub_cache import Remote, bytes_here, cache_folder, cached
from studio.weights_hub_traffic import Patience, Traffic
from studio.weights_hub_transfer import ask, fetch

__all__ = [
    "Download",
    "FetchProgress",
    "HubFile",
    "Patience",
    "cached",
    "fetch_all",
    "free_gigabytes",
]

log = logging.getLogger(__name__)

A = TypeVar("A")
B = TypeVar("B")

State = Literal["waiting", "asking", "fetching", "done", "failed", "cancelled"]

LINES = 3
"""Files fetched at once: enough to fill a line, few enough for the Hub's limits."""

SPARE_BYTES = 1024**3
"""Kept free beside the files: results, logs and other programs write to the same disk."""

GIGABYTE = 1e9

# Between two looks at the wish to stop, in seconds.
_TICK = 0.1


@dataclass(frozen=True)
class FetchProgress:
    """Where a download is. Bytes count what was here before, too."""

    state: State
    files_done: int
    files_total: int
    bytes_done: int
    bytes_total: int
    """Grows while the Hub is asked, for not every size is known before."""
    bytes_received: int
    """What came over the line."""
    bytes_per_second: float
    seconds_left: float | None
    current: tuple[str, ...]
    """Names of the files that are being fetched."""
    note: str
    """Why nothing moves, where there is a reason."""
    failure: str
    """One sentence, where the download failed."""


class Download:
    """Brings files into the cache in threads of its own: `start`, then watch `progress`.

    Where one file fails, the rest is stopped too; a new download of the same files goes on with
    what has arrived, also after this process was killed.
    """

    def __init__(
        self,
        files: Iterable[HubFile],
        patience: Patience | None = None,
        last: Collection[HubFile] = (),
    ) -> None:
        """`last` are brought when all others are here: by them a folder is taken for whole."""
        self._files = tuple(dict.fromkeys(files))
        self._last = frozenset(last)
        self._patience = patience or Patience()
        self._traffic = Traffic()
        self._ended = threading.Event()
        self._state: State = "waiting"
        self._paths: dict[HubFile, Path] = {}
        self._error: Exception | None = None

    def start(self) -> "Download":
        threading.Thread(target=self._run, name="hub-download", daemon=True).start()
        return self

    def cancel(self) -> None:
        """Stops within a second; does nothing to a download that has ended."""
        self._traffic.stop()

    def wait(self, seconds: float | None = None) -> Mapping[HubFile, Path]:
        """The paths in the cache of all files that are here after `seconds`, or at the end.

        Raises FetchFailed where the download failed, and Cancelled where it was stopped.
        """
        self._ended.wait(seconds)
        if self._error is not None:
            raise self._error
        return dict(self._paths)

    @property
    def progress(self) -> FetchProgress:
        counted = self._traffic.counted()
        left = counted.total - counted.here
        speed = counted.bytes_per_second if self._state == "fetching" else 0.0
        return FetchProgress(
            state=self._state,
            files_done=len(self._paths),
            files_total=len(self._files),
            bytes_done=counted.here,
            bytes_total=counted.total,
            bytes_received=counted.received,
            bytes_per_second=speed,
            seconds_left=left / speed if speed else None,
            current=counted.current,
            note=counted.note,
            failure=_sentence(self._error) if self._state == "failed" else "",
        )

    def _run(self) -> None:
        try:
            self._fetch()
            self._state = "done"
        except Cancelled as error:
            self._error, self._state = error, "cancelled"
        except Exception as error:
            if not isinstance(error, StudioError):
                log.exception("A download from the Hub failed in an unknown way.")
            self._error, self._state = error, "failed"
        finally:
            self._traffic.stop()
            self._ended.set()

    def _fetch(self) -> None:
        self._state = "asking"
        for file in self._files:
            self._look(file)
        missing = [file for file in self._files if file not in self._paths]
        require_online(missing)
        remotes = list(self._in_parallel(missing, self._ask).values())
        self._state = "fetching"
        require_room(remotes)
        for last in (False, True):
            turn = [remote for remote in remotes if (remote.file in self._last) is last]
            self._in_parallel(turn, self._bring)

    def _look(self, file: HubFile) -> None:
        path = cached(file)
        size = path.stat().st_size if path else file.bytes or 0
        self._traffic.expect(file, size, size if path else 0)
        if path:
            self._paths[file] = path

    def _ask(self, file: HubFile) -> Remote:
        remote = ask(file, self._traffic, self._patience)
        self._traffic.expect(file, remote.size, bytes_here(remote))
        return remote

    def _bring(self, remote: Remote) -> None:
        self._paths[remote.file] = fetch(remote, self._traffic, self._patience)

    def _in_parallel(self, items: Sequence[A], work: Callable[[A], B]) -> dict[A, B]:
        """Results by item; the first error is raised, and what still runs is then stopped."""
        waiting: SimpleQueue[A] = SimpleQueue()
        ended: SimpleQueue[tuple[A, B | None, Exception | None]] = SimpleQueue()
        for item in items:
            waiting.put(item)
        for _ in range(min(LINES, len(items))):
            # Daemons, and never joined: a thread that waits for an answer must not hold anybody.
            threading.Thread(target=_serve, args=(waiting, ended, work), daemon=True).start()
        results: dict[A, B] = {}
        while len(results) < len(items):
            self._traffic.check()
            try:
                item, result, error = ended.get(timeout=_TICK)
            except Empty:
                continue
            if error is not None:
                raise error
            results[item] = result  # type: ignore[assignment]
        return results


def fetch_all(files: Iterable[HubFile], patience: Patience | None = None) -> Mapping[HubFile, Path]:
    """The paths of `files` in the cache, once all are there. Raises FetchFailed."""
    return Download(files, patience).start().wait()


def free_gigabytes() -> float:
    """What is free on the disk that models are fetched to. Raises FetchFailed."""
    folder = cache_folder()
    try:
        return disk.free_bytes(folder) / GIGABYTE
    except OSError as error:
        raise FetchFailed(disk.explain(error, folder), "disk") from error


def require_online(missing: Sequence[HubFile]) -> None:
    """Raises FetchFailed where files are missing and the Hub must not be asked."""
    from huggingface_hub import constants

    if missing and constants.is_offline_mode():
        names = ", ".join(f"'{file.name}' of {file.repo}" for file in missing)
        raise FetchFailed(
            f"HF_HUB_OFFLINE is set and this is not on this machine: {names}. Unset it to fetch"
            " what is missing.",
            "offline",
        )


def require_room(remotes: Iterable[Remote]) -> None:
    """Raises FetchFailed where the disk cannot take what is still to come."""
    missing = {remote.blob: remote.size - bytes_here(remote) for remote in remotes}
    needed = sum(missing.values())
    folder = cache_folder()
    try:
        free = disk.free_bytes(folder)
    except OSError as error:
        raise FetchFailed(disk.explain(error, folder), "disk") from error
    if needed and free < needed + SPARE_BYTES:
        raise FetchFailed(
            f"The disk that holds {folder} has {free / GIGABYTE:.1f} GB free and"
            f" {(needed + SPARE_BYTES) / GIGABYTE:.1f} GB are needed: free some space, or set"
            " HF_HOME to a folder on another disk.",
            "disk-full",
        )


def _sentence(error: Exception | None) -> str:
    if isinstance(error, StudioError):
        return str(error)
    return "The download failed in an unknown way: see the studio's log, and try again."


def _serve(
    waiting: "SimpleQueue[A]",
    ended: "SimpleQueue[tuple[A, B | None, Exception | None]]",
    work: Callable[[A], B],
) -> None:
    while True:
        try:
            item = waiting.get_nowait()
        except Empty:
            return
        try:
            ended.put((item, work(item), None))
        except Exception as error:
            ended.put((item, None, error))
            return
