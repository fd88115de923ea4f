"""Kills the studio at random moments while it works, and counts what is lost or made twice.

    make soak ARGS="kills --seed 7 --lives 50"

Every life is a process of its own that runs the queue until it gets SIGKILL. In between, jobs that
were interrupted are run again, as somebody at the page would. At the end all are left to finish.
"""

import multiprocessing
import os
import random
import signal
import sqlite3
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from PIL import Image
from requests_of_modes import Media, raw_request

from studio.diffusers_engine import import_runners
from studio.errors import StudioError
from studio.home import Home
from studio.jobs import Job, JobTable
from studio.media_clips import last_frame
from studio.media_images import load_image
from studio.modes import MODES
from studio.recipe_read import read_recipe
from studio.studio import open_studio, running
from studio.submission import submit

OWNER = "soak"
LONGEST_LIFE = 4.0
"""Seconds. A job on demo weights takes one or two, so a life ends in any of its stages."""
FINISH_SECONDS = 600.0
ROUNDS = 3
"""Jobs of each mode."""


@dataclass(frozen=True)
class Kills:
    """What came of it; all but the first two are to be nought."""

    kills: int
    jobs: int
    lost: int
    made_twice: int
    broken_files: int
    partial_files: int
    database: str

    @property
    def well(self) -> bool:
        harm = (self.lost, self.made_twice, self.broken_files, self.partial_files)
        return not any(harm) and self.database == "ok"


def campaign(folder: Path, seed: int, lives: int, engine: str = "diffusers") -> Kills:
    """Runs `lives` lives over a stream of jobs in all modes of the engine."""
    chance, home, media = random.Random(seed), Home(folder / "home"), Media(folder / "media")
    import_runners()  # a life that is forked has them
    table = JobTable(home.database)
    jobs = [_ask(table, home, media, mode_id, number) for number, mode_id in _stream(engine)]
    for _ in range(lives):
        _live(home, chance.uniform(0.05, LONGEST_LIFE))
        _run_again(table)
    _finish(home, table)
    return _count(home, table, jobs, lives)


def _stream(engine: str) -> Iterator[tuple[int, str]]:
    modes = [mode.id for mode in MODES.values() if engine in mode.engines]
    return enumerate(modes * ROUNDS)


def _ask(table: JobTable, home: Home, media: Media, mode_id: str, number: int) -> str:
    raw: Mapping[str, object] = raw_request(mode_id, media, seed=number, preset="fast")
    return submit(table, home, OWNER, mode_id, raw).id


def _live(home: Home, seconds: float | None) -> None:
    """One process of the studio, killed after `seconds`; None: until nothing is left to do."""
    process = multiprocessing.get_context("fork").Process(target=_run_queue, args=(home,))
    process.start()
    process.join(FINISH_SECONDS if seconds is None else seconds)
    if process.pid is not None and process.is_alive():
        os.kill(process.pid, signal.SIGKILL)
    process.join()


def _run_queue(home: Home) -> None:
    studio = open_studio(home)
    with running(studio):
        while studio.table.has_work():
            time.sleep(0.1)


def _run_again(table: JobTable) -> None:
    # The next life marks what it finds running; here only those of lives before are known.
    for job in table.list_for(OWNER, ("interrupted",), limit=1000):
        table.rerun(OWNER, job.id)


def _finish(home: Home, table: JobTable) -> None:
    end = time.monotonic() + FINISH_SECONDS
    while time.monotonic() < end:
        _live(home, None)
        if not table.list_for(OWNER, ("interrupted", "queued", "running"), limit=1):
            return
        _run_again(table)


def _count(home: Home, table: JobTable, ids: list[str], kills: int) -> Kills:
    jobs = [job for job in map(table.get, ids) if job is not None]
    files = [path for path in home.outputs.rglob("*") if path.is_file()]
    known = {home.root / output for job in jobs for output in job.outputs}
    return Kills(
        kills=kills,
        jobs=len(ids),
        lost=len(ids) - sum(job.state == "done" for job in jobs),
        made_twice=len([path for path in files if path not in known and _is_result(path)]),
        broken_files=sum(not _is_whole(home, job) for job in jobs),
        partial_files=sum(not _is_result(path) for path in files),
        database=_check(home.database),
    )


def _is_result(path: Path) -> bool:
    return path.suffix in (".png", ".mp4") and not path.name.startswith(".")


def _is_whole(home: Home, job: Job) -> bool:
    """Whether each file of the job can be read to its end and says how it was made."""
    try:
        return all(_reads(home.root / output, job) for output in job.outputs)
    except (StudioError, OSError):
        return False


def _reads(path: Path, job: Job) -> bool:
    recipe = read_recipe(path).recipe
    if recipe is None or recipe.mode != job.mode:
        return False
    _OPEN[path.suffix](path)
    return True


_OPEN: Mapping[str, Callable[[Path], Image.Image]] = {".png": load_image, ".mp4": last_frame}


def _check(database: Path) -> str:
    with closing(sqlite3.connect(database)) as connection:
        return str(connection.execute("PRAGMA integrity_check").fetchone()[0])
