"""Times eight demo jobs on one worker of Ray and on two.

Run as `python -m bench.ray_workers [MODE [ROUNDS]]`. Each worker has made a job before the clock
starts: the imports and the demo weights are no part of it. Rounds take turns in who goes first.
"""

import os
import statistics
import sys
import tempfile
import time
from pathlib import Path

# One worker must not take the processors of two.
os.environ["OMP_NUM_THREADS"] = "1"

from studio.home import Home
from studio.host_ray import ray_workers
from studio.jobs import Job
from studio.remote_work import RemoteWork
from studio.studio import Studio, open_studio, running

MODE = sys.argv[1] if len(sys.argv) > 1 else "t2v"
ROUNDS = int(sys.argv[2]) if len(sys.argv) > 2 else 3
JOBS = 8


def main() -> int:
    """Print a Markdown table: the seconds of each round, their medians and the ratio."""
    times: dict[int, list[float]] = {1: [], 2: []}
    with tempfile.TemporaryDirectory(prefix="aio-bench-") as folder:
        home = Home(Path(folder) / "home")
        for number in range(ROUNDS):
            for count in (1, 2) if number % 2 else (2, 1):
                times[count].append(_seconds(home, count))
    lines = [
        f"Eight {MODE} jobs, load {os.getloadavg()[1]:.1f} over the last five minutes.",
        "",
        "| workers | rounds (s) | median (s) |",
        "|---|---|---|",
    ]
    for count, found in times.items():
        rounds = ", ".join(f"{one:.2f}" for one in found)
        lines.append(f"| {count} | {rounds} | {statistics.median(found):.2f} |")
    ratio = statistics.median(times[2]) / statistics.median(times[1])
    sys.stdout.write("\n".join(lines) + f"\n\nRatio: {ratio:.2f}\n")
    return 0


def _seconds(home: Home, count: int) -> float:
    """From the first job in the queue to the last one's file, with `count` workers."""
    with ray_workers(home, count) as workers:
        studio = open_studio(home, RemoteWork(home, workers), count)
        with running(studio):
            # As many at a time as there are workers, twice: each has made one then.
            for _ in range(2):
                _wait(studio, [_submit(studio, seed) for seed in range(count)])
            begun = time.monotonic()
            _wait(studio, [_submit(studio, seed) for seed in range(JOBS)])
            return time.monotonic() - begun


def _submit(studio: Studio, seed: int) -> Job:
    return studio.submit("bench", MODE, {"prompt": "waves at night", "seed": seed})


def _wait(studio: Studio, jobs: list[Job]) -> None:
    for job in jobs:
        while (now := studio.table.get(job.id)) is not None and now.is_live:
            time.sleep(0.02)
        if now is None or now.state != "done":
            sys.exit(f"{MODE} ended as {now and now.state}: {now and now.failure}")


if __name__ == "__main__":
    sys.exit(main())
