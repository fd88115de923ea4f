"""The engine that runs every mode with pipelines of diffusers, inside this process."""

import importlib
from collections.abc import Mapping
from pathlib import Path
from typing import Protocol, cast

from safetensors import SafetensorError

from studio.diffusers_setup import prepare_libraries
from studio.errors import MissingWeights
from studio.events import Emit, Event, StageStarted
from studio.home import Home
from studio.plan import Plan
from studio.progress import Progress
from studio.torch_device import Device, best_device, engine_errors, release_memory
from studio.weights import Weights
from studio.weights_demo import ensure_demo


class FamilyRunner(Protocol):
    """One family's weights, loaded and ready to make results."""

    def __init__(self, weights: Weights, device: Device) -> None:
        """Load the weights. Raises MissingWeights where files are not there."""
        ...

    def make(self, plan: Plan, progress: Progress, scratch: Path) -> Path:
        """Run the plan's stages after `load`; the finished PNG or MP4 lies in `scratch`."""
        ...


RUNNERS: Mapping[str, str] = {
    "sdxl": "studio.diffusers_sdxl:SdxlRunner",
    "qwen-image": "studio.diffusers_qwen:QwenImageRunner",
    "qwen-image-edit": "studio.diffusers_qwen_edit:QwenEditRunner",
    "ltx-2.3": "studio.diffusers_video:LtxRunner",
}
"""Module and class of each family; imported when first needed, after `prepare_libraries`."""


class DiffusersEngine:
    """Holds at most one family's weights, warm between jobs; see `studio.engine.Engine`."""

    def __init__(self) -> None:
        prepare_libraries()
        self._device = best_device()
        self._warm: tuple[tuple[str, Path], FamilyRunner] | None = None

    def run(self, plan: Plan, emit: Emit, scratch: Path) -> Path:
        """Make the plan's result inside `scratch`; events and errors as `Engine.run` says."""
        stage: str | None = None

        def report(event: Event) -> None:
            nonlocal stage
            if isinstance(event, StageStarted):
                stage = plan.stages[event.index].label
            emit(event)

        progress = Progress(plan, report)
        with engine_errors(lambda: stage):
            progress.start("load")
            return self._runner(plan.weights).make(plan, progress, scratch)

    def release(self) -> None:
        """Forget the weights and give their memory back."""
        self._warm = None
        release_memory()

    def _runner(self, weights: Weights) -> FamilyRunner:
        key = (weights.family, weights.base)
        if self._warm is not None and self._warm[0] == key:
            return self._warm[1]
        # First, so that the old weights and the new ones are never in memory together.
        self.release()
        runner = _load(weights, self._device)
        self._warm = (key, runner)
        return runner


def _load(weights: Weights, device: Device) -> FamilyRunner:
    if weights.demo:
        ensure_demo(Home(weights.base.parent.parent), weights.family)
    module, _, name = RUNNERS[weights.family].partition(":")
    runner = cast(type[FamilyRunner], getattr(importlib.import_module(module), name))
    try:
        return runner(weights, device)
    except (OSError, SafetensorError) as error:
        raise MissingWeights(
            f"The weights '{weights.label}' in '{weights.base}' are not whole: fetch them again,"
            " or choose others."
        ) from error
