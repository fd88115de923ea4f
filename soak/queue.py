"""A hundred jobs of three owners, one in five failing in its own way.

    make soak ARGS="queue --seed 3"

Eighty are to be done and twenty to say what went wrong, in the order they were asked for, with the
memory no larger at the end than after the first twenty.
"""

import random
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path

import psutil
from PIL import Image
from requests_of_modes import Media, raw_request

from studio.engine import ENGINES, EngineEntry
from studio.errors import EngineFailed
from studio.events import Emit, Event, StepDone
from studio.home import Home
from studio.inputs import input_path
from studio.jobs import Job
from studio.modes import MODES
from studio.plan import Plan
from studio.production import Production
from studio.studio import Studio, open_studio, running

JOBS = 100
WARM_JOBS = 20
"""After so many every family has been loaded, and the libraries hold what they ever will."""
MOST_GROWTH = 5.0
"""Percent of the memory that the process holds."""
OWNERS = ("ann", "bob", "eve")

NODE, MEMORY = "a node fails", "no memory is left"


@dataclass(frozen=True)
class Queue:
    """What came of it."""

    jobs: int
    done: int
    failed_with_a_sentence: int
    cancelled: int
    left: int
    out_of_order: int
    tracebacks_in_sentences: int
    memory_grown_percent: float

    @property
    def well(self) -> bool:
        ended = self.done == 80 and self.failed_with_a_sentence + self.cancelled == 20
        wrong = self.left or self.out_of_order or self.tracebacks_in_sentences
        return ended and not wrong and self.memory_grown_percent < MOST_GROWTH


class FaultyEngine:
    """The diffusers engine, but for prompts that name a fault."""

    def __init__(self, home: Home) -> None:
        self._engine = ENGINES["diffusers"].make(home)

    def run(self, plan: Plan, emit: Emit, scratch: Path) -> Path:
        if NODE in plan.prompt:
            raise EngineFailed("The step 'Sampler' failed: it gives no cause.", "Sampling")
        return self._engine.run(plan, _full if MEMORY in plan.prompt else emit, scratch)

    def release(self) -> None:
        self._engine.release()


def _full(event: Event) -> None:
    """Told by the engine itself, which tries once more on a lower rung."""
    if isinstance(event, StepDone):
        raise MemoryError


def campaign(folder: Path, seed: int) -> Queue:
    """Queues all jobs at once and waits until nothing is left."""
    chance, home, media = random.Random(seed), Home(folder / "home"), Media(folder / "media")
    entry = replace(ENGINES["diffusers"], make=FaultyEngine)
    studio = open_studio(home, Production(home, _only(entry)))
    jobs = [_ask(studio, media, folder, number, chance) for number in range(JOBS)]
    warm = 0
    with running(studio):
        while studio.table.has_work():
            time.sleep(0.05)
            states = [_now(studio, job).is_live for job in jobs]
            if not warm and states.count(False) >= WARM_JOBS:
                warm = _memory()
    return _count(studio, jobs, warm)


def _only(entry: EngineEntry) -> Mapping[str, EngineEntry]:
    return {"diffusers": entry}


def _ask(studio: Studio, media: Media, folder: Path, number: int, chance: random.Random) -> Job:
    fault = next(_faults(number), None)
    mode_id = fault.mode if fault else chance.choice(tuple(MODES))
    raw = raw_request(mode_id, media, preset="fast", seed=number)
    if fault:
        raw["prompt"] = f"{fault.prompt} {number}"
        if "image" in raw:
            raw["image"] = [_picture(folder, number)]
    job = studio.submit(chance.choice(OWNERS), mode_id, raw)
    if fault:
        fault.after(studio, job)
    return job


def _picture(folder: Path, number: int) -> str:
    """Of its own: files of the same content are kept once, and another job may need it."""
    path = folder / f"picture {number}.png"
    Image.new("RGB", (96, 64), (number, 80, 120)).save(path)
    return str(path)


@dataclass(frozen=True)
class Fault:
    """What is wrong with a job, and what happens once it is queued."""

    prompt: str
    mode: str = "photo"
    after: Callable[[Studio, Job], object] = lambda studio, job: None


def _cancel(studio: Studio, job: Job) -> None:
    studio.runner.cancel(job.owner, job.id)


def _break_input(studio: Studio, job: Job) -> None:
    """The file was looked at by its header when the job was asked for, and that stays."""
    path = _input(studio, job)
    path.chmod(0o644)
    path.write_bytes(path.read_bytes()[:60])


def _lose_input(studio: Studio, job: Job) -> None:
    _input(studio, job).unlink()


def _input(studio: Studio, job: Job) -> Path:
    return input_path(studio.home, job.inputs["image"][0])


FAULTS = (
    Fault(NODE),
    Fault("its picture is damaged", "i2v", _break_input),
    Fault(MEMORY, "t2v"),
    Fault("its picture is gone", "edit", _lose_input),
    Fault("to be cancelled", after=_cancel),
)


def _faults(number: int) -> Iterator[Fault]:
    """One job in five has one, in turns."""
    if number % 5 == 4:
        yield FAULTS[number // 5 % len(FAULTS)]


def _now(studio: Studio, job: Job) -> Job:
    found = studio.table.get(job.id)
    assert found is not None, f"job {job.id} is gone"
    return found


def _memory() -> int:
    memory: int = psutil.Process().memory_info().rss
    return memory


def _count(studio: Studio, jobs: list[Job], warm: int) -> Queue:
    after = [_now(studio, job) for job in jobs]
    sentences = [job.failure.sentence for job in after if job.failure]
    started = [job.started for job in after if job.started is not None]
    return Queue(
        jobs=len(after),
        done=sum(job.state == "done" for job in after),
        failed_with_a_sentence=sum(job.state == "failed" and bool(job.failure) for job in after),
        cancelled=sum(job.state == "cancelled" for job in after),
        left=sum(job.is_live for job in after),
        out_of_order=sum(one > other for one, other in pairwise(started)),
        tracebacks_in_sentences=sum("Traceback" in one or "Error:" in one for one in sentences),
        memory_grown_percent=round(100 * (_memory() / warm - 1), 1),
    )
