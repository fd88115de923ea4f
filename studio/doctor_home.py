"""Faults of a home folder: itself, its job table, its demo weights, links that lead nowhere."""

import os
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from studio import disk, jobs_mend
from studio.doctor_fault import Fault
from studio.errors import EngineFailed
from studio.families import FAMILIES
from studio.home import Home
from studio.packages import Say
from studio.weights_demo import ensure_demo, is_whole

CACHED = "models--"
"""How a model's folder in the Hub's cache begins."""


def folder_faults(home: Home) -> Iterator[Fault]:
    """A home that is not there yet."""
    if not home.root.exists():
        yield Fault(
            "home folder",
            f"{home.root} does not exist; the studio makes it when it is first used.",
            partial(_make_folder, home.root),
            harmless=True,
        )


def table_faults(home: Home) -> Iterator[Fault]:
    """A job table that cannot be read. Raises StudioError for one that is only kept busy."""
    if jobs_mend.is_damaged(home.database):
        sentence = f"The job table {home.database} is damaged."
        yield Fault("job table", sentence, lambda _say: jobs_mend.set_aside(home))


def demo_faults(home: Home) -> Iterator[Fault]:
    """Demo weights with a file that is missing or cut short, or of another version."""
    for family in FAMILIES.values():
        folder = home.demo / family.id
        if folder.exists() and not is_whole(folder):
            yield Fault(
                f"demo weights {family.label}",
                f"{folder} is not whole; it is built again when it is next used.",
                partial(_build_demo, home, family.id),
                harmless=True,
            )


def link_faults(home: Home) -> Iterator[Fault]:
    """Links below `models` that lead nowhere."""
    lost = list(_lost_links(home.models))
    cached = [link for link in lost if CACHED in str(link.readlink())]
    if cached:
        count = "1 link" if len(cached) == 1 else f"{len(cached)} links"
        yield Fault(
            "models",
            f"{count} into the Hub's cache lead nowhere, as {_named(home, cached[0])}: the file is"
            " no longer there.",
            partial(_unlink, cached),
            harmless=True,
        )
    for link in lost:
        if link not in cached:
            yield Fault(
                "models",
                f"{_named(home, link)} is a link to {link.readlink()}, where nothing is: connect"
                " that disk, or remove the link.",
                harmless=True,
            )


def _make_folder(root: Path, _say: Say) -> str:
    with disk.disk_errors(root, EngineFailed):
        root.mkdir(parents=True)
    return f"Made the home folder {root}."


def _build_demo(home: Home, family: str, say: Say) -> str:
    say(f"Building the demo weights of {FAMILIES[family].label} …")
    return f"Built {ensure_demo(home, family)} again."


def _unlink(links: list[Path], _say: Say) -> str:
    for link in links:
        with disk.disk_errors(link.parent, EngineFailed):
            link.unlink()
    names = ", ".join(link.name for link in links)
    return f"Removed links that led nowhere: {names}. 'python -m studio fetch' brings the files."


def _lost_links(models: Path) -> Iterator[Path]:
    for place, folders, names in os.walk(models):
        for path in (Path(place, name) for name in sorted((*folders, *names))):
            if path.is_symlink() and not path.exists():
                yield path


def _named(home: Home, link: Path) -> str:
    return link.relative_to(home.root).as_posix()
