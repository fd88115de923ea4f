"""Memory that runs out in every stage of every mode, once and again.

    make soak ARGS="memory --seed 2"

The first of a stage's operations in torch, or one soon after, finds no memory. Where it happens
once, the engine makes the result in a more frugal way and says so; where it happens in the second
try too, the job fails in a sentence. A new process of the studio then runs it again: from the
latents, where there were any. Torch keeps its modes by thread, so each job runs in this one.
"""

import multiprocessing
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from requests_of_modes import Media, raw_request

from soak.kills import is_whole, run_queue
from studio.diffusers_engine import import_runners
from studio.engine import ENGINES, Engine
from studio.events import Emit, Event, Note, StageStarted
from studio.home import Home
from studio.jobs import Job
from studio.modes import MODES
from studio.plan import Plan
from studio.production import Production
from studio.studio import Studio, open_studio

OWNER = "soak"
DEEPEST = 8
"""Operations of a stage that may pass before the one that fails; the shortest has few."""
SAVE = "save"
"""Writes a file with nothing of torch: there, Python itself finds no memory."""


@dataclass(frozen=True)
class Memory:
    """What came of it; the last is to be empty."""

    modes: int
    stages: int
    out_of_memory_once: int
    made_another_way: int
    failed_with_a_sentence: int
    out_of_memory_twice: int
    failed_twice_with_a_sentence: int
    made_after_a_restart: int
    from_kept_latents: int
    wrong: tuple[str, ...]

    @property
    def well(self) -> bool:
        return not self.wrong


@dataclass(frozen=True)
class _Case:
    """A job that met the fault."""

    mode: str
    stage: str
    times: int
    depth: int
    reached: int
    job: Job

    @property
    def name(self) -> str:
        return f"{self.mode}, {self.stage}, {self.times} times at operation {self.depth}"

    @property
    def past(self) -> str:
        """The last sampling that was over, whose latents are kept; empty before there is one."""
        ids = list(self.job.progress.stages)
        over = [one for one in ids[: ids.index(self.stage)] if one.startswith("sample")]
        return over[-1] if over else ""


def campaign(folder: Path, seed: int) -> Memory:
    """Two jobs for each stage of each mode."""
    chance, media, home = random.Random(seed), Media(folder / "media"), Home(folder / "home")
    import_runners()
    cases = [case for mode in MODES for case in _mode(home, mode, media, chance)]
    again = _run_again(home, [case.job for case in cases if case.job.state != "done"])
    once = [case for case in cases if case.times == 1]
    twice = [case for case in cases if case.times > 1]
    kept = [case for case in cases if case.job.id in again and case.past]
    wrong = [*_badly_ended(cases), *_badly_run_again(home, cases, again)]
    return Memory(
        modes=len(MODES),
        stages=len({(case.mode, case.stage) for case in cases}),
        out_of_memory_once=len(once),
        made_another_way=sum(case.job.state == "done" for case in once),
        failed_with_a_sentence=sum(case.job.failure is not None for case in once),
        out_of_memory_twice=len(twice),
        failed_twice_with_a_sentence=sum(case.job.failure is not None for case in twice),
        made_after_a_restart=sum(job.state == "done" for job in again.values()),
        from_kept_latents=sum(
            case.past not in again[case.job.id].items[0].timings for case in kept
        ),
        wrong=tuple(wrong),
    )


def _mode(home: Home, mode_id: str, media: Media, chance: random.Random) -> Iterator[_Case]:
    """A job without a fault tells the stages."""
    raw = raw_request(mode_id, media, preset="fast")
    whole = _made(open_studio(home), raw, mode_id)
    for number, stage in enumerate(whole.progress.stages):
        for times in (1, 2):
            fault = _Fault(stage, times, chance.randrange(DEEPEST))
            production = Production(home, {"diffusers": _with(fault)})
            raw["seed"] = 100 + 2 * number + times
            job = _made(open_studio(home, production), raw, mode_id)
            yield _Case(mode_id, stage, times, fault.depth, fault.met, job)


def _made(studio: Studio, raw: dict[str, Any], mode_id: str) -> Job:
    return studio.runner.run_one(studio.submit(OWNER, mode_id, raw).id)


# The fault


class _Fault:
    """Counts the operations of a stage, and has one fail: in each of the first `times` tries."""

    def __init__(self, stage: str, times: int, depth: int) -> None:
        self.stage, self.times, self.depth = stage, times, depth
        self.met = 0
        self._to_come: int | None = None

    def hear(self, plan: Plan, event: Event) -> None:
        """A try begins with the stage, or where a stage says that it takes another way."""
        if isinstance(event, StageStarted):
            here = plan.stages[event.index].id == self.stage
            self._to_come = self.depth if here and self.met < self.times else None
            if here and self.stage == SAVE and self._to_come is not None:
                self._fail(MemoryError())
        elif isinstance(event, Note) and self.met and self.met < self.times:
            self._to_come = self.depth

    def operation(self) -> None:
        if self._to_come == 0:
            import torch

            self._fail(torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB."))
        if self._to_come is not None:
            self._to_come -= 1

    def _fail(self, error: Exception) -> None:
        self.met, self._to_come = self.met + 1, None
        raise error


class _FaultyEngine:
    def __init__(self, engine: Engine, fault: _Fault) -> None:
        self._engine, self._fault = engine, fault

    def run(self, plan: Plan, emit: Emit, scratch: Path) -> Path:
        from torch.overrides import TorchFunctionMode

        fault = self._fault

        class Watch(TorchFunctionMode):
            def __torch_function__(self, use: Any, types: Any, args: Any = (), kwargs: Any = None):  # type: ignore[no-untyped-def] # noqa: ANN204, ANN401
                fault.operation()
                return use(*args, **(kwargs or {}))

        def hear(event: Event) -> None:
            emit(event)
            fault.hear(plan, event)

        with Watch():
            return self._engine.run(plan, hear, scratch)

    def release(self) -> None:
        self._engine.release()


def _with(fault: _Fault) -> Any:  # noqa: ANN401
    entry = ENGINES["diffusers"]
    make: Callable[[Home], Engine] = lambda home: _FaultyEngine(entry.make(home), fault)  # noqa: E731
    return replace(entry, make=make)


# What came of it


def _badly_ended(cases: list[_Case]) -> Iterator[str]:
    for case in cases:
        job = case.job
        if not case.reached:
            yield f"{case.name}: the fault was not met"
        elif job.state != "done" and case.times == 1 and case.stage != SAVE:
            yield f"{case.name}: no other way was tried"
        elif job.state == "done" and not job.notes:
            yield f"{case.name}: made with no word on how"
        elif job.state != "done" and (job.failure is None or job.failure.kind != "OutOfMemory"):
            yield f"{case.name}: {job.state}, {job.failure}"


def _run_again(home: Home, jobs: list[Job]) -> dict[str, Job]:
    """By id, as a new process of the studio has left them."""
    studio = open_studio(home)
    for job in jobs:
        studio.table.rerun(OWNER, job.id)
    process = multiprocessing.get_context("fork").Process(target=run_queue, args=(home,))
    process.start()
    process.join()
    found = (studio.table.get(job.id) for job in jobs)
    return {job.id: job for job in found if job is not None}


def _badly_run_again(home: Home, cases: list[_Case], again: dict[str, Job]) -> Iterator[str]:
    for case in cases:
        job = again.get(case.job.id)
        if job is None:
            continue
        if job.state != "done" or not is_whole(home, job):
            yield f"{case.name}: run again, it is {job.state}, {job.failure}"
        elif case.past in job.items[0].timings:
            yield f"{case.name}: '{case.past}' was sampled again"
