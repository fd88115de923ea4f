"""What one download has on the line: bytes counted, pauses taken, and all of it stopped at once."""

import socket
import threading
import time
from collections import deque
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any, Protocol

from studio.errors import Cancelled
from studio.hub_file import HubFile

# Long enough to be steady, short enough to follow a line that slows down.
_SPEED_SECONDS = 10.0
_MARK_SECONDS = 0.25


class Response(Protocol):
    """What is needed of the answers of huggingface_hub's HTTP client."""

    @property
    def extensions(self) -> Mapping[str, Any]: ...

    def iter_bytes(self) -> Iterator[bytes]: ...


@dataclass(frozen=True)
class Patience:
    """How long a download bears a bad line."""

    stall_seconds: float = 30.0
    """Without a byte for so long, the connection is given up and made anew."""
    attempts: int = 6
    """Failures in a row, with no new byte between them, until the download gives up."""
    first_wait: float = 1.0
    """Seconds before the second attempt; doubled each time."""
    longest_wait: float = 300.0
    """The longest pause that the Hub may ask for; its limits are counted over five minutes."""


@dataclass
class _Share:
    """How far one file is, in bytes."""

    size: int
    here: int = 0
    current: bool = False


@dataclass(frozen=True)
class Counted:
    """What was counted so far, in bytes."""

    here: int
    total: int
    received: int
    """What came over the line, as opposed to what was here before."""
    bytes_per_second: float
    current: tuple[str, ...]
    """Names of the files that are being fetched."""
    note: str
    """Why nothing moves, where there is a reason."""


@dataclass
class Traffic:
    """Shared by the threads of one download."""

    _lock: threading.Lock = field(default_factory=threading.Lock)
    _stopped: threading.Event = field(default_factory=threading.Event)
    _responses: list[Response] = field(default_factory=list)
    _shares: dict[HubFile, _Share] = field(default_factory=dict)
    _notes: dict[HubFile, str] = field(default_factory=dict)
    _received: int = 0
    _marks: deque[tuple[float, int]] = field(default_factory=deque)

    def stop(self) -> None:
        """Every thread raises Cancelled at its next step; those that wait for bytes are woken."""
        with self._lock:
            self._stopped.set()
            responses = tuple(self._responses)
        for response in responses:
            _hang_up(response)

    def check(self) -> None:
        if self._stopped.is_set():
            raise Cancelled("The download was stopped; what has arrived is kept.")

    def pause(self, file: HubFile, seconds: float, note: str) -> None:
        with self._noted(file, note):
            self._stopped.wait(seconds)
        self.check()

    @contextmanager
    def reading(self, response: Response) -> Iterator[None]:
        """While a body is read from `response`, `stop` ends the wait for its bytes."""
        with self._lock:
            self._responses.append(response)
        try:
            self.check()
            yield
        finally:
            with self._lock:
                self._responses.remove(response)

    @contextmanager
    def fetching(self, file: HubFile) -> Iterator[None]:
        """While `file` is being worked on."""
        self._shares[file].current = True
        try:
            yield
        finally:
            self._shares[file].current = False

    def expect(self, file: HubFile, size: int, here: int = 0) -> None:
        with self._lock:
            self._shares[file] = _Share(size, here)

    def at(self, file: HubFile, here: int) -> None:
        """So many bytes of the file are here, wherever they came from."""
        with self._lock:
            self._shares[file].here = here

    def receive(self, file: HubFile, count: int) -> None:
        now = time.monotonic()
        with self._lock:
            self._shares[file].here += count
            if not self._marks or now - self._marks[-1][0] >= _MARK_SECONDS:
                self._marks.append((now, self._received))
            self._received += count
            while now - self._marks[0][0] > _SPEED_SECONDS:
                self._marks.popleft()

    def counted(self) -> Counted:
        with self._lock:
            shares = dict(self._shares)
            return Counted(
                here=sum(share.here for share in shares.values()),
                total=sum(share.size for share in shares.values()),
                received=self._received,
                bytes_per_second=self._speed(),
                current=tuple(file.name for file, share in shares.items() if share.current),
                note=next(iter(self._notes.values()), ""),
            )

    @contextmanager
    def _noted(self, file: HubFile, note: str) -> Iterator[None]:
        with self._lock:
            self._notes[file] = note
        try:
            yield
        finally:
            with self._lock:
                self._notes.pop(file, None)

    def _speed(self) -> float:
        now = time.monotonic()
        recent = [mark for mark in self._marks if now - mark[0] <= _SPEED_SECONDS]
        if not recent:
            return 0.0
        since, received = recent[0]
        return (self._received - received) / max(now - since, _MARK_SECONDS)


def _hang_up(response: Response) -> None:
    """Ends a read that another thread is waiting in: closing would not wake it."""
    # The socket may be closed already, or be no socket at all behind some proxies.
    with suppress(OSError, AttributeError, KeyError):
        stream = response.extensions["network_stream"]
        stream.get_extra_info("socket").shutdown(socket.SHUT_RDWR)
