"""Faults of what is installed: the studio's Python packages, and its ComfyUI."""

from collections.abc import Iterator
from functools import partial

from studio.comfy_clone import is_half_made
from studio.comfy_install import install, missing_requirements, status
from studio.comfy_pins import GITHUB, PINS, Pins
from studio.doctor_fault import Fault
from studio.home import Home
from studio.packages import (
    REQUIREMENTS,
    Pip,
    Say,
    install_packages,
    lines_of,
    require_own_environment,
    run_pip,
)


def package_faults(_home: Home) -> Iterator[Fault]:
    """Packages of `requirements.txt` that are not here, or too old."""
    missing = missing_requirements(lines_of(REQUIREMENTS))
    if missing:
        sentence = f"Missing or too old: {', '.join(missing)}."
        yield Fault("packages", sentence, partial(_install_packages, missing))


def comfy_faults(
    home: Home, pins: Pins = PINS, base_url: str = GITHUB, pip: Pip = run_pip
) -> Iterator[Fault]:
    """A ComfyUI, or a pack, whose installation was killed, and requirements that are missing.

    Raises EngineFailed where git is missing. One that nobody wanted is no fault.
    """
    killed = is_half_made(home.comfyui)
    if not home.comfyui.exists() and not killed:
        return
    found = status(home, pins=pins)
    packs = [part.name for part in found.packs if part.state == "unfinished"]
    unfinished = not found.yours and (killed or found.comfyui.state == "unfinished")

    def finish(say: Say) -> str:
        require_own_environment()
        folder = install(home, packs, say=say, pins=pins, base_url=base_url, pip=pip)
        return f"Finished the installation of ComfyUI in {folder}."

    if unfinished or packs:
        names = ", ".join([*(["ComfyUI"] if unfinished else []), *packs])
        yield Fault("ComfyUI", f"The installation of {names} was cut short.", finish)
    elif found.missing:
        yield Fault("ComfyUI", f"ComfyUI lacks {', '.join(found.missing)}.", finish)


def _install_packages(missing: list[str], say: Say) -> str:
    install_packages(say)
    return f"Installed {', '.join(missing)}."
