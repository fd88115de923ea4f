"""Homes in trouble: full and read-only disks, job tables that are damaged, locked or old, and two
studios on one home.

    make soak ARGS="homes --seed 4"

Whatever is refused is refused in a sentence, nothing is lost, and work goes on once the trouble is
over.
"""

import multiprocessing
import random
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import httpx
from page_server import Server
from requests_of_modes import Media, raw_request

from soak.kills import Kills, counted, run_queue
from soak.small_disk import may_mount, small_disk
from studio.diffusers_engine import import_runners
from studio.errors import StudioError
from studio.gallery import Gallery
from studio.home import Home
from studio.jobs import JobTable
from studio.jobs_copy import table_copied
from studio.jobs_schema import MIGRATIONS, connect
from studio.modes import MODES
from studio.studio import open_studio
from studio.submission import submit

OWNER = "soak"
DAMAGED = 60
"""Job tables with a few bytes changed."""
SHARED_JOBS = 18
"""For two studios on one home."""
WAIT_SECONDS = 300.0
START_SECONDS = 120.0
ROOT_ONLY = "a small disk can only be mounted by root on Linux"


@dataclass(frozen=True)
class Homes:
    """What came of it; all but the first three are to be empty or sound."""

    skipped: str
    tables_read: int
    tables_refused: int
    wrong: tuple[str, ...]
    two_studios: Kills

    @property
    def well(self) -> bool:
        return not self.wrong and self.two_studios.well


def campaign(folder: Path, seed: int) -> Homes:
    """Brings one trouble after the other over homes of their own."""
    chance, media = random.Random(seed), Media(folder / "media")
    damage = _Damage(folder / "damaged", chance)
    troubles: list[Callable[[], Iterator[str]]] = [
        damage.wrong,
        lambda: _older_tables(folder / "older"),
        lambda: _newer_table(folder / "newer"),
        lambda: _locked_table(folder / "locked", media),
    ]
    if may_mount():
        troubles += [
            lambda: _full_disk(folder / "full", media),
            lambda: _read_only_disk(folder / "read-only", media),
            lambda: _full_volume(folder / "volume"),
        ]
    wrong = [one for trouble in troubles for one in trouble()]
    return Homes(
        skipped="" if may_mount() else ROOT_ONLY,
        tables_read=damage.read,
        tables_refused=damage.refused,
        wrong=tuple(wrong),
        two_studios=_two_studios(folder / "two", media, seed),
    )


# Job tables


class _Damage:
    """Job tables with some bytes changed, each read as a page reads it."""

    def __init__(self, folder: Path, chance: random.Random) -> None:
        self._folder, self._chance = folder, chance
        self.read = self.refused = 0

    def wrong(self) -> Iterator[str]:
        whole = Home(self._folder / "whole")
        with closing(connect(whole.database, 1.0)) as connection:
            _fill(connection)
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        for number in range(DAMAGED):
            home = Home(self._folder / str(number))
            home.root.mkdir()
            home.database.write_bytes(self._changed(whole.database.read_bytes()))
            try:
                _use(home)
                self.read += 1
            except StudioError as error:
                self.refused += 1
                if str(home.database) not in str(error):
                    yield f"damaged table {number}: {error}"
            # Anything else is what this looks for.
            except Exception as error:
                yield f"damaged table {number}: {type(error).__name__}: {error}"

    def _changed(self, table: bytes) -> bytes:
        changed = bytearray(table)
        for _ in range(self._chance.choice((1, 4, 30))):
            changed[self._chance.randrange(len(changed))] = self._chance.randrange(256)
        cut = self._chance.randrange(len(changed)) if self._chance.random() < 0.2 else None
        return bytes(changed[:cut])


def _fill(connection: sqlite3.Connection) -> None:
    """Jobs in every state, with the columns that every release had."""
    states = ("done", "queued", "running", "failed", "cancelled", "interrupted")
    with connection:
        for number in range(24):
            job = f"{number:032x}"
            state = states[number % len(states)]
            connection.execute(
                "INSERT INTO jobs (id, owner, mode, preset, params, seed, inputs, state, position,"
                " created) VALUES (?, ?, 'photo', 'fast', ?, '7', '{}', ?, ?, 1700000000)",
                (job, OWNER, '{"prompt": "a cat", "preset": "fast", "seed": 7}', state, number),
            )
            connection.execute(
                "INSERT INTO items (job_id, item_index, state) VALUES (?, 0, ?)", (job, state)
            )


def _use(home: Home) -> None:
    studio = open_studio(home)
    studio.runner.recover()
    jobs = studio.table.list_for(OWNER, limit=100)
    studio.table.queue_positions(OWNER)
    Gallery(home, studio.table).page(OWNER)
    for job in jobs:
        studio.table.get_for(OWNER, job.id)
    submit(studio.table, home, OWNER, "photo", {"prompt": "a dog", "seed": 1})


def _older_tables(folder: Path) -> Iterator[str]:
    """Of every release so far: what was there is there, and what waited is made."""
    for version in range(1, len(MIGRATIONS)):
        home = Home(folder / str(version))
        home.root.mkdir(parents=True)
        with closing(sqlite3.connect(home.database)) as connection:
            for migration in MIGRATIONS[:version]:
                migration(connection)
            _fill(connection)
            connection.execute(f"PRAGMA user_version = {version}")
        studio = open_studio(home)
        studio.runner.recover()
        before = studio.table.list_for(OWNER, limit=100)
        if len(before) != 24 or any(job.state == "running" for job in before):
            yield f"schema {version}: {len(before)} jobs"
        waiting = next(job for job in before if job.state == "queued")
        if studio.runner.run_one(waiting.id).state != "done":
            yield f"schema {version}: a job that waited was not made"


def _newer_table(folder: Path) -> Iterator[str]:
    home = Home(folder)
    home.root.mkdir(parents=True)
    with closing(sqlite3.connect(home.database)) as connection:
        connection.execute(f"PRAGMA user_version = {len(MIGRATIONS) + 1}")
    yield from _one_line(home, "newer version", "a newer table")


def _locked_table(folder: Path, media: Media) -> Iterator[str]:
    """Another program holds the table while a job runs: the job ends well when it lets go."""
    home = Home(folder)
    studio = open_studio(home)
    job = studio.submit(OWNER, "photo", raw_request("photo", media, preset="fast"))
    impatient = JobTable(home.database, busy_seconds=0.2)
    started = threading.Event()
    thread = threading.Thread(
        target=lambda: studio.runner.run_one(job.id, lambda event: started.set())
    )
    thread.start()
    started.wait(WAIT_SECONDS)
    with closing(sqlite3.connect(home.database, timeout=60, isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        try:
            submit(impatient, home, OWNER, "photo", raw_request("photo", media))
            yield "locked table: a job was taken all the same"
        except StudioError as error:
            if "kept busy by another program" not in str(error):
                yield f"locked table: {error}"
        time.sleep(2 * 10.0)  # longer than the studio waits for it at a time
        other.execute("ROLLBACK")
    thread.join(WAIT_SECONDS)
    after = studio.table.get(job.id)
    if after is None or after.state != "done":
        yield f"locked table: the job is {after and after.state}"


def _one_line(home: Home, clue: str, where: str) -> Iterator[str]:
    """Both ways to start the studio say one sentence, and end."""
    for command in (
        ["app.py", "--port", "0"],
        ["-m", "studio", "photo", "--prompt", "a cat", "--preset", "fast"],
    ):
        try:
            ended = subprocess.run(
                [sys.executable, *command, "--home", str(home.root)],
                capture_output=True,
                text=True,
                timeout=START_SECONDS,
                check=False,
            )
        except subprocess.TimeoutExpired:
            yield f"{where}: {command[0]} started all the same"
            continue
        lines = ended.stderr.strip().splitlines()
        if len(lines) != 1 or clue not in lines[0] or not ended.returncode:
            yield f"{where}: {command[0]} ended with {ended.returncode}: {ended.stderr[-400:]}"


# Disks


def _full_disk(folder: Path, media: Media) -> Iterator[str]:
    """Everything that a visitor can do, while the home's disk is full and after."""
    with small_disk(folder) as disk:
        server = Server(Home(folder / "home"))
        try:
            with server.visitor() as client:
                actions = _actions(client, media)
                disk.fill()
                for name, act in actions.items():
                    yield from _refusal(f"full disk, {name}", act())
                disk.free()
                for name, act in actions.items():
                    answer = act()
                    if answer.status_code != 200 and "carries no recipe" not in answer.text:
                        yield f"free disk, {name}: {answer.status_code} {answer.text[:200]}"
        finally:
            server.stop()


def _actions(client: httpx.Client, media: Media) -> dict[str, Callable[[], httpx.Response]]:
    """What a visitor with one job does; each is answered with 200 where all is well."""
    info = client.get("/gradio_api/info").json()["named_endpoints"]["/photo"]["parameters"]
    data = [one["parameter_default"] if one["parameter_has_default"] else "a cat" for one in info]
    picture = Path(media.path("image")).read_bytes()

    def ask() -> httpx.Response:
        return client.post("/gradio_api/run/photo", json={"data": data})

    job = ask().json()["data"][0]
    end = time.monotonic() + WAIT_SECONDS
    while client.get(f"/jobs/{job}").json()["live"] and time.monotonic() < end:
        time.sleep(0.05)
    files = {"files": ("cat.png", picture, "image/png")}
    return {
        "job": ask,
        "upload": lambda: client.post("/gradio_api/upload", files=files),
        "recipe": lambda: client.post("/recipe?name=cat.png", content=picture),
        "poster": lambda: client.get(f"/gallery/{job}/0/poster"),
        "again": lambda: client.post(f"/gallery/{job}/0/again"),
        "delete": lambda: client.post(f"/gallery/{job}/0/delete"),
        "undo": lambda: client.post(f"/gallery/{job}/0/undo"),
        "jobs": lambda: client.get("/jobs"),
        "gallery": lambda: client.get("/gallery"),
        "result": lambda: client.get(f"/media/{job}/0"),
        "page": lambda: client.get("/"),
    }


def _refusal(where: str, answer: httpx.Response) -> Iterator[str]:
    """A full disk is no reason not to look at what is there; all else says what is wrong."""
    if answer.status_code != 200 and "The disk that holds" not in answer.text:
        yield f"{where}: {answer.status_code} {answer.text[:200]}"


def _read_only_disk(folder: Path, media: Media) -> Iterator[str]:
    with small_disk(folder) as disk:
        home = Home(folder / "home")
        raw = raw_request("photo", media)
        # Its connection to the table ends with the process; an open file would hold the disk.
        context = multiprocessing.get_context("fork")
        process = context.Process(
            target=submit, args=(JobTable(home.database), home, OWNER, "photo", raw)
        )
        process.start()
        process.join()
        disk.free()
        try:
            disk.forbid()
        except subprocess.CalledProcessError:
            yield "read-only disk: it could not be made so"
            return
        yield from _one_line(home, "", "read-only home")


def _full_volume(folder: Path) -> Iterator[str]:
    """The copy of the table: jobs go on without it, and the next whole one comes with room."""
    with small_disk(folder) as disk:
        home = Home(folder / "volume", folder.with_name("own disk"))
        table = JobTable(home.database)
        table.submit(OWNER, "photo", {"prompt": "one"}, 1, {})
        disk.fill()
        with table_copied(home, seconds=0.05):
            time.sleep(0.5)
            table.submit(OWNER, "photo", {"prompt": "two"}, 1, {})
            time.sleep(0.5)
            disk.free()
        copied = open_studio(Home(folder / "volume", folder.with_name("next"))).table
        if len(copied.list_for(OWNER)) != 2:
            yield "full volume: the copy is not whole"


# Two studios


def _two_studios(folder: Path, media: Media, seed: int) -> Kills:
    """Both work on one queue, and three threads ask for jobs meanwhile."""
    import_runners()
    home = Home(folder)
    table, modes = JobTable(home.database), list(MODES)
    jobs: list[str] = []

    def ask(first: int) -> None:
        for number in range(first, SHARED_JOBS, 3):
            mode_id = modes[number % len(modes)]
            raw = raw_request(mode_id, media, preset="fast", seed=seed + number)
            jobs.append(submit(table, home, OWNER, mode_id, raw).id)

    context = multiprocessing.get_context("fork")
    ask(0)
    studios = [context.Process(target=run_queue, args=(home,)) for _ in range(2)]
    askers = [threading.Thread(target=ask, args=(number,)) for number in (1, 2)]
    for one in (*studios, *askers):
        one.start()
    for one in (*askers, *studios):
        one.join(WAIT_SECONDS)
    for process in studios:
        process.kill()
    # What was asked for after both had found nothing to do.
    run_queue(home)
    return counted(home, table, jobs, 0, [])
