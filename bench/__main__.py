"""Runs the benches and prints a Markdown table of each: `make bench`, or `python -m bench NAME`."""

import argparse
import os
import subprocess
import sys

import comfy_here

from bench.pairs import machine

BENCHES = {
    "start": "bench.start",
    "modes": "bench.nine_modes",
    "bare": "bench.bare_diffusers",
    "comfy": "bench.comfy_overhead",
    "again": "bench.again",
    "watchers": "bench.watchers",
    "history": "bench.history",
    "media": "bench.media",
    "downloads": "bench.downloads",
    "growth": "bench.growth",
    "ray": "bench.ray_workers",
}
"""Each in a process of its own: what one has loaded must not help or burden the next."""


def main() -> int:
    """Run the benches that are named. Returns 1 where one has failed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("bench", nargs="*", help=f"{', '.join(BENCHES)}; all by default")
    chosen = parser.parse_args().bench or list(BENCHES)
    unknown = [name for name in chosen if name not in BENCHES]
    if unknown:
        parser.error(f"there is no bench called {unknown[0]!r}: choose {', '.join(BENCHES)}")
    return int(any([_run(name) for name in chosen]))


def _run(name: str) -> int:
    sys.stdout.write(f"## {name}\n{machine()}\n\n")
    sys.stdout.flush()
    # The homes are new and empty: ComfyUI is the user's own, if there is one.
    known = {"AIO_COMFYUI": str(comfy_here.PLACE), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-W", "ignore", "-m", BENCHES[name]]
    status = subprocess.run(command, env={**known, **os.environ}).returncode
    sys.stdout.write("\n")
    return status


if __name__ == "__main__":
    sys.exit(main())
