"""A file of jobs, one JSON object a line: read and checked as a whole, and what of it was begun."""

import hashlib
import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from studio import disk
from studio.cli_run import checked_target, preferred_engine
from studio.engine import ENGINES
from studio.errors import BadInput, StudioError
from studio.home import Home
from studio.modes import Mode
from studio.planning import plan_request
from studio.request import mode_called, read_request, with_seed


@dataclass(frozen=True)
class Line:
    """A job of the file. `key` is its content, and which of several equal lines it is."""

    number: int
    key: str
    mode: Mode
    raw: Mapping[str, object]
    target: Path | None


@dataclass(frozen=True)
class BadLine:
    number: int
    sentence: str


def read_lines(home: Home, file: Path) -> tuple[list[Line], list[BadLine]]:
    """The lines that could run, and the others with what is wrong. Empty ones are left out.

    Files that a line names are looked for from the folder of the file. Raises BadInput for a file
    that cannot be read.
    """
    try:
        text = file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise BadInput(f"'{file}' is not a file of text that can be read.") from error
    good: list[Line] = []
    bad: list[BadLine] = []
    seen: Counter[str] = Counter()
    for number, written in enumerate(text.splitlines(), 1):
        if not written.strip():
            continue
        try:
            line = _line(number, written, file.absolute().parent, seen)
            _require_runnable(home, line)
            _require_own_target(line, good)
            good.append(line)
        except StudioError as error:
            bad.append(BadLine(number, str(error)))
    return good, bad


def _line(number: int, written: str, folder: Path, seen: Counter[str]) -> Line:
    try:
        values = json.loads(written)
    except ValueError as error:
        raise BadInput(f"This is no JSON ({error}).") from error
    if not isinstance(values, dict):
        raise BadInput('This is no JSON object: write {"mode": …, "prompt": …}.')
    content = json.dumps(values, sort_keys=True).encode()
    digest = hashlib.sha256(content).hexdigest()
    seen[digest] += 1
    mode = mode_called(str(values.pop("mode", "")))
    output = values.pop("output", None)
    for field in mode.media:
        if field.name in values:
            values[field.name] = _from(folder, values[field.name])
    target = folder / str(output) if output is not None else None
    raw = {"engine": preferred_engine(mode), **values}
    return Line(number, f"{digest}-{seen[digest]}", mode, raw, target)


def _from(folder: Path, value: object) -> object:
    if isinstance(value, list):
        return [_from(folder, one) for one in value]
    return str(folder / value) if isinstance(value, str) else value


def _require_runnable(home: Home, line: Line) -> None:
    """All that `submit` would refuse now, with nothing queued."""
    request = read_request(home, line.mode.id, line.raw)
    for plan in plan_request(with_seed(request)):
        ENGINES[plan.engine].check(home, plan)
    checked_target(line.mode, line.target, request.count)


def _require_own_target(line: Line, others: Sequence[Line]) -> None:
    for other in others:
        if line.target is not None and line.target == other.target and not line.target.is_dir():
            raise BadInput(f"Line {other.number} is put into '{line.target.name}' already.")


class Begun:
    """Which job each line has become, kept beside the file; the job table says how it went."""

    def __init__(self, file: Path) -> None:
        self._path = file.with_name(file.name + ".jobs")
        text = self._path.read_text(encoding="utf-8") if self._path.exists() else ""
        self._jobs = dict(_notes(text))
        # What a killed process had begun to write must not take the next note with it.
        self._before = "" if text.endswith("\n") or not text else "\n"

    def job_of(self, line: Line) -> str | None:
        return self._jobs.get(line.key)

    def note(self, line: Line, job_id: str) -> None:
        """Remembered on disk before anything runs. Raises BadInput where the disk refuses."""
        self._jobs[line.key] = job_id
        with disk.disk_errors(self._path.parent, BadInput):
            with self._path.open("a", encoding="utf-8") as file:
                note = json.dumps({"line": line.key, "job": job_id})
                file.write(f"{self._before}{note}\n")
            disk.sync_file(self._path)
        self._before = ""


def _notes(text: str) -> Iterator[tuple[str, str]]:
    for written in text.splitlines():
        try:
            noted = cast(Mapping[str, str], json.loads(written))
        except ValueError:
            continue
        yield noted["line"], noted["job"]
