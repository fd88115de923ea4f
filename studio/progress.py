"""Says where a plan's run is, stage by stage and step by step."""

import time
from collections.abc import Callable

from studio.events import Emit, Note, PreviewReady, StageStarted, StepDone, StillAtWork
from studio.plan import Plan

PREVIEW_SECONDS = 0.5
"""At most one preview in this time: decoding more would slow fast steps for nobody's eyes."""


class Progress:
    """Turns an engine's stage ids and step counts into events; `emit` may raise Cancelled."""

    def __init__(self, plan: Plan, emit: Emit) -> None:
        self._index = {stage.id: number for number, stage in enumerate(plan.stages)}
        self._emit = emit
        self._steps = 0
        self._next_preview = 0.0

    def start(self, stage_id: str, steps: int = 0) -> None:
        """The stage begins. Raises KeyError for one that the plan does not have."""
        self._steps = steps
        self._emit(StageStarted(self._index[stage_id], steps))

    def step(self, done: int) -> None:
        """`done` steps of the current stage are finished."""
        self._emit(StepDone(done, self._steps))

    def preview(self, draw: Callable[[], bytes]) -> None:
        """Show the JPEG that `draw` makes, unless the last one is only just gone."""
        now = time.monotonic()
        if now < self._next_preview:
            return
        self._emit(PreviewReady(draw()))
        self._next_preview = time.monotonic() + PREVIEW_SECONDS

    def note(self, sentence: str) -> None:
        """Something that belongs to the result."""
        self._emit(Note(sentence))

    def still_at_work(self) -> None:
        """Nothing to tell but that a cancel would be heard now."""
        self._emit(StillAtWork())
