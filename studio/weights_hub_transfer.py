"""One file from the Hub into the cache: asked for, fetched from where it broke off, verified.

huggingface_hub gives the address, the headers, the connection and the lock. The transfer is our
own: its releases since 1.0 resume within one call only and do not check the content.
"""

import hashlib
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import BinaryIO, TypeVar

from studio.errors import StudioError
from studio.hub_file import HubFile
from studio.weights_hub_cache import (
    Remote,
    cache_folder,
    claim_partial,
    has_blob,
    locked,
    publish,
)
from studio.weights_hub_failures import (
    PASSING,
    corrupt,
    disk_failure,
    failure_of,
    not_the_hub,
    wrong_size,
)
from studio.weights_hub_traffic import Patience, Response, Traffic

T = TypeVar("T")

_ASK_SECONDS = 10.0
# Nothing has been fetched yet that would be worth a long wait.
_ASK_ATTEMPTS = 3
# Between two looks at a lock that another download holds.
_LOCK_SECONDS = 0.2
_HASH_BLOCK = 1024**2
# Waits of our own grow up to this; the Hub may ask for longer ones.
_LONGEST_OWN_WAIT = 30.0
_COMMIT = re.compile(r"[0-9a-f]{40}")
_CONTENT_HASH = re.compile(r"[0-9a-f]{64}|[0-9a-f]{40}")
_RANGE_NOT_SATISFIABLE = 416


class _Content:
    """The running hash of a file, by the kind of etag that the Hub gave."""

    def __init__(self, remote: Remote) -> None:
        self._remote = remote
        self.restart()

    def restart(self) -> None:
        self._hash = hashlib.sha256()
        if len(self._remote.etag) == 40:
            self._hash = hashlib.sha1(f"blob {self._remote.size}\0".encode())

    def add(self, content: bytes) -> None:
        self._hash.update(content)

    @property
    def is_right(self) -> bool:
        return self._hash.hexdigest() == self._remote.etag


def ask(file: HubFile, traffic: Traffic, patience: Patience) -> Remote:
    """What the Hub says of a file. Raises FetchFailed."""
    from huggingface_hub import get_hf_file_metadata, hf_hub_url

    def attempt() -> Remote:
        found = get_hf_file_metadata(
            hf_hub_url(file.repo, file.path, revision=file.revision), timeout=_ASK_SECONDS
        )
        commit, etag = found.commit_hash or "", found.etag or ""
        if not _COMMIT.fullmatch(commit) or not _CONTENT_HASH.fullmatch(etag):
            raise not_the_hub(file)
        if found.size is None or file.bytes not in (None, found.size):
            raise wrong_size(file, found.size)
        url = hf_hub_url(file.repo, file.path, revision=commit)
        return Remote(file, url, commit, etag, found.size)

    attempts = min(patience.attempts, _ASK_ATTEMPTS)
    return _patiently(attempt, file, traffic, replace(patience, attempts=attempts))


def fetch(remote: Remote, traffic: Traffic, patience: Patience) -> Path:
    """The file's path in the cache, fetched unless somebody else did. Raises FetchFailed."""

    def wait() -> None:
        traffic.pause(remote.file, _LOCK_SECONDS, f"Another download is at '{remote.file.name}'.")

    try:
        with traffic.fetching(remote.file), locked(remote, wait):
            if not has_blob(remote):
                _fetch_blob(remote, traffic, patience)
            traffic.at(remote.file, remote.size)
            return publish(remote)
    except OSError as error:
        raise disk_failure(error, cache_folder()) from error


def _fetch_blob(remote: Remote, traffic: Traffic, patience: Patience) -> None:
    partial = claim_partial(remote)
    # What was here from before may be what is wrong: the second time all of it is fetched.
    for _ in range(2):
        if _complete(remote, partial, traffic, patience):
            partial.replace(remote.blob)
            return
        partial.unlink()
    raise corrupt(remote.file)


def _complete(remote: Remote, partial: Path, traffic: Traffic, patience: Patience) -> bool:
    """Fetches what is missing; whether the content is then the right one."""
    content = _Content(remote)
    # Unbuffered, so that what has arrived is in the file even if this process is killed.
    with partial.open("a+b", buffering=0) as file:
        _hash_start(remote, file, content, traffic)
        more = True
        while more and file.tell() < remote.size:
            more = _patiently(
                lambda: _receive(remote, file, content, traffic, patience),
                remote.file,
                traffic,
                patience,
                position=file.tell,
            )
        return file.tell() == remote.size and content.is_right


def _hash_start(remote: Remote, file: BinaryIO, content: _Content, traffic: Traffic) -> None:
    file.seek(0)
    while block := file.read(_HASH_BLOCK):
        traffic.check()
        content.add(block)
        traffic.at(remote.file, min(file.tell(), remote.size))


def _receive(
    remote: Remote, file: BinaryIO, content: _Content, traffic: Traffic, patience: Patience
) -> bool:
    """Appends what one connection brings; False where the Hub has less than it said."""
    from huggingface_hub.utils import (  # type: ignore[attr-defined]
        build_hf_headers,
        get_session,
        hf_raise_for_status,
    )

    # Through the Hub's own address each time: the one behind it is signed, and soon runs out.
    headers = {**build_hf_headers(), "Accept-Encoding": "identity"}
    if file.tell():
        headers["Range"] = f"bytes={file.tell()}-"
    with get_session().stream(
        "GET", remote.url, headers=headers, timeout=patience.stall_seconds
    ) as response:
        if response.status_code == _RANGE_NOT_SATISFIABLE:
            return False
        hf_raise_for_status(response)
        if file.tell() and response.status_code != 206:
            file.truncate(0)
            file.seek(0)
            content.restart()
            traffic.at(remote.file, 0)
        with traffic.reading(response):
            _append(response, remote, file, content, traffic)
    return True


def _append(
    response: Response, remote: Remote, file: BinaryIO, content: _Content, traffic: Traffic
) -> None:
    for chunk in response.iter_bytes():
        traffic.check()
        _write(file, chunk)
        content.add(chunk)
        traffic.receive(remote.file, len(chunk))
        if file.tell() >= remote.size:
            return
    raise ConnectionError("the body ended early")


def _write(file: BinaryIO, chunk: bytes) -> None:
    # A raw file writes what fits; the next call says that the disk is full.
    rest = memoryview(chunk)
    while rest:
        rest = rest[file.write(rest) :]


def _patiently(
    attempt: Callable[[], T],
    file: HubFile,
    traffic: Traffic,
    patience: Patience,
    position: Callable[[], int] = lambda: 0,
) -> T:
    """The result of `attempt`, tried again while new bytes come or patience lasts."""
    furthest, failures = position(), 0
    while True:
        traffic.check()
        try:
            return attempt()
        except StudioError:
            raise
        except Exception as error:
            traffic.check()  # what was stopped fails too, in any way
            failure = failure_of(error, file, cache_folder())
            if failure is None:
                raise
            failures = 1 if position() > furthest else failures + 1
            furthest = max(furthest, position())
            wait = _wait_seconds(error, failures, patience)
            if failures >= patience.attempts or failure.kind not in PASSING:
                raise failure from error
            if wait > patience.longest_wait:
                raise failure from error
        traffic.pause(file, wait, f"{failure} Trying again in {wait:.0f} s.")


def _wait_seconds(error: Exception, failures: int, patience: Patience) -> float:
    """What the Hub asks for, else twice as long each time."""
    headers = getattr(getattr(error, "response", None), "headers", {})
    asked = str(headers.get("Retry-After", ""))
    own = min(patience.first_wait * 2.0 ** (failures - 1), _LONGEST_OWN_WAIT)
    return float(asked) if asked.isdigit() else own
