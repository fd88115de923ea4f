"""The contract between the studio and what makes the pictures, and the choice of an engine."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Protocol

from studio.errors import BadInput
from studio.events import Emit
from studio.modes import Mode
from studio.plan import Plan


class Engine(Protocol):
    """Makes one result from one plan. Weights stay warm between calls."""

    def run(self, plan: Plan, emit: Emit, scratch: Path) -> Path:
        """Make the plan's result and return it as a finished PNG or MP4 file inside `scratch`.

        `emit` is called at every stage of the plan and at least once a step; what it raises
        (`Cancelled`) passes through and leaves the engine usable. `scratch` is an existing folder
        of this item alone; latents saved there by an earlier try are decoded, not sampled again.

        Raises EngineFailed, OutOfMemory, MissingWeights or BadInput, and nothing else on purpose.
        """
        ...

    def release(self) -> None:
        """Give back the device's memory; the next run loads its weights again."""
        ...


def _diffusers() -> Engine:
    from studio.diffusers_engine import DiffusersEngine

    return DiffusersEngine()


ENGINES: Mapping[str, Callable[[], Engine]] = {"diffusers": _diffusers}
"""How each engine is made. Making one imports torch, so it happens off the request path."""


def choose_engine(mode: Mode, asked: str = "") -> str:
    """The engine that runs the mode. Raises BadInput for one that is unknown or cannot."""
    if asked and asked not in ENGINES:
        known = ", ".join(f"'{name}'" for name in ENGINES)
        raise BadInput(f"There is no engine called '{asked}': choose {known}.", "engine")
    if asked and asked not in mode.engines:
        raise BadInput(f"The engine '{asked}' cannot run the mode '{mode.id}'.", "engine")
    return asked or mode.engines[0]
