"""Clocks that are set, machines that sleep, and a studio that is stopped for a while.

    make soak ARGS="clocks --seed 3"

The wall clock jumps by hours, forward and back, with the clock that only goes forward and without
it, while jobs wait and run. What the page says of them stays sane, and nothing is lost. A whole
studio is stopped (SIGSTOP) and goes on (SIGCONT) under pages that watch a job, give up and come
back.
"""

import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
from page_server import Server, free_port
from requests_of_modes import Media, raw_request

from soak.kills import Kills, counted
from studio.errors import StudioError
from studio.home import Home
from studio.jobs import JobTable
from studio.page_owner import OWNER_COOKIE
from studio.retention import Limits, Retention
from studio.submission import submit

JUMPS = 16
HOURS = (1.0, 3.0, 30.0)
SANE_SECONDS = 600.0
"""No job here takes ten minutes, on however busy a machine."""
STOPS = 8
LONGEST_STOP = 6.0
PATIENCE = 2.0
"""Seconds after which a page asks anew."""
JOBS = 12
WAIT_SECONDS = 300.0
OWNER = "s" * 43
"""As the page's cookie names one."""


@dataclass(frozen=True)
class Clocks:
    """What came of it; `wrong` is to be empty."""

    jumps: int
    looks_at_jobs: int
    stops: int
    requests_given_up: int
    wrong: tuple[str, ...]
    stopped_studio: Kills

    @property
    def well(self) -> bool:
        return not self.wrong and self.stopped_studio.well


def campaign(folder: Path, seed: int) -> Clocks:
    """Jumps of the clock in this process, then a studio of its own that is stopped."""
    chance, media = random.Random(seed), Media(folder / "media")
    jumps = _Jumps(folder / "jumps", chance)
    wrong = list(jumps.wrong())
    stopped = _Stopped(folder / "stopped", chance, media)
    wrong += stopped.wrong()
    return Clocks(
        jumps=jumps.jumps,
        looks_at_jobs=jumps.looks,
        stops=STOPS,
        requests_given_up=stopped.given_up,
        wrong=tuple(sorted(set(wrong))),
        stopped_studio=stopped.counted(),
    )


# Jumps


@contextmanager
def _clocks() -> Iterator[Callable[[float, float], None]]:
    """Gives what sets the wall clock, and the one that only goes forward, by so many seconds."""
    wall, steady = time.time, time.monotonic
    ahead = [0.0, 0.0]

    def jump(by: float, steadily: float) -> None:
        ahead[0] += by
        ahead[1] += steadily

    time.time, time.monotonic = lambda: wall() + ahead[0], lambda: steady() + ahead[1]
    try:
        yield jump
    finally:
        time.time, time.monotonic = wall, steady


class _Jumps:
    """A page whose clock jumps under a job that runs and two that wait."""

    def __init__(self, folder: Path, chance: random.Random) -> None:
        self._folder, self._chance = folder, chance
        self.jumps = self.looks = 0

    def wrong(self) -> Iterator[str]:
        with _clocks() as jump:
            server = Server(Home(self._folder / "home"))
            # It took Python's clock before that was changed.
            server.studio.table._now = lambda: time.time()
            limits = Limits(24 * 3600, 10**12, 0)
            self._retention = Retention(server.home, limits, lambda: time.time())
            try:
                with server.visitor() as client:
                    # So that the next one's end can be foretold.
                    info = client.get("/gradio_api/info").json()["named_endpoints"]["/photo"]
                    self._defaults = {
                        one["parameter_name"]: one["parameter_default"]
                        for one in info["parameters"]
                    }
                    self._settled(client, _ask(client, self._defaults, "the first"))
                    for number in range(JUMPS):
                        yield from self._round(server, client, jump, number)
            finally:
                server.stop()

    def _round(
        self,
        server: Server,
        client: httpx.Client,
        jump: Callable[[float, float], None],
        number: int,
    ) -> Iterator[str]:
        """Three jobs, of which the first runs until the clock has jumped."""
        hours = self._chance.choice(HOURS) * self._chance.choice((1, -1))
        # A machine that sleeps: on some systems both clocks go on.
        steadily = 3600 * hours if hours > 0 and number % 2 else 0.0
        where = f"{hours:+.0f} h" + (", both clocks" if steadily else "")
        jobs = [_ask(client, self._defaults, f"slow {number} {which}") for which in "abc"]
        _until(lambda: _look(client, jobs[0])["progress"] is not None)
        places = [_look(client, job)["position"] for job in jobs[1:]]
        kept = self._swept_home(server)
        jump(3600 * hours, steadily)
        self.jumps += 1
        self._retention.sweep()
        if not steadily and not all(path.is_file() for path in kept):
            yield f"{where}: a file of a moment ago was deleted"
        # The running job's next step comes within a moment.
        _until(lambda: steadily or _is_sane(_look(client, jobs[0])), 5.0)
        yield from self._look_over(client, jobs, where, steadily)
        if [_look(client, job)["position"] for job in jobs[1:]] != places:
            yield f"{where}: the queue's places have changed"
        server.work.go_on.set()
        for job in jobs:
            if self._settled(client, job) != "done":
                yield f"{where}: a job is {_look(client, job)['state']}"
        server.work.go_on.clear()
        yield from self._look_over(client, jobs, where, steadily)
        listed = [job["id"] for job in client.get("/jobs").json()["jobs"]][:3]
        made = [one["job"] for one in client.get("/gallery").json()["items"]][:3]
        if listed != jobs[::-1] or made != jobs[::-1]:
            yield f"{where}: the newest jobs are not the first"
        if not steadily:
            jump(-3600 * hours, 0.0)

    def _swept_home(self, server: Server) -> list[Path]:
        """A result and an upload, made just now."""
        kept = [server.home.outputs / "2025-01-31" / "new.png", server.home.inputs / "ab" / "new"]
        for path in kept:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(b"new")
            # The disk goes by the clock that did not jump.
            os.utime(path, (time.time(), time.time()))
        return kept

    def _look_over(
        self, client: httpx.Client, jobs: list[str], where: str, steadily: float
    ) -> Iterator[str]:
        for job in jobs:
            self.looks += 1
            view = _look(client, job)
            # Where the steady clock jumped too, those hours were the job's.
            if not steadily and not _is_sane(view):
                yield f"{where}: {view['state']} for {view['elapsed']} s, {view['left']}"

    def _settled(self, client: httpx.Client, job: str) -> str:
        _until(lambda: not _look(client, job)["live"])
        return str(_look(client, job)["state"])


def _is_sane(view: dict[str, Any]) -> bool:
    elapsed = view["elapsed"]
    return (elapsed is None or 0 <= elapsed < SANE_SECONDS) and " h" not in (view["left"] or "")


def _look(client: httpx.Client, job: str) -> dict[str, Any]:
    view: dict[str, Any] = client.get(f"/jobs/{job}").json()
    return view


def _ask(client: httpx.Client, defaults: dict[str, Any], prompt: str) -> str:
    data = list({**defaults, "prompt": prompt}.values())
    answer = client.post("/gradio_api/run/photo", json={"data": data})
    return str(answer.json()["data"][0])


def _until(happened: Callable[[], object], seconds: float = WAIT_SECONDS) -> None:
    begun = time.perf_counter()  # none of the clocks that jump
    while not happened() and time.perf_counter() < begun + seconds:
        time.sleep(0.02)


# Stops


class _Stopped:
    """A whole studio with jobs on demo weights, stopped and let go again under two pages."""

    def __init__(self, folder: Path, chance: random.Random, media: Media) -> None:
        self._home, self._chance, self._media = Home(folder / "home"), chance, media
        self._table = JobTable(self._home.database)
        self._jobs: list[str] = []
        self._over = threading.Event()
        self.given_up = 0

    def wrong(self) -> Iterator[str]:
        for number in range(JOBS):
            raw = raw_request("photo", self._media, seed=number, preset="fast")
            self._jobs.append(submit(self._table, self._home, OWNER, "photo", raw).id)
        port = free_port()
        command = [sys.executable, "app.py", "--home", str(self._home.root), "--port", str(port)]
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        pages = [threading.Thread(target=self._watch, args=(port, one)) for one in (True, False)]
        try:
            _until(lambda: self._answers(port))
            for page in pages:
                page.start()
            for _ in range(STOPS):
                time.sleep(self._chance.uniform(0.2, 2.0))
                os.kill(process.pid, signal.SIGSTOP)
                time.sleep(self._chance.uniform(0.5, LONGEST_STOP))
                os.kill(process.pid, signal.SIGCONT)
            _until(lambda: not self._table.has_work())
            if not self._answers(port):
                yield "stopped: the page does not answer any more"
            yield from self._ended(port)
        finally:
            self._over.set()
            for page in pages:
                page.join()
            process.kill()
            process.wait()

    def _answers(self, port: int) -> bool:
        try:
            return httpx.get(f"http://127.0.0.1:{port}/jobs", timeout=10).status_code == 200
        except httpx.TransportError:
            return False

    def _watch(self, port: int, streams: bool) -> None:
        """Asks for the jobs, or holds Gradio's stream of events, and begins anew when it breaks."""
        path = "/gradio_api/heartbeat/soak" if streams else "/jobs"
        while not self._over.is_set():
            try:
                with (
                    httpx.Client(timeout=PATIENCE, cookies={OWNER_COOKIE: OWNER}) as client,
                    client.stream("GET", f"http://127.0.0.1:{port}{path}") as answer,
                ):
                    for _ in answer.iter_raw():
                        if self._over.is_set():
                            break
            except httpx.TransportError:
                self.given_up += 1
            time.sleep(0.1)

    def _ended(self, port: int) -> Iterator[str]:
        for one in self._jobs:
            job = self._table.get(one)
            if job is None or job.state != "done" or not 0 <= (job.seconds or 0) < SANE_SECONDS:
                yield f"stopped: {job and (job.state, job.seconds, job.failure)}"
        raw = raw_request("photo", self._media, seed=99, preset="fast")
        try:
            self._jobs.append(submit(self._table, self._home, OWNER, "photo", raw).id)
        except StudioError as error:
            yield f"stopped: {error}"
        _until(lambda: not self._table.has_work())

    def counted(self) -> Kills:
        return counted(self._home, self._table, self._jobs, 0, [])
