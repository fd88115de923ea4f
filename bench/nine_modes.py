"""Times the nine modes with demo weights in one process: `python -m bench modes`.

Prints a Markdown table of seconds and the process's peak memory, for docs/benchmarks.md.
"""

import argparse
import platform
import resource
import sys
import tempfile
import time
from pathlib import Path

from requests_of_modes import Media, raw_request

from studio.home import Home
from studio.modes import MODES
from studio.studio import Studio, open_studio


def main() -> int:
    """Run every mode twice, the second time with another seed, and print what each took."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--preset", default="balanced", choices=("fast", "balanced", "quality"))
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        media = Media(Path(folder) / "media")
        studio = open_studio(Home(Path(folder) / "home"))
        begun = time.monotonic()
        rows = [_row(studio, media, mode_id, options.preset) for mode_id in MODES]
        whole = time.monotonic() - begun
    _report(rows, whole)
    return 0


def _row(studio: Studio, media: Media, mode_id: str, preset: str) -> tuple[str, float, float]:
    times = [_seconds(studio, media, mode_id, preset, seed) for seed in (1, 2)]
    return mode_id, times[0], times[1]


def _seconds(studio: Studio, media: Media, mode_id: str, preset: str, seed: int) -> float:
    raw = raw_request(mode_id, media, preset=preset, seed=seed)
    begun = time.monotonic()
    job = studio.runner.run_one(studio.submit("bench", mode_id, raw).id)
    if job.state != "done":
        sys.exit(f"{mode_id} ended as {job.state}: {job.failure}")
    return time.monotonic() - begun


def _report(rows: list[tuple[str, float, float]], whole: float) -> None:
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    lines = [
        f"{platform.platform()}, Python {platform.python_version()}",
        "",
        "| mode | first job (s) | new seed (s) |",
        "|---|---|---|",
        *(f"| {mode} | {first:.2f} | {again:.2f} |" for mode, first, again in rows),
        "",
        f"First jobs: {sum(first for _, first, _ in rows):.1f} s. All eighteen: {whole:.1f} s."
        f" Peak memory: {peak:.0f} MB.",
    ]
    sys.stdout.write("\n".join(lines) + "\n")


if __name__ == "__main__":
    sys.exit(main())
