"""Whose the files are that visitors have uploaded and not used yet.

Gradio serves them to whoever knows the address; the page asks here first.
"""

import threading
from pathlib import Path

MOST_UPLOADS = 10_000
"""Remembered at a time, some 200 bytes each; the files themselves go after a day."""


class Uploads:
    """Owners by the folder that holds an upload. Safe for threads; forgotten with the process."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._owners: dict[str, set[str]] = {}

    def note(self, owner: str, path: str) -> None:
        """The file at `path` is the owner's, too: the same content has the same folder."""
        with self._lock:
            self._owners.setdefault(_folder(path), set()).add(owner)
            if len(self._owners) > MOST_UPLOADS:
                del self._owners[next(iter(self._owners))]

    def is_of(self, owner: str | None, path: str) -> bool:
        with self._lock:
            return owner in self._owners.get(_folder(path), ())


def _folder(path: str) -> str:
    return Path(path).resolve().parent.name
