"""Twenty pages that watch one job: what they cost the server, and how soon a click is answered.

Run as `python -m bench.watchers [PAGES [SECONDS]]`. Each page asks as its script does: for the job
twice a second, for the list every other second. The server is a process of its own, whose job
waits instead of computing. A click is Generate: it checks a form's values and queues a job.
"""

import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path

import httpx
import psutil

from bench.pairs import percentile, table

PAGES = int(sys.argv[1]) if len(sys.argv) > 1 else 20
SECONDS = float(sys.argv[2]) if len(sys.argv) > 2 else 20.0
PAUSE = 0.5
"""Of the page's script, while the job that it shows runs."""
LIST_EVERY = 4
"""Looks at the job for one at the list."""

SERVER = """
import sys
from pathlib import Path
from page_server import Server
from studio.home import Home
server = Server(Home(Path(sys.argv[1])))
print(server.url, flush=True)
sys.stdin.readline()
"""


def main() -> int:
    """Print a Markdown table: nobody there, one page, all of them."""
    with tempfile.TemporaryDirectory() as folder:
        process = psutil.Popen(
            [sys.executable, "-c", SERVER, str(Path(folder) / "home")],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        try:
            rows = _watched(process, process.stdout.readline().strip())
        finally:
            process.kill()
            process.wait()
    head = [
        "pages",
        "server (% of a core)",
        "answers a second",
        "CPU time an answer (ms)",
        "job p50 (ms)",
        "job p99 (ms)",
        "CPU time a click (ms)",
        "click p50 (ms)",
        "click p99 (ms)",
    ]
    sys.stdout.write(f"{table(head, rows)}\n")
    return 0


def _watched(process: psutil.Process, url: str) -> list[list[object]]:
    with httpx.Client(base_url=url, timeout=60) as client:
        client.get("/").raise_for_status()
        values = _defaults(client)
        job = _generate(client, {**values, "prompt": "slow"})
        while client.get(f"/jobs/{job}").json()["state"] != "running":
            time.sleep(PAUSE / 10)
        return [_row(process, client, values, job, pages) for pages in (0, 1, PAGES)]


def _row(
    process: psutil.Process, client: httpx.Client, values: dict[str, object], job: str, pages: int
) -> list[object]:
    ended = threading.Event()
    looks: list[float] = []
    clicks: list[float] = []
    watch = (client, job, ended, looks)
    threads = [threading.Thread(target=_look, args=watch) for _ in range(pages)]
    begun, before = time.monotonic(), _used(process)
    for thread in threads:
        # Pages are not opened at one moment.
        thread.start()
        ended.wait(PAUSE / pages)
    ended.wait(SECONDS / 2)
    used, took, seen = _used(process) - before, time.monotonic() - begun, len(looks)
    end = time.monotonic() + SECONDS / 2
    while time.monotonic() < end:
        clicks.append(_timed(lambda: _generate(client, {**values, "prompt": "a click"})))
        time.sleep(PAUSE / 5)
    ended.set()
    for thread in threads:
        thread.join()
    # What the clicks cost beside the pages' questions.
    an_answer = used / seen if seen else 0.0
    clicked = _used(process) - before - used - an_answer * (len(looks) - seen)
    return [
        pages,
        f"{100 * used / took:.0f}",
        f"{seen / took:.0f}",
        1000 * an_answer,
        *_spread(looks),
        1000 * clicked / len(clicks),
        *_spread(clicks),
    ]


def _spread(seconds: list[float]) -> list[object]:
    return [1000 * percentile(seconds, share) for share in (0.5, 0.99)] if seconds else ["", ""]


def _look(client: httpx.Client, job: str, ended: threading.Event, looks: list[float]) -> None:
    """What a page's script does as long as it is open."""
    with httpx.Client(base_url=client.base_url, cookies=client.cookies, timeout=60) as page:
        while not ended.wait(PAUSE):
            if len(looks) % LIST_EVERY == 0:
                page.get("/jobs").raise_for_status()
            looks.append(_timed(lambda: page.get(f"/jobs/{job}").raise_for_status()))


def _generate(client: httpx.Client, values: dict[str, object]) -> str:
    answer = client.post("/gradio_api/run/photo", json={"data": list(values.values())})
    return str(answer.raise_for_status().json()["data"][0])


def _defaults(client: httpx.Client) -> dict[str, object]:
    """The endpoint's parameters with their defaults, in order."""
    endpoint = client.get("/gradio_api/info").json()["named_endpoints"]["/photo"]
    return {one["parameter_name"]: one["parameter_default"] for one in endpoint["parameters"]}


def _timed(ask: Callable[[], object]) -> float:
    begun = time.monotonic()
    ask()
    return time.monotonic() - begun


def _used(process: psutil.Process) -> float:
    used = process.cpu_times()
    return float(used.user + used.system)


if __name__ == "__main__":
    sys.exit(main())
