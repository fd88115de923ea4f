"""Runs the campaigns and prints a Markdown table of each: `make soak`."""

import argparse
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

from soak import clocks, disks, graphs, homes, kills, media, memory, queue, recipes, requests

CAMPAIGNS: Mapping[str, tuple[Callable[..., Any], tuple[str, ...]]] = {
    "kills": (kills.campaign, ("lives", "engine")),
    "queue": (queue.campaign, ()),
    "media": (media.campaign, ("files",)),
    "requests": (requests.campaign, ("requests",)),
    "disks": (disks.campaign, ()),
    "homes": (homes.campaign, ()),
    "graphs": (graphs.campaign, ("files",)),
    "recipes": (recipes.campaign, ("files",)),
    "memory": (memory.campaign, ()),
    "clocks": (clocks.campaign, ()),
}
"""Each takes a folder, a seed and these options, and gives a dataclass of what it counted, with
`well` for whether nothing was lost."""


def main() -> int:
    """Run the campaign that is named. Returns 1 where something was lost."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("campaign", nargs="*", help=f"{' or '.join(CAMPAIGNS)}; all by default")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--lives", type=int, default=50, help="of the studio that is killed")
    parser.add_argument("--engine", choices=tuple(kills.SMALL), default="diffusers")
    parser.add_argument("--files", type=int, default=600, help="that are mutated")
    parser.add_argument("--requests", type=int, default=2000, help="at the page")
    options = parser.parse_args()
    chosen = options.campaign or list(CAMPAIGNS)
    return int(any([not _run(name, options) for name in chosen]))


def _run(name: str, options: argparse.Namespace) -> bool:
    begun = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        campaign, wanted = CAMPAIGNS[name]
        found = campaign(Path(folder), options.seed, *(getattr(options, one) for one in wanted))
    rows = [(field.name.replace("_", " "), getattr(found, field.name)) for field in fields(found)]
    lines = [f"| {name} | seed {options.seed} |", "|---|---|"]
    lines += [f"| {label} | {value} |" for label, value in rows]
    sys.stdout.write("\n".join(lines) + f"\n\n{time.monotonic() - begun:.0f} s\n\n")
    return found.well


if __name__ == "__main__":
    sys.exit(main())
