"""Times what the page asks of a long history: 100,000 jobs of one owner, 10,000 of them with files.

Run as `python -m bench.history [JOBS]`. One job in ten is done and has its file; the others were
cancelled. What is asked for is what the page's routes ask for.
"""

import json
import shutil
import statistics
import sys
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path

from PIL import Image

from bench.pairs import table, timed
from studio.gallery import Gallery
from studio.home import Home
from studio.inputs import stored_input
from studio.jobs import JobTable
from studio.jobs_rows import inputs_to_json
from studio.jobs_schema import BUSY_SECONDS, JobFile
from studio.modes import MODES
from studio.restore import restore, wish_of_job

JOBS = int(sys.argv[1]) if len(sys.argv) > 1 else 100_000
DONE = 10
"""One job of so many has a file."""

OWNER = "bench"
CALLS = 11
WORDS = ("a red circle", "ein Kätzchen im Schnee", "waves at night", "an old town in the rain")


def main() -> int:
    """Print a Markdown table: milliseconds of CPU time of each question, first and again."""
    with tempfile.TemporaryDirectory() as folder:
        home = Home(Path(folder))
        table_of_jobs = JobTable(home.database)
        table_of_jobs.has_work()
        _fill(home)
        rows = [_row(name, ask) for name, ask in _questions(home, table_of_jobs).items()]
        size = home.database.stat().st_size / 1e6
    head = ["question, CPU time", "first (ms)", "median (ms)", f"slowest of {CALLS} (ms)"]
    sys.stdout.write(f"{JOBS} jobs, {JOBS // DONE} files, {size:.0f} MB.\n\n{table(head, rows)}\n")
    return 0


def _row(name: str, ask: Callable[[], object]) -> list[object]:
    first = timed(ask).cpu
    more = [timed(ask).cpu for _ in range(CALLS)]
    return [name, *(1000 * one for one in (first, statistics.median(more), max(more)))]


def _questions(home: Home, jobs: JobTable) -> dict[str, Callable[[], object]]:
    gallery = Gallery(home, jobs)
    # Of the middle, and the newest that is done.
    old, new = f"job{JOBS // 2 // DONE * DONE}", f"job{(JOBS - 1) // DONE * DONE}"
    return {
        "jobs, first page": partial(jobs.list_for, OWNER, limit=21),
        "jobs, a page in the middle": partial(jobs.list_for, OWNER, limit=21, before=old),
        "jobs that wait or run": partial(jobs.list_for, OWNER, ("queued", "running"), 200),
        "places in the queue": partial(jobs.queue_positions, OWNER),
        "one job": partial(jobs.get_for, OWNER, old),
        "gallery, first page": partial(gallery.page, OWNER),
        "gallery, a page in the middle": partial(gallery.page, OWNER, before=f"{old}-0"),
        "gallery, one mode": partial(gallery.page, OWNER, mode="edit"),
        "search for a frequent word": partial(gallery.page, OWNER, text="kätzchen"),
        "search for one picture": partial(gallery.page, OWNER, text="number 4200"),
        "search for nothing there": partial(gallery.page, OWNER, text="zeppelin"),
        "poster": partial(gallery.poster, OWNER, new, 0),
        "restore a new job": partial(_restore, home, jobs, gallery, new),
        "restore the oldest job": partial(_restore, home, jobs, gallery, "job0"),
        "whose is an unknown input": partial(gallery.owns_input, OWNER, "f" * 64),
        "what stages took": partial(jobs.stage_seconds, "photo", "balanced", "diffusers", "demo"),
    }


def _restore(home: Home, jobs: JobTable, gallery: Gallery, job_id: str) -> None:
    job = jobs.get_for(OWNER, job_id)
    assert job is not None
    restored = restore(home, partial(gallery.owns_input, OWNER), wish_of_job(job, job.items[0]))
    assert restored.mode.id == job.mode


def _fill(home: Home) -> None:
    """Rows as the studio writes them, and a file for each that is done."""
    folder = home.outputs / "2026-11-26"
    folder.mkdir(parents=True)
    first = folder / "0.png"
    Image.radial_gradient("L").convert("RGB").save(first)
    for number in range(DONE, JOBS, DONE):
        shutil.copyfile(first, folder / f"{number}.png")
    with JobFile(home.database, BUSY_SECONDS).writing() as connection:
        connection.executemany(
            "INSERT INTO jobs (id, owner, mode, preset, params, seed, inputs, state, position,"
            " created, started, finished) VALUES (?, ?, ?, 'balanced', ?, ?, ?, ?, ?, ?, ?, ?)",
            map(_job, range(JOBS)),
        )
        connection.executemany(
            "INSERT INTO items (job_id, item_index, state, engine, weights, output, details,"
            " timings, extent) VALUES (?, 0, ?, 'diffusers', 'demo', ?, ?, ?, ?)",
            map(_item, range(JOBS)),
        )


def _mode(number: int) -> str:
    return list(MODES)[number // DONE % len(MODES)]


def _job(number: int) -> tuple[object, ...]:
    prompt = f"{WORDS[number // DONE % len(WORDS)]}, number {number}"
    params = {"prompt": prompt, "preset": "balanced", "seed": number, "steps": 20}
    inputs = {}
    if MODES[_mode(number)].media:
        role = MODES[_mode(number)].media[0].name
        inputs = {role: (stored_input(f"{number:064x}", "a picture.png"),)}
    state = "cancelled" if number % DONE else "done"
    when = 1.7e9 + number
    row = (f"job{number}", OWNER, _mode(number), json.dumps(params), str(number))
    return (*row, inputs_to_json(inputs), state, float(number), when, when + 1, when + 9)


def _item(number: int) -> tuple[object, ...]:
    details = {"width": 256, "height": 256, "frames": 1, "fps": None, "seed": number, "demo": True}
    timings = {"load": 0.5, "sample1": 6.0, "decode": 1.0}
    extent = {"pixels": 65536, "frames": 1, "steps": [20]}
    job = f"job{number}"
    if number % DONE:
        return job, "cancelled", None, "{}", "{}", None
    output = f"outputs/2026-11-26/{number}.png"
    return job, "done", output, json.dumps(details), json.dumps(timings), json.dumps(extent)


if __name__ == "__main__":
    sys.exit(main())
