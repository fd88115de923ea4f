"""Takes the events of a running item to the job table, and the wish to cancel back to the engine.

Steps may come by the hundred a second; the table is written at most ten times a second.
"""

import logging
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Protocol

from studio.errors import Cancelled, StudioError
from studio.estimates import forecast, from_past
from studio.events import Event, MemoryUsed, Note, PreviewReady, StageStarted, StepDone, StillAtWork
from studio.jobs import Extent, Item, Job, JobTable, Progress

logger = logging.getLogger(__name__)

WRITE_SECONDS = 0.1
"""Between two writes of steps, and between two looks for a wish to cancel in the table."""


@dataclass(frozen=True)
class Planned:
    """What will run: stage ids and their labels in order, the engine's id, the weights' label.

    Said before the first `StageStarted`, and again when another engine or rung takes over. With
    `extent` the time that it takes is learned from.
    """

    stages: Mapping[str, str]
    engine: str
    weights: str
    extent: Extent | None = None


JobEvent = Event | Planned
Listener = Callable[[JobEvent], None]


class Report(Protocol):
    """What a maker of items tells, and is told to stop by."""

    def __call__(self, event: JobEvent) -> None:
        """Take the event. Raises `Cancelled` once the job is to stop."""
        ...

    def timings(self) -> dict[str, float]:
        """Seconds by stage id so far, the current stage up to now."""
        ...


@dataclass
class LiveJob:
    """What this process keeps in memory of a job that it runs."""

    begun: float
    """On the clock that only goes forward."""
    cancel: threading.Event = field(default_factory=threading.Event)
    preview: bytes | None = None
    memory: MemoryUsed | None = None

    @property
    def seconds(self) -> float:
        """Since the job was begun, whatever was done to the clock."""
        return time.monotonic() - self.begun


class StageClock:
    """Seconds spent in each stage. A stage that is started again goes on counting."""

    def __init__(self) -> None:
        self._past: dict[str, float] = {}
        self._stage: str | None = None
        self._since = 0.0

    def start(self, stage: str) -> None:
        """Ends the stage before, if there was one."""
        self._past, self._stage = self.seconds(), stage
        # Monotonic, since the wall clock may be set while a job runs.
        self._since = time.monotonic()

    def seconds(self) -> dict[str, float]:
        """By stage id, in the order of their starts, the current stage up to now."""
        if self._stage is None:
            return dict(self._past)
        current = self._past.get(self._stage, 0.0) + time.monotonic() - self._since
        return {**self._past, self._stage: current}


def advance(progress: Progress, event: JobEvent) -> Progress:
    """The progress after an event; `fraction` is left to who knows the items."""
    if isinstance(event, Planned):
        return Progress(stages=event.stages)
    if isinstance(event, StageStarted):
        return replace(progress, stage=event.index, step=0, steps=event.steps)
    if isinstance(event, StepDone):
        return replace(progress, step=event.done, steps=event.of)
    return progress


def stage_id(progress: Progress) -> str:
    """The current stage's id. A user's own graph may have more stages than were planned."""
    ids, index = tuple(progress.stages), progress.stage or 0
    return ids[index] if index < len(ids) else f"stage {index + 1}"


def fraction_done(progress: Progress, expected: Mapping[str, float]) -> float:
    """How far the item is, 0 to 1; a stage counts as many seconds as are `expected` of it.

    Where nothing is, all stages count alike.
    """
    if progress.stage is None or not progress.stages:
        return 0.0
    shares = [expected.get(stage, 0.0) for stage in progress.stages]
    if not sum(shares):
        shares = [1.0] * len(shares)
    within = progress.step / progress.steps if progress.steps else 0.0
    current = sum(shares[progress.stage : progress.stage + 1])
    return min(1.0, (sum(shares[: progress.stage]) + within * current) / sum(shares))


def events_between(before: Job, after: Job) -> Iterator[JobEvent]:
    """What a job that another process runs would have said between two looks at its row."""
    was, now = before.progress, after.progress
    if now.stages != was.stages:
        running = next((item for item in after.items if item.state == "running"), after.items[0])
        yield Planned(now.stages, running.engine or "", running.weights or "")
    if now.stage is not None and (now.stages, now.stage) != (was.stages, was.stage):
        yield StageStarted(now.stage, now.steps)
    if now.step and now != was:
        yield StepDone(now.step, now.steps)
    yield from (Note(text) for text in after.notes if text not in before.notes)


class ItemReport:
    """The `emit` of one item. Raises `Cancelled` once the job is to stop.

    Beside the table, `listen` hears every event. `closing` is set when the studio stops.
    """

    def __init__(
        self,
        table: JobTable,
        job: Job,
        item: Item,
        live: LiveJob,
        closing: threading.Event,
        listen: Listener | None,
    ) -> None:
        self._table = table
        self._job = job
        self._item = item
        self._live = live
        self._closing = closing
        self._listen = listen
        self._clock = StageClock()
        self._next_write = 0.0
        self._expected: Mapping[str, float] = {}
        self.progress = self._measured(Progress())

    def __call__(self, event: JobEvent) -> None:
        if isinstance(event, StillAtWork):
            self.raise_if_stopped()
            return
        if isinstance(event, Planned):
            self._expected = self._learned(event)
        progress = advance(self.progress, event)
        if isinstance(event, StageStarted):
            self._clock.start(stage_id(progress))
        self.progress = self._measured(progress)
        if isinstance(event, PreviewReady):
            self._live.preview = event.jpeg
        if isinstance(event, MemoryUsed):
            self._live.memory = event
        try:
            self._save(event)
        except StudioError:
            # A later write carries the same progress; the picture in the making matters more.
            logger.warning("Job %s: its progress could not be saved.", self._job.id, exc_info=True)
        self.raise_if_stopped()
        if self._listen is not None:
            self._listen(event)

    def raise_if_stopped(self) -> None:
        """Raises `Cancelled` when the owner or the studio wants the job to stop."""
        if self._live.cancel.is_set():
            raise Cancelled("The job was cancelled.")
        if self._closing.is_set():
            raise Cancelled("The studio is closing.")

    def timings(self) -> dict[str, float]:
        """Seconds by stage id so far, the current stage up to now."""
        return self._clock.seconds()

    def _save(self, event: JobEvent) -> None:
        if isinstance(event, Planned):
            self._table.save_plan(
                self._job.id, self._item.index, event.engine, event.weights, event.extent
            )
        if isinstance(event, Note):
            self._table.add_note(self._job.id, event.text)
        if time.monotonic() < self._next_write and not _ends_something(event):
            return
        wanted = self._table.save_progress(
            self._job.id, self._item.index, self.progress, self.timings(), self._live.seconds
        )
        self._next_write = time.monotonic() + WRITE_SECONDS
        if wanted:
            self._live.cancel.set()

    def _learned(self, planned: Planned) -> Mapping[str, float]:
        """Seconds by stage id, from past items of this kind; empty where there are none."""
        if planned.extent is None:
            return {}
        kind = (self._job.mode, self._job.preset, planned.engine, planned.weights)
        try:
            past = self._table.stage_seconds(*kind)
        except StudioError:
            logger.warning("Job %s: no times could be looked up.", self._job.id, exc_info=True)
            return {}
        prediction = from_past(past, planned.stages, planned.extent)
        return prediction.stages if prediction else {}

    def _measured(self, progress: Progress) -> Progress:
        """With the fraction of the whole job, and when it should end."""
        done = self._item.index + fraction_done(progress, self._expected)
        later = [one for one in self._job.unfinished_items if one.index > self._item.index]
        return replace(
            progress,
            fraction=done / len(self._job.items),
            forecast=forecast(
                progress, self._expected, self.timings(), len(later), now=time.time()
            ),
        )


def _ends_something(event: JobEvent) -> bool:
    """A stage's start and last step are never left out: a long silence may follow them."""
    last_step = isinstance(event, StepDone) and event.done == event.of
    return last_step or isinstance(event, Planned | StageStarted)
