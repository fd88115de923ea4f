"""What this machine has, what runs on it and what is missing, in sentences."""

import importlib.metadata
import os
import platform
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass

from studio import __version__
from studio.doctor_faults import Mended, find_faults
from studio.engine import ENGINES
from studio.errors import StudioError
from studio.families import FAMILIES
from studio.fitting import Machine
from studio.home import Home
from studio.machine_watch import read_here
from studio.modes import MODES
from studio.outputs import free_bytes
from studio.packages import BY_HAND
from studio.preflight import preflight
from studio.preflight_machine import Line, first_look, lines_for_owner
from studio.preflight_summary import preflight_sentence
from studio.weights import installed

LOW_DISK = 5 * 1000**3
"""Bytes; a few long clips and their latents fill less."""

_PACKAGES = ("torch", "diffusers", "transformers", "peft", "av", "pillow", "gradio")


@dataclass(frozen=True)
class Check:
    """One thing looked at. `ok` is None for what is only said."""

    name: str
    ok: bool | None
    sentence: str


@dataclass(frozen=True)
class Report:
    """What the machine is and runs, in a few lines; then every check."""

    summary: tuple[Line, ...]
    checks: tuple[Check, ...]

    @property
    def healthy(self) -> bool:
        return all(check.ok is not False for check in self.checks)

    def as_json(self) -> dict[str, object]:
        """The summary, the checks by name, and whether all is well."""
        return {
            "studio": __version__,
            "healthy": self.healthy,
            "summary": [asdict(line) for line in self.summary],
            "checks": [asdict(check) for check in self.checks],
        }

    def as_text(self) -> str:
        """The summary, an empty line, and one line a check."""
        marks = {True: "ok  ", False: "BAD ", None: "    "}
        checks = [f"{marks[check.ok]} {check.name}: {check.sentence}" for check in self.checks]
        return "\n".join([*map(str, self.summary), "", *checks])


def examine(home: Home) -> Report:
    """Look at Python, the packages, the device, the home folder, the weights and the modes.

    What `doctor_faults` knows to be wrong is told, and left as it is.
    """
    machine = read_here()
    return Report(
        tuple(_summary(home, machine)),
        tuple(
            check
            for looks in (
                _python,
                _packages,
                _video,
                _device,
                lambda: _home(home),
                lambda: _engines(home),
                lambda: _weights(home),
                lambda: _modes(home, machine),
                lambda: _faults(home),
            )
            for check in looks()
        ),
    )


def mended_as_text(mended: Sequence[Mended]) -> str:
    """One line for each fault that was there."""
    lines = [f"{'mended' if one.mended else 'LEFT  '} {one.name}: {one.sentence}" for one in mended]
    return "\n".join(lines or ["Nothing was to be mended."])


def _summary(home: Home, machine: Machine | None) -> Iterator[Line]:
    try:
        yield from lines_for_owner(first_look(home, "", machine))
    # The checks say it too: of the disk, or of a file that names folders of models.
    except StudioError as error:
        yield Line("This machine", str(error))


def _python() -> Iterator[Check]:
    version = platform.python_version()
    # diffusers 0.42, the first with LTX-2.3, asks for 3.11.
    ok = sys.version_info >= (3, 11)
    yield Check("python", ok, version if ok else f"{version} is too old: install 3.11 to 3.13.")


def _packages() -> Iterator[Check]:
    for name in _PACKAGES:
        try:
            yield Check(name, True, importlib.metadata.version(name))
        except importlib.metadata.PackageNotFoundError:
            yield Check(name, False, f"is not installed: run '{BY_HAND}'.")


def _video() -> Iterator[Check]:
    try:
        import av
    except ImportError as error:
        yield Check("video", False, f"PyAV does not load: {error}")
        return
    missing = [codec for codec in ("libx264", "aac") if codec not in av.codecs_available]
    sentence = f"PyAV lacks {' and '.join(missing)}." if missing else "H.264 and AAC are there."
    yield Check("video", not missing, sentence)


def _device() -> Iterator[Check]:
    try:
        import torch
    except (ImportError, OSError) as error:
        yield Check("device", False, f"PyTorch does not load: {error}")
        return
    if torch.cuda.is_available():
        free, total = torch.cuda.mem_get_info()
        name = torch.cuda.get_device_name()
        yield Check("device", True, f"{name}, {free / 1e9:.0f} of {total / 1e9:.0f} GB free.")
    elif torch.backends.mps.is_available():
        yield Check("device", True, "Apple GPU.")
    else:
        cores = os.cpu_count() or 1
        yield Check("device", None, f"No GPU: {cores} CPU cores, enough for the demo weights.")


def _home(home: Home) -> Iterator[Check]:
    try:
        free = free_bytes(home)
    except StudioError as error:
        yield Check("home", False, str(error))
        return
    existing = next(place for place in (home.root, *home.root.parents) if place.exists())
    writable = os.access(existing, os.W_OK)
    yield Check("home", writable, str(home.root) if writable else f"{existing} is read-only.")
    yield Check("disk", free > LOW_DISK, f"{free / 1e9:.1f} GB free.")


def _engines(home: Home) -> Iterator[Check]:
    for name, entry in ENGINES.items():
        sentence = "is installed." if entry.installed(home) else entry.how_to_install
        yield Check(f"engine {name}", None, sentence)


def _weights(home: Home) -> Iterator[Check]:
    for family in FAMILIES.values():
        found_by = (installed(home, family.id, engine) for engine in ENGINES)
        real = [weights.label for found in found_by for weights in found if not weights.demo]
        found = ", ".join(real) if real else "demo weights only."
        yield Check(f"weights {family.label}", None, found)


def _faults(home: Home) -> Iterator[Check]:
    for fault in find_faults(home):
        how = " 'python -m studio doctor --fix' mends it." if fault.mend else ""
        yield Check(fault.name, None if fault.harmless else False, f"{fault.sentence}{how}")


def _modes(home: Home, machine: Machine | None) -> Iterator[Check]:
    """What each mode would run with, what it would fetch, and how that fits the memory."""
    for mode in MODES.values():
        try:
            sentence = preflight_sentence(preflight(home, mode, {}, machine))
            yield Check(f"mode {mode.id}", None, sentence)
        except StudioError as error:
            yield Check(f"mode {mode.id}", False, str(error))
