"""What this machine is, what runs on it now, and what is worth fetching.

The page's welcome and the doctor say the same sentences.
"""

import os
from collections.abc import Iterable
from dataclasses import dataclass

from studio.families import FAMILIES, Family
from studio.fitting import Machine
from studio.home import Home
from studio.modes import MODES, Mode
from studio.preflight import Preflight, has_room, preflight
from studio.preflight_summary import gigabytes
from studio.weights_hub import GIGABYTE


@dataclass(frozen=True)
class Line:
    """One short line: what it is about, and what it says."""

    about: str
    says: str

    def __str__(self) -> str:
        return f"{self.about}: {self.says}"


@dataclass(frozen=True)
class FirstLook:
    """A machine, and a preflight of every family's first mode with its defaults."""

    machine: Machine | None
    """None while its memory is not known, and where it cannot be."""
    found: tuple[Preflight, ...]

    @property
    def offers(self) -> tuple[Preflight, ...]:
        """Those with something to fetch."""
        return tuple(one for one in self.found if one.variant and one.missing)


def first_look(home: Home, engine: str = "", machine: Machine | None = None) -> FirstLook:
    """Looks at every family. `engine` is forced for the modes that it can run.

    Raises FetchFailed where the disk of the Hub's cache cannot be used.
    """
    return FirstLook(
        machine,
        tuple(preflight(home, _first_mode(one), {}, machine, engine) for one in FAMILIES.values()),
    )


def lines_for_owner(look: FirstLook) -> tuple[Line, ...]:
    """At most four lines for whoever may fetch and be told of the machine."""
    return tuple(
        Line(about, says)
        for about, says in (
            ("This machine", f"{machine_sentence(look.machine)}."),
            ("Runs now", f"{_runs(look)}."),
            ("Worth fetching", f"{_worth(look)}."),
            ("Too large here", _too_large(look)),
        )
        if says
    )


def lines_for_strangers(look: FirstLook) -> tuple[Line, ...]:
    """One line, which tells nothing of the machine."""
    return (Line("Runs now", f"{_runs(look)}."),)


def machine_sentence(machine: Machine | None) -> str:
    """What the device has, as it was when it was looked at; the cores where it has no GPU."""
    cores = f"{os.cpu_count() or 1} CPU cores"
    if machine is None:
        return f"{cores}, memory not known"
    ram = f"{machine.ram_total / GIGABYTE:.0f} GB of RAM"
    if machine.device == "cuda":
        total, free = (one / GIGABYTE for one in (machine.vram_total, machine.vram_free))
        gpu = machine.gpu or "GPU"
        return f"{gpu}, {total:.0f} GB of VRAM ({free:.0f} free at the start), {ram}"
    return f"Apple GPU, {ram}" if machine.device == "mps" else f"No GPU, {cores}, {ram}"


def _first_mode(family: Family) -> Mode:
    return next(mode for mode in MODES.values() if mode.family == family.id)


def _runs(look: FirstLook) -> str:
    real = [one.weights.label for one in look.found if not one.weights.demo]
    if not real:
        return "every mode, on demo weights"
    demo = [FAMILIES[one.mode.family].label for one in look.found if one.weights.demo]
    rest = f"; demo weights for {' and '.join(demo)}" if demo else ""
    return f"{', '.join(real)}{rest}"


def _worth(look: FirstLook) -> str:
    fitting = [one for one in look.offers if one.has_room and not _lacks_memory(one)]
    if not look.offers:
        return "nothing, all of it is here"
    if not fitting:
        return "nothing, as it is too large for this machine"
    named = _named(fitting)
    if not has_room(sum(one.gigabytes_missing for one in fitting), fitting[0].free_gigabytes):
        named = f"{named}; the disk has no room for all of them"
    if look.machine is None:
        return f"{named}. Whether they fit the memory is not known"
    if look.machine.device == "cpu":
        return f"little without a GPU; these fit, and run slowly: {named}"
    return named


def _too_large(look: FirstLook) -> str:
    memory = [one for one in look.offers if _lacks_memory(one)]
    disk = [one for one in look.offers if not one.has_room and one not in memory]
    return " ".join(
        f"{_named(offers)}: not enough {what}."
        for offers, what in ((memory, "memory"), (disk, "disk"))
        if offers
    )


def _lacks_memory(offer: Preflight) -> bool:
    return offer.memory is not None and not offer.memory.enough


def _named(offers: Iterable[Preflight]) -> str:
    return ", ".join(
        f"{FAMILIES[one.mode.family].label} ({gigabytes(one.gigabytes_missing)})" for one in offers
    )
