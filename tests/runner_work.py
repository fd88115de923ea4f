"""Work for a runner, and waiting until it is over."""

import time
from collections.abc import Callable

from studio.errors import EngineFailed
from studio.events import StageStarted, StepDone
from studio.home import Home
from studio.jobs import Extent, InputFile, Job, JobTable
from studio.runner import ItemResult, Planned
from studio.runner_report import ItemReport

STAGES = {"load": "Loading", "sample": "Sampling", "save": "Saving"}
PLAN = Planned(STAGES, "diffusers", "demo", Extent(4096, 1, (4,)))
IMAGES = tuple(InputFile(letter * 64, f"{letter}.png", ".png") for letter in "abc")
SHORT = 0.002


def submit(table: JobTable, owner: str = "ann", what: str = "", items=(None,)) -> Job:
    return table.submit(owner, "edit", {"preset": "fast", "prompt": what}, 7, {}, items)


def wait_until(happened: Callable[[], object], seconds: float = 20) -> None:
    deadline = time.monotonic() + seconds
    while not happened():
        assert time.monotonic() < deadline, "it has not happened"
        time.sleep(0.005)


def wait_until_over(table: JobTable, job: Job) -> Job:
    wait_until(lambda: not table.get(job.id).is_live)
    return table.get(job.id)


def make(home: Home, job: Job, index: int = 0) -> ItemResult:
    """The runner never opens the file, so there is none."""
    return ItemResult(home.outputs / f"{job.id}_{index}.png")


class Painter:
    """Work that does what the job's prompt says, and keeps what it was asked to do."""

    def __init__(self, home: Home, step_seconds: float = SHORT) -> None:
        self.home = home
        self.step_seconds = step_seconds
        self.began: list[tuple[str, int]] = []
        self.steps = 0

    def __call__(self, job: Job, item, report: ItemReport) -> ItemResult:
        self.began.append((job.id, item.index))
        report(PLAN)
        report(StageStarted(0))
        report(StageStarted(1, steps=8))
        of = 100_000 if job.params["prompt"] == "for ever" else 8
        for step in range(1, of + 1):
            time.sleep(self.step_seconds)
            self.steps = step
            report(StepDone(step, of))
        if item.source is not None and item.source.name in job.params["prompt"]:
            raise EngineFailed(f"The image {item.source.name} cannot be edited.")
        report(StageStarted(2))
        return ItemResult(
            self.home.outputs / "2026-09-01" / f"{job.id}_{item.index}.png",
            findings=("It is all black.",),
            details={"width": 64},
        )
