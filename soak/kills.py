"""Kills the studio at random moments while it works, and counts what is lost or made twice.

    make soak ARGS="kills --seed 7 --lives 50"
    make soak ARGS="kills --engine comfy"

Every life is a process of its own that runs the queue until it gets SIGKILL. In between, jobs that
were interrupted are run again, as somebody at the page would. Every eighth life is a whole start of
`app.py`, which is measured. At the end all are left to finish.
"""

import multiprocessing
import os
import random
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import httpx
import psutil
from page_server import free_port
from PIL import Image
from requests_of_modes import Media, raw_request

from soak import comfy
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
STARTS = 8
"""One life in so many is a page's."""
QUICK_START = 5.0
"""Seconds of the processor, which a busy machine does not make more of."""
SMALL: Mapping[str, Mapping[str, object]] = {
    "diffusers": {},
    "comfy": {"engine": "comfy", "width": 256, "height": 256},
}
"""What makes a job small: demo weights are so by themselves."""
SECONDS = 0.7
"""Of a clip, where nothing else says how long it is."""


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
    slowest_start_processor_seconds: float
    slowest_start_seconds: float
    """On the clock, beside whatever else the machine does."""

    @property
    def well(self) -> bool:
        harm = (self.lost, self.made_twice, self.broken_files, self.partial_files)
        quick = self.slowest_start_processor_seconds < QUICK_START
        return not any(harm) and self.database == "ok" and quick


def campaign(folder: Path, seed: int, lives: int, engine: str = "diffusers") -> Kills:
    """Runs `lives` lives over a stream of jobs in all modes of the engine."""
    chance, media = random.Random(seed), Media(folder / "media")
    import_runners()  # a life that is forked has them, and ComfyUI
    home = comfy.prepared(folder) if engine == "comfy" else Home(folder / "home")
    table = JobTable(home.database)
    stream = _stream(engine)
    jobs = [_ask(table, home, media, mode_id, number, engine) for number, mode_id in stream]
    starts = []
    for life in range(1, lives + 1):
        if life % STARTS:
            _live(home, chance.uniform(0.05, LONGEST_LIFE))
        else:
            starts.append(_page(home, chance.uniform(0, LONGEST_LIFE)))
        _run_again(table)
    _finish(home, table)
    return counted(home, table, jobs, lives, starts)


def _stream(engine: str) -> Iterator[tuple[int, str]]:
    modes = [mode.id for mode in MODES.values() if engine in mode.engines]
    return enumerate(modes * ROUNDS)


def _ask(table: JobTable, home: Home, media: Media, mode_id: str, number: int, engine: str) -> str:
    names = [field.name for field in MODES[mode_id].fields]
    more = {name: value for name, value in SMALL[engine].items() if name in (*names, "engine")}
    if engine == "comfy" and "seconds" in names:
        more["seconds"] = SECONDS
    raw = raw_request(mode_id, media, seed=number, preset="fast", **more)
    return submit(table, home, OWNER, mode_id, raw).id


def _page(home: Home, seconds: float) -> tuple[float, float]:
    """A page that is killed `seconds` after it answers; the processor's and the clock's seconds
    until then. It works on the queue from its start on.
    """
    port, begun = free_port(), time.monotonic()
    command = [sys.executable, "app.py", "--home", str(home.root), "--port", str(port)]
    # As everywhere, the studio's own modules are compiled once, not at each start.
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    process = subprocess.Popen(command, env=environment, **quiet)
    try:
        while not _answers(port):
            if process.poll() is not None or time.monotonic() > begun + FINISH_SECONDS:
                raise RuntimeError("The page did not start.")
            time.sleep(0.02)
        spent = psutil.Process(process.pid).cpu_times()
        took = round(spent.user + spent.system, 1), round(time.monotonic() - begun, 1)
        time.sleep(seconds)
    finally:
        process.kill()
        process.wait()
    return took


def _answers(port: int) -> bool:
    try:
        return httpx.get(f"http://127.0.0.1:{port}/jobs").status_code == 200
    except httpx.TransportError:
        return False


def _live(home: Home, seconds: float | None) -> None:
    """One process of the studio, killed after `seconds`; None: until nothing is left to do."""
    process = multiprocessing.get_context("fork").Process(target=run_queue, args=(home,))
    process.start()
    process.join(FINISH_SECONDS if seconds is None else seconds)
    if process.pid is not None and process.is_alive():
        os.kill(process.pid, signal.SIGKILL)
    process.join()


def run_queue(home: Home) -> None:
    """A studio without a page, until nothing is left to do."""
    studio = open_studio(home)
    with running(studio):
        while studio.table.has_work():
            time.sleep(0.1)


def _run_again(table: JobTable) -> None:
    # The next life marks what it finds running; here only those of lives before are known.
    for job in table.list_for(OWNER, ("interrupted",), limit=1000):
        table.rerun(OWNER, job.id)


def _finish(home: Home, table: JobTable) -> None:
    """Until all is made, or nothing more is."""
    left: list[str] = []
    while left != (left := _unfinished(table)):
        _live(home, None)
        _run_again(table)


def _unfinished(table: JobTable) -> list[str]:
    live = table.list_for(OWNER, ("interrupted", "queued", "running"), limit=1000)
    return [job.id for job in live]


def counted(
    home: Home, table: JobTable, ids: list[str], kills: int, starts: list[tuple[float, float]]
) -> Kills:
    """What became of the jobs of these ids."""
    jobs = [job for job in map(table.get, ids) if job is not None]
    files = [path for path in home.outputs.rglob("*") if path.is_file()]
    known = {home.root / output for job in jobs for output in job.outputs}
    return Kills(
        kills=kills,
        jobs=len(ids),
        lost=len(ids) - sum(job.state == "done" for job in jobs),
        made_twice=len([path for path in files if path not in known and is_result(path)]),
        broken_files=sum(not is_whole(home, job) for job in jobs),
        partial_files=sum(not is_result(path) for path in files),
        database=check(home.database),
        slowest_start_processor_seconds=max((one for one, _ in starts), default=0.0),
        slowest_start_seconds=max((one for _, one in starts), default=0.0),
    )


def is_result(path: Path) -> bool:
    """Whether it is called like a result, and not like half of one."""
    return path.suffix in (".png", ".mp4") and not path.name.startswith(".")


def is_whole(home: Home, job: Job) -> bool:
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


def check(database: Path) -> str:
    """What SQLite says of the file; "ok" where it is sound."""
    with closing(sqlite3.connect(database)) as connection:
        return str(connection.execute("PRAGMA integrity_check").fetchone()[0])
