"""The engine that runs every mode with pipelines of diffusers, inside this process."""

import os
from pathlib import Path
from pkgutil import resolve_name
from typing import TYPE_CHECKING, Protocol

from safetensors import SafetensorError

from studio.diffusers_attention import Attention
from studio.diffusers_ladder import Ladder
from studio.diffusers_setup import prepare_libraries
from studio.errors import MissingWeights
from studio.events import Emit, Event, StageStarted
from studio.families import FAMILIES
from studio.fitting import Rung
from studio.home import Home
from studio.modes import Stage
from studio.plan import Plan
from studio.progress import Progress
from studio.torch_device import Device, best_device, engine_errors, is_out_of_memory, release_memory
from studio.weights import Weights
from studio.weights_demo import ensure_demo

if TYPE_CHECKING:
    # It imports diffusers, which `prepare_libraries` goes before.
    from studio.diffusers_memory import Placement


class FamilyRunner(Protocol):
    """One family's weights, loaded and ready to make results."""

    placement: "Placement"

    def __init__(self, weights: Weights, device: Device) -> None:
        """Load the weights into main memory. Raises MissingWeights where files are not there."""
        ...

    def make(self, plan: Plan, progress: Progress, scratch: Path) -> Path:
        """Run the plan's stages after `load`; the finished PNG or MP4 lies in `scratch`."""
        ...


def import_runners() -> None:
    """Imports what the first job of every process needs, ahead of it: a snapshot of the memory
    keeps that, and so does a fork.

    No GPU is looked at: there may be none yet, and PyTorch would go on to believe so.
    """
    prepare_libraries()
    for family in FAMILIES.values():
        resolve_name(family.runner)


class DiffusersEngine:
    """Holds at most one family's weights, warm between jobs; see `studio.engine.Engine`.

    AIO_MEMORY and AIO_ATTENTION are read once. Raises BadInput for a value that they cannot have.
    """

    def __init__(self) -> None:
        prepare_libraries()
        self._device = best_device()
        self._ladder = Ladder(self._device, os.environ.get("AIO_MEMORY", ""))
        self._attention = Attention(os.environ.get("AIO_ATTENTION", ""))
        self._warm: tuple[tuple[str, Path], FamilyRunner] | None = None

    def run(self, plan: Plan, emit: Emit, scratch: Path) -> Path:
        """Make the plan's result inside `scratch`; events and errors as `Engine.run` says."""
        stage: Stage | None = None

        def report(event: Event) -> None:
            nonlocal stage
            if isinstance(event, StageStarted):
                stage = plan.stages[event.index]
            emit(event)

        progress = Progress(plan, report)
        with engine_errors(lambda: stage.label if stage else None):
            progress.start("load")
            rung = self._ladder.choose(plan, self._held(plan.weights))
            try:
                return self._make(plan, rung, progress, scratch)
            except Exception as error:
                again = self._way_out(error, plan, rung, stage)
                if again is None:
                    raise
            # Only here, behind the handler, has the failed try let go of its tensors.
            release_memory()
            progress.start("load")
            return self._make(plan, again, progress, scratch)

    def release(self) -> None:
        """Forget the weights and give their memory back."""
        self._ladder.forget()
        self._let_go()

    def _let_go(self) -> None:
        self._warm = None
        release_memory()

    def _make(self, plan: Plan, rung: Rung, progress: Progress, scratch: Path) -> Path:
        runner = self._runner(plan.weights, rung)
        runner.placement.fit(rung)
        note = self._ladder.note(plan, rung)
        if note:
            progress.note(note)
        try:
            return runner.make(plan, progress, scratch)
        except Exception as error:
            if rung.moves == "blocks" and is_out_of_memory(error):
                # The order in which blocks are fetched ahead may be half learnt.
                self._let_go()
            raise

    def _way_out(
        self, error: Exception, plan: Plan, rung: Rung, stage: Stage | None
    ) -> Rung | None:
        """The rung for a second try, where there is a reason for one.

        Decoding has a second try of its own.
        """
        if stage is not None and stage.id in ("decode", "save"):
            return None
        if is_out_of_memory(error):
            return self._ladder.down(plan, rung)
        if self._warm is not None:
            denoiser = self._warm[1].placement.denoiser
            return rung if self._attention.retreat(denoiser, error) else None
        return None

    def _held(self, weights: Weights) -> Rung | None:
        """The rung that these weights are warm on."""
        if self._warm is None or self._warm[0] != _key(weights):
            return None
        return self._warm[1].placement.rung

    def _runner(self, weights: Weights, rung: Rung) -> FamilyRunner:
        if self._warm is not None and self._warm[0] == _key(weights):
            if self._warm[1].placement.reaches(rung):
                return self._warm[1]
        # First, so that the old weights and the new ones are never in memory together.
        self._let_go()
        runner = _load(weights, self._device)
        self._attention.apply(runner.placement.denoiser)
        self._warm = (_key(weights), runner)
        return runner


def _key(weights: Weights) -> tuple[str, Path]:
    return weights.family, weights.base


def _load(weights: Weights, device: Device) -> FamilyRunner:
    if weights.demo:
        ensure_demo(Home(weights.base.parent.parent), weights.family)
    runner: type[FamilyRunner] = resolve_name(FAMILIES[weights.family].runner)
    try:
        return runner(weights, device)
    except (OSError, SafetensorError) as error:
        raise MissingWeights(
            f"The weights '{weights.label}' in '{weights.base}' are not whole: fetch them again,"
            " or choose others."
        ) from error
