"""Runs the campaigns and prints a Markdown table of each: `make soak`."""

import argparse
import sys
import tempfile
import time
from dataclasses import fields
from pathlib import Path

from soak import kills


def main() -> int:
    """Run the campaign that is named. Returns 1 where something was lost."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("campaign", nargs="?", default="kills", choices=("kills",))
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--lives", type=int, default=50)
    options = parser.parse_args()
    begun = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        found = kills.campaign(Path(folder), options.seed, options.lives)
    rows = [(field.name.replace("_", " "), getattr(found, field.name)) for field in fields(found)]
    lines = ["| | |", "|---|---|", *(f"| {name} | {value} |" for name, value in rows)]
    sys.stdout.write("\n".join(lines) + f"\n\n{time.monotonic() - begun:.0f} s\n")
    return int(any((found.lost, found.made_twice, found.broken_files, found.partial_files)))


if __name__ == "__main__":
    sys.exit(main())
