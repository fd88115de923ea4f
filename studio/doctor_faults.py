"""What is wrong in a home or with what is installed, each fault with what mends it."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from studio.doctor_fault import Fault
from studio.doctor_home import demo_faults, folder_faults, link_faults, table_faults
from studio.doctor_installed import comfy_faults, package_faults
from studio.doctor_leftovers import leftover_faults
from studio.errors import StudioError
from studio.home import Home
from studio.packages import Say

LOOKS: tuple[Callable[[Home], Iterator[Fault]], ...] = (
    package_faults,
    folder_faults,
    table_faults,
    demo_faults,
    comfy_faults,
    link_faults,
    leftover_faults,
)
"""In the order in which they are mended: what comes later may need what comes first."""


@dataclass(frozen=True)
class Mended:
    """What became of a fault."""

    name: str
    mended: bool
    sentence: str
    """What was done, or what is to be done by hand."""


def find_faults(home: Home) -> Iterator[Fault]:
    """Everything that is wrong now; changes nothing."""
    for look in LOOKS:
        yield from _found(look, home)


def mend(home: Home, say: Say) -> Iterator[Mended]:
    """Mends what can be mended safely, and tells of each fault what became of it."""
    for look in LOOKS:
        for fault in tuple(_found(look, home)):
            yield _mended(fault, say)


def _found(look: Callable[[Home], Iterator[Fault]], home: Home) -> Iterator[Fault]:
    try:
        yield from look(home)
    except StudioError as error:
        yield Fault(look.__name__.partition("_")[0], str(error))


def _mended(fault: Fault, say: Say) -> Mended:
    if fault.mend is None:
        return Mended(fault.name, False, fault.sentence)
    try:
        return Mended(fault.name, True, fault.mend(say))
    except StudioError as error:
        return Mended(fault.name, False, str(error))
