"""Runs the campaigns and prints a Markdown table of each: `make soak`."""

import argparse
import sys
import tempfile
import time
from dataclasses import fields
from pathlib import Path

from soak import clocks, disks, graphs, homes, kills, media, memory, queue, recipes, requests


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
        found = CAMPAIGNS[name](Path(folder), options)
    rows = [(field.name.replace("_", " "), getattr(found, field.name)) for field in fields(found)]
    lines = [f"| {name} | seed {options.seed} |", "|---|---|"]
    lines += [f"| {label} | {value} |" for label, value in rows]
    sys.stdout.write("\n".join(lines) + f"\n\n{time.monotonic() - begun:.0f} s\n\n")
    return found.well


def _kills(folder: Path, options: argparse.Namespace) -> kills.Kills:
    return kills.campaign(folder, options.seed, options.lives, options.engine)


def _queue(folder: Path, options: argparse.Namespace) -> queue.Queue:
    return queue.campaign(folder, options.seed)


def _media(folder: Path, options: argparse.Namespace) -> media.Media:
    return media.campaign(folder, options.seed, options.files)


def _requests(folder: Path, options: argparse.Namespace) -> requests.Requests:
    return requests.campaign(folder, options.seed, options.requests)


def _disks(folder: Path, options: argparse.Namespace) -> disks.Disks:
    return disks.campaign(folder, options.seed)


def _homes(folder: Path, options: argparse.Namespace) -> homes.Homes:
    return homes.campaign(folder, options.seed)


def _graphs(folder: Path, options: argparse.Namespace) -> graphs.Graphs:
    return graphs.campaign(folder, options.seed, options.files)


def _memory(folder: Path, options: argparse.Namespace) -> memory.Memory:
    return memory.campaign(folder, options.seed)


def _clocks(folder: Path, options: argparse.Namespace) -> clocks.Clocks:
    return clocks.campaign(folder, options.seed)


def _recipes(folder: Path, options: argparse.Namespace) -> recipes.Recipes:
    return recipes.campaign(folder, options.seed, options.files)


CAMPAIGNS = {
    "kills": _kills,
    "queue": _queue,
    "media": _media,
    "requests": _requests,
    "disks": _disks,
    "homes": _homes,
    "graphs": _graphs,
    "recipes": _recipes,
    "memory": _memory,
    "clocks": _clocks,
}


if __name__ == "__main__":
    sys.exit(main())
