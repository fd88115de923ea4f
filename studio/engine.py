"""The contract between the studio and what makes the pictures, and the choice of an engine."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from studio.errors import BadInput
from studio.events import Emit, MemoryUsed
from studio.home import Home
from studio.modes import Mode
from studio.plan import Plan
from studio.weights import Weights, installed


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


@dataclass(frozen=True)
class EngineEntry:
    """How an engine is found and made. Making one imports torch: never on the request path."""

    label: str
    make: Callable[[Home], Engine]
    installed: Callable[[Home], bool]
    how_to_install: str
    """One sentence for whoever asks for an engine that is not there."""
    check: Callable[[Home, Plan], None] = lambda home, plan: None
    """Raises EngineFailed, before a job is queued, for what of a plan is seen to be impossible."""


def _diffusers(home: Home) -> Engine:
    from studio.diffusers_engine import DiffusersEngine

    return DiffusersEngine()


def _comfy(home: Home) -> Engine:
    from studio.comfy_engine import ComfyEngine

    return ComfyEngine(home)


def memory_used() -> MemoryUsed:
    """How full the engines' device is. Imports torch, as they do."""
    from studio.torch_machine import memory_used

    return memory_used()


def _check_graph(home: Home, plan: Plan) -> None:
    from studio.comfy_graphs import require_own_graph

    require_own_graph(home, plan)


def _has_comfyui(home: Home) -> bool:
    """Also false while an update is half done: the files of two releases are mixed then."""
    place = home.comfyui
    unfinished = place.with_name(f".{place.name}-unfinished")
    return (place / "execution.py").is_file() and not unfinished.exists()


ENGINES: Mapping[str, EngineEntry] = {
    "diffusers": EngineEntry(
        label="diffusers",
        make=_diffusers,
        installed=lambda home: True,
        how_to_install="Run 'pip install -r requirements.txt'.",
    ),
    "comfy": EngineEntry(
        label="ComfyUI",
        make=_comfy,
        installed=_has_comfyui,
        how_to_install="Run 'python -m studio comfy install'.",
        check=_check_graph,
    ),
}


def weights_for(home: Home, mode: Mode, engine: str = "") -> list[Weights]:
    """All weights that can run the mode here: real ones in the order of its engines, demo last.

    Raises BadInput for an engine that is unknown, not installed, or cannot run the mode.
    """
    engines = (_required(home, mode, engine),) if engine else mode.engines
    ready = [name for name in engines if ENGINES[name].installed(home)]
    found = [one for name in ready for one in installed(home, mode.family, name)]
    return sorted(found, key=lambda weights: weights.demo)


def weights_to_run(home: Home, mode: Mode, engine: str = "", label: str = "") -> Weights:
    """What will run the mode: the first real weights in the order of its engines, else the demo.

    Raises BadInput for an engine or a label that is unknown or cannot run the mode here.
    """
    found = weights_for(home, mode, engine)
    chosen = [weights for weights in found if weights.label == label] if label else found
    if chosen:
        return chosen[0]
    if not found:
        raise BadInput(
            f"There are no weights for the engine '{engine}' and the mode '{mode.id}' here:"
            " 'python -m studio doctor' says what is missing.",
            "engine",
        )
    known = ", ".join(f"'{weights.label}'" for weights in found)
    raise BadInput(f"There are no weights called '{label}' here: choose {known}.", "weights")


def engine_to_fetch(home: Home, mode: Mode, engine: str = "") -> str:
    """The engine whose models a mode would use: the named one, else the first that is installed.

    Raises BadInput for one that is unknown or cannot run the mode.
    """
    if engine:
        return _able(mode, engine)
    return next(name for name in mode.engines if ENGINES[name].installed(home))


def _required(home: Home, mode: Mode, engine: str) -> str:
    if not ENGINES[_able(mode, engine)].installed(home):
        raise BadInput(
            f"The engine '{engine}' is not installed. {ENGINES[engine].how_to_install}", "engine"
        )
    return engine


def _able(mode: Mode, engine: str) -> str:
    if engine not in ENGINES:
        known = ", ".join(f"'{name}'" for name in ENGINES)
        raise BadInput(f"There is no engine called '{engine}': choose {known}.", "engine")
    if engine not in mode.engines:
        raise BadInput(f"The engine '{engine}' cannot run the mode '{mode.id}'.", "engine")
    return engine
