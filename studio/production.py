"""Makes one item of a job: the plan, the engine's run, the finished file."""

import shutil
import time
from collections.abc import Mapping

from studio.engine import ENGINES, Engine, EngineEntry, memory_used
from studio.estimates import extent_of
from studio.events import Note
from studio.finishing import find_finished, finish
from studio.home import Home
from studio.jobs import Item, Job
from studio.outputs import publish
from studio.plan import Clip, Plan
from studio.planning import plan_item
from studio.runner import ItemResult, JobEvent, Planned
from studio.runner_report import Report
from studio.submission import stored_request

WATCH_SECONDS = 1.0
"""Between two looks at the memory: the page shows it, and nobody reads faster."""


class Production:
    """The runner's work. Holds one engine at a time, with its weights warm."""

    def __init__(self, home: Home, engines: Mapping[str, EngineEntry] = ENGINES) -> None:
        self._home = home
        self._engines = engines
        self._engine: tuple[str, Engine] | None = None

    def __call__(self, job: Job, item: Item, report: Report) -> ItemResult:
        """Make the item's file and publish it. What `report` raises passes through.

        One that was published by a process that was killed just then is taken as it is.
        """
        plan = plan_item(stored_request(self._home, job, item.index), 0)
        stages = {stage.id: stage.label for stage in plan.stages}
        report(Planned(stages, plan.engine, plan.weights.label, extent_of(plan)))
        finished = find_finished(self._home, job, item)
        if finished is not None:
            return ItemResult(finished, (), _details(plan))
        scratch = self._home.scratch / job.id / str(item.index)
        scratch.mkdir(parents=True, exist_ok=True)
        notes: list[str] = []
        watch = _MemoryWatch()

        def emit(event: JobEvent) -> None:
            if isinstance(event, Note):
                notes.append(event.text)
            report(event)
            watch(report)

        made = self._engine_called(plan.engine).run(plan, emit, scratch)
        done = finish(plan, job, item, made, report.timings(), notes)
        output = publish(done.path, self._home, plan.mode, plan.seed, done.extension)
        shutil.rmtree(scratch, ignore_errors=True)
        return ItemResult(output, tuple(one.sentence for one in done.findings), _details(plan))

    def release(self) -> None:
        """Give back the device's memory."""
        if self._engine is not None:
            self._engine[1].release()

    def _engine_called(self, name: str) -> Engine:
        """The engine, made on first use; the one before gives its memory back first."""
        if self._engine is None or self._engine[0] != name:
            self.release()
            self._engine = (name, self._engines[name].make(self._home))
        return self._engine[1]


class _MemoryWatch:
    """Tells how full the memory is, at most once in `WATCH_SECONDS`."""

    def __init__(self) -> None:
        self._next = 0.0

    def __call__(self, report: Report) -> None:
        if time.monotonic() >= self._next:
            report(memory_used())
            self._next = time.monotonic() + WATCH_SECONDS


def _details(plan: Plan) -> dict[str, object]:
    """What the page says of a result beside its file."""
    clip = plan.task if isinstance(plan.task, Clip) else None
    return {
        "width": plan.width,
        "height": plan.height,
        "frames": clip.frames if clip else 1,
        "fps": clip.fps if clip else None,
        "seed": plan.seed,
        "demo": plan.weights.demo,
        "family": plan.weights.family,
        "notes": list(plan.notes),
    }
