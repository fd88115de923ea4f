"""What an owner has made: finished items of the job table whose file is still in the home."""

import errno
import json
import shutil
import sqlite3
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from studio import disk
from studio.errors import BadInput
from studio.home import Home
from studio.jobs import Item, Job, JobTable
from studio.jobs_schema import BUSY_SECONDS, JobFile
from studio.media_clips import POSTER_SIDE, poster_jpeg
from studio.media_images import load_image, small_jpeg

PAGE_OF_FILES = 24
"""Files in one answer: whole rows of two, three and four posters."""

UNDO_SECONDS = 600.0
"""How long a deleted file can be put back."""

_CLIPS = frozenset({".mp4"})
_INDEX_DIGITS = 9
"""Far more items than a job has, and few enough for SQLite's numbers."""

_LONGEST_SEARCH = 200
"""Characters of a search; longer ones find nothing that these do not."""


@dataclass(frozen=True)
class Made:
    """One finished file. `output` is relative to the home, `created` seconds since the epoch, which
    a clock that was set back counts again; newer jobs have a higher `serial`.
    """

    serial: int
    job_id: str
    index: int
    mode: str
    prompt: str
    seed: int
    output: str
    created: float
    details: Mapping[str, Any]

    @property
    def id(self) -> str:
        return _id(self.job_id, self.index)


@dataclass(frozen=True)
class MadePage:
    """Files, newest first; `next` is the cursor of the page after this one, None on the last."""

    items: tuple[Made, ...]
    next: str | None


class Gallery:
    """The finished files of one home. Another owner's are answered exactly as unknown ones."""

    def __init__(self, home: Home, table: JobTable, undo_seconds: float = UNDO_SECONDS) -> None:
        self._home = home
        self._table = table
        self._undo_seconds = undo_seconds
        self._file = JobFile(home.database, BUSY_SECONDS)

    def page(
        self,
        owner: str,
        mode: str = "",
        text: str = "",
        before: str | None = None,
        limit: int = PAGE_OF_FILES,
    ) -> MadePage:
        """The owner's files after the cursor `before`, of one mode, whose prompt has every word."""
        with self._file.reading() as connection:
            rows = _rows(connection, owner, mode, text, before)
            there = (made for made in map(_made, rows) if self._path(made.output).is_file())
            found = tuple(islice(there, limit + 1))
        shown = found[:limit]
        return MadePage(shown, shown[-1].id if len(found) > limit else None)

    def path_of(self, owner: str, job_id: str, index: int) -> Path | None:
        """Where the file lies; None for one that is unknown, another owner's, or gone."""
        found = self._find(owner, job_id, index)
        path = self._path(found[1].output) if found and found[1].output else None
        return path if path and path.is_file() else None

    def poster(self, owner: str, job_id: str, index: int) -> Path | None:
        """A small JPEG of the file, made on first use. Raises BadInput for a damaged file."""
        path = self.path_of(owner, job_id, index)
        if path is None:
            return None
        poster = self._poster_path(_id(job_id, index))
        if not poster.is_file():
            jpeg = _poster(path)
            with disk.disk_errors(poster.parent, BadInput):
                _write(poster, jpeg)
        return poster

    def owns_input(self, owner: str, sha256: str) -> bool:
        """Whether a job of the owner was made from a file of this content."""
        query = "SELECT 1 FROM jobs WHERE owner = ? AND instr(inputs, ?) > 0 LIMIT 1"
        with self._file.reading() as connection:
            return connection.execute(query, (owner, f'"{sha256}"')).fetchone() is not None

    # Deleting

    def delete(self, owner: str, job_id: str, index: int) -> bool:
        """Moves the file to the trash; False where there is none. Raises BadInput while its job
        waits or runs.
        """
        found = self._find(owner, job_id, index)
        path = self.path_of(owner, job_id, index)
        if found is None or path is None:
            return False
        if found[0].is_live:
            raise BadInput("This job is still at work: cancel it, or wait, and delete then.")
        with disk.disk_errors(self._trash, BadInput):
            moved = _move(path, self._trash / _id(job_id, index) / path.name)
        self._empty_later()
        return moved

    def undo(self, owner: str, job_id: str, index: int) -> bool:
        """Puts a deleted file back; False where it is not in the trash any more."""
        found = self._find(owner, job_id, index)
        if found is None or not found[1].output:
            return False
        path = self._path(found[1].output)
        folder = self._trash / _id(job_id, index)
        if not (folder / path.name).is_file():
            return False
        if path.exists():
            raise BadInput(f"The name {path.name} is taken again: move that file away first.")
        with disk.disk_errors(path.parent, BadInput):
            moved = _move(folder / path.name, path)
        shutil.rmtree(folder, ignore_errors=True)
        return moved

    def empty_trash(self, older_than: float = 0.0) -> None:
        """Removes for good what was deleted at least `older_than` seconds ago."""
        for folder in self._trash.glob("*"):
            if time.time() - _changed(folder) >= older_than:
                shutil.rmtree(folder, ignore_errors=True)
                self._poster_path(folder.name).unlink(missing_ok=True)

    def _empty_later(self) -> None:
        timer = threading.Timer(self._undo_seconds, self.empty_trash, [self._undo_seconds])
        timer.daemon = True
        timer.start()

    # Places

    @property
    def _trash(self) -> Path:
        return self._home.scratch / "trash"

    def _poster_path(self, made_id: str) -> Path:
        return self._home.scratch / "posters" / f"{made_id}.jpg"

    def _path(self, output: str) -> Path:
        return self._home.root / output

    def _find(self, owner: str, job_id: str, index: int) -> tuple[Job, Item] | None:
        job = self._table.get_for(owner, job_id)
        return (job, job.items[index]) if job and 0 <= index < len(job.items) else None


def _id(job_id: str, index: int) -> str:
    return f"{job_id}-{index}"


def _rows(
    connection: sqlite3.Connection, owner: str, mode: str, text: str, before: str | None
) -> Iterator[sqlite3.Row]:
    """The finished items, newest first, read one by one as they are asked for."""
    conditions = ["jobs.owner = ?", "items.state = 'done'", "items.output IS NOT NULL"]
    values: list[object] = [owner]
    if mode:
        conditions.append("jobs.mode = ?")
        values.append(mode)
    for word in text[:_LONGEST_SEARCH].casefold().split():
        conditions.append("instr(casefold(json_extract(jobs.params, '$.prompt')), ?) > 0")
        values.append(word)
    if before is not None:
        job_id, _, index = before.rpartition("-")
        # With no such job the comparison is with NULL, and nothing is found.
        serial = "(SELECT serial FROM jobs WHERE id = ? AND owner = ?)"
        conditions.append(
            f"jobs.serial <= {serial} AND (jobs.serial < {serial} OR items.item_index < ?)"
        )
        known = index.isdecimal() and len(index) <= _INDEX_DIGITS
        values += [job_id, owner, job_id, owner, int(index) if known else 0]
    # CROSS JOIN keeps the order of the loops: the owner's index gives the newest jobs first.
    return connection.execute(
        "SELECT jobs.serial, jobs.id, jobs.mode, jobs.seed, jobs.created, items.item_index,"
        " items.output, items.details, json_extract(jobs.params, '$.prompt') AS prompt"
        " FROM jobs CROSS JOIN items ON items.job_id = jobs.id"
        f" WHERE {' AND '.join(conditions)} ORDER BY jobs.serial DESC, items.item_index DESC",
        values,
    )


def _made(row: sqlite3.Row) -> Made:
    details = json.loads(row["details"])
    return Made(
        serial=row["serial"],
        job_id=row["id"],
        index=row["item_index"],
        mode=row["mode"],
        prompt=str(row["prompt"] or ""),
        seed=details.get("seed", int(row["seed"])),
        output=row["output"],
        created=row["created"],
        details=details,
    )


def _poster(path: Path) -> bytes:
    if path.suffix.lower() in _CLIPS:
        return poster_jpeg(path)
    return small_jpeg(load_image(path), POSTER_SIDE)


def _write(path: Path, content: bytes) -> None:
    with disk.partial_file(path.parent) as partial:
        partial.write_bytes(content)
        partial.replace(path)


def _move(source: Path, target: Path) -> bool:
    """Moves a file, to another disk too; False when somebody else has moved it."""
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        source.replace(target)
    except FileNotFoundError:
        return False
    except OSError as error:
        if error.errno != errno.EXDEV:
            raise
        with disk.partial_file(target.parent) as partial:
            disk.copy_durably(source, partial)
            partial.replace(target)
        source.unlink()
    return True


def _changed(folder: Path) -> float:
    try:
        return folder.stat().st_mtime
    except FileNotFoundError:
        return time.time()
