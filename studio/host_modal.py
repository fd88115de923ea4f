"""The Modal app's containers, but for Modal itself: what `modal_app.py` puts its decorators on."""

import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path

from studio.errors import StudioError
from studio.home import Home
from studio.jobs import JobTable
from studio.remote_work import Files, MakeItem, Order, Said, serve
from studio.runner import failure_from
from studio.submission import submit

OWNER = "script"
"""Owns the jobs of `run_request`: no cookie of a page can have this value."""


def run_request(
    make: MakeItem, home: Home, mode_id: str, raw: Mapping[str, object], files: Files
) -> Iterator[Said]:
    """The worker's end of a script: from raw values to the bytes of the results.

    Its job is in a table that lives as long as the request.
    """
    with tempfile.TemporaryDirectory(prefix="aio-studio-") as folder:
        table = JobTable(Path(folder) / "jobs.sqlite3")
        media, names = _unpack(Path(folder), files)
        try:
            job = submit(table, home, OWNER, mode_id, {**raw, **media}, names)
        except StudioError as error:
            yield failure_from(error, None)
            return
        for item in job.items:
            yield from serve(make, home, Order(job.id, job, item, {}), lambda: False)


def _unpack(folder: Path, files: Files) -> tuple[dict[str, list[str]], dict[str, str]]:
    """Writes the files. Returns their paths by control, and their names by path."""
    paths: dict[str, list[str]] = {control: [] for control in files}
    names: dict[str, str] = {}
    for control, given in files.items():
        for name, content in given:
            path = folder / str(len(names))
            path.write_bytes(content)
            paths[control].append(str(path))
            names[str(path)] = name
    return paths, names
