"""What the rows of the job table mean, as frozen data. The SQL is in `jobs.py`."""

import json
import sqlite3
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from enum import Enum
from typing import Any, Literal

from studio.inputs import InputFile

State = Literal["queued", "running", "done", "failed", "cancelled", "interrupted"]
"""Of a job and of an item. `interrupted`: its process died or the studio was closed."""


class CancelOutcome(Enum):
    """What a request to cancel has met."""

    WAS_QUEUED = "was queued"
    STOPPING = "stopping"
    HAD_FINISHED = "had finished"
    UNKNOWN = "unknown"


Inputs = Mapping[str, tuple[InputFile, ...]]
"""The role that files have in the mode (`image`, `audio`, …) and the files."""


@dataclass(frozen=True)
class Failure:
    """Why a job or an item has failed.

    `sentence` is for the user, `kind` (`BadInput`, `OutOfMemory`, …, else `Unexpected`) for a
    script, `stage` is the label of the stage. `details` is the traceback: it may name paths of
    this machine, so it is not for strangers.
    """

    sentence: str
    kind: str
    stage: str | None = None
    details: str | None = None


@dataclass(frozen=True)
class Extent:
    """How much there is to compute: what the time of sampling and of decoding grows with."""

    pixels: int
    """Of one frame."""
    frames: int
    steps: tuple[int, ...]
    """Of each sampling stage."""


@dataclass(frozen=True)
class Forecast:
    """How long a running job still needs, as its past kind has shown."""

    stage_ends: float
    """When the current stage should be over, in seconds since the epoch."""
    rest: float
    """Seconds for everything after the current stage."""

    def remaining(self, now: float) -> float:
        """Seconds to the end of the job; a stage that is late is always just about to end."""
        return max(0.0, self.stage_ends - now) + self.rest


@dataclass(frozen=True)
class Progress:
    """Where a job is.

    `stages` maps stage ids to labels, in order; `stage` is the index of the current one, None
    before the first. `fraction`, 0 to 1, is of the whole job. `forecast` is None where nothing
    was learned of such jobs yet.
    """

    stages: Mapping[str, str] = field(default_factory=dict)
    stage: int | None = None
    step: int = 0
    steps: int = 0
    fraction: float = 0.0
    forecast: Forecast | None = field(default=None, compare=False)

    @property
    def label(self) -> str | None:
        """What the page calls the current stage."""
        labels = tuple(self.stages.values())
        return labels[self.stage] if self.stage is not None and self.stage < len(labels) else None


@dataclass(frozen=True)
class Item:
    """One result that a job is to make. `index` is from 0; `source` is the image it is made of.

    `output` is relative to the home, with forward slashes. `timings` are seconds by stage id.
    """

    index: int
    source: InputFile | None
    state: State
    engine: str | None
    weights: str | None
    output: str | None
    findings: tuple[str, ...]
    details: Mapping[str, Any]
    failure: Failure | None
    timings: Mapping[str, float]

    @property
    def name(self) -> str:
        """How a sentence names the item."""
        return self.source.name if self.source else f"number {self.index + 1}"


@dataclass(frozen=True)
class Job:
    """One request. Times are seconds since the epoch, by a clock that may have been set back, so
    the order of jobs is that of `serial`.

    A job of several items is `done` when at least one of them is; `failed_items` are the others.
    `losses` counts how often it went back into the queue because its worker was lost.
    """

    serial: int
    id: str
    owner: str
    mode: str
    preset: str | None
    params: Mapping[str, Any]
    seed: int
    inputs: Inputs
    state: State
    created: float
    started: float | None
    finished: float | None
    progress: Progress
    notes: tuple[str, ...]
    failure: Failure | None
    cancel_requested: bool
    losses: int
    items: tuple[Item, ...]

    @property
    def is_live(self) -> bool:
        return self.state in ("queued", "running")

    @property
    def unfinished_items(self) -> tuple[Item, ...]:
        return tuple(item for item in self.items if item.state != "done")

    @property
    def queued_items(self) -> tuple[Item, ...]:
        """What a run of the job is to make: of a batch perhaps only one that failed before."""
        return tuple(item for item in self.items if item.state == "queued")

    @property
    def failed_items(self) -> tuple[Item, ...]:
        return tuple(item for item in self.items if item.state == "failed")

    @property
    def can_rerun(self) -> bool:
        """Over, with something left to make."""
        return not self.is_live and bool(self.unfinished_items)

    @property
    def outputs(self) -> tuple[str, ...]:
        """The files made so far, relative to the home."""
        return tuple(item.output for item in self.items if item.output is not None)

    @property
    def timings(self) -> Mapping[str, float]:
        """Seconds by stage id, over all items."""
        total: dict[str, float] = {}
        for item in self.items:
            for stage, seconds in item.timings.items():
                total[stage] = total.get(stage, 0.0) + seconds
        return total

    @property
    def seconds(self) -> float | None:
        """How long the job took from its start to its end; None before, and after a crash."""
        if self.started is None or self.finished is None:
            return None
        return max(0.0, self.finished - self.started)


@dataclass(frozen=True)
class StageSeconds:
    """What one finished item took: seconds by stage id, and how much there was to compute."""

    extent: Extent
    seconds: Mapping[str, float]


def to_json(value: object) -> str:
    return json.dumps(value, allow_nan=False)


def record_to_json(record: Failure | InputFile | Extent | Forecast | None) -> str | None:
    return to_json(asdict(record)) if record else None


def inputs_to_json(inputs: Inputs) -> str:
    return to_json({role: [asdict(file) for file in files] for role, files in inputs.items()})


def _inputs_from_json(text: str) -> Inputs:
    roles = json.loads(text).items()
    return {role: tuple(InputFile(**file) for file in files) for role, files in roles}


def extent_from_json(text: str) -> Extent:
    found = json.loads(text)
    return Extent(found["pixels"], found["frames"], tuple(found["steps"]))


def _forecast_from_json(text: str | None) -> Forecast | None:
    return Forecast(**json.loads(text)) if text else None


def _failure_from_json(text: str | None) -> Failure | None:
    return Failure(**json.loads(text)) if text else None


def item_from_row(row: sqlite3.Row) -> Item:
    return Item(
        index=row["item_index"],
        source=InputFile(**json.loads(row["source"])) if row["source"] else None,
        state=row["state"],
        engine=row["engine"],
        weights=row["weights"],
        output=row["output"],
        findings=tuple(json.loads(row["findings"])),
        details=json.loads(row["details"]),
        failure=_failure_from_json(row["failure"]),
        timings=json.loads(row["timings"]),
    )


def job_from_row(row: sqlite3.Row, items: Sequence[Item]) -> Job:
    return Job(
        serial=row["serial"],
        id=row["id"],
        owner=row["owner"],
        mode=row["mode"],
        preset=row["preset"],
        params=json.loads(row["params"]),
        seed=int(row["seed"]),
        inputs=_inputs_from_json(row["inputs"]),
        state=row["state"],
        created=row["created"],
        started=row["started"],
        finished=row["finished"],
        progress=Progress(
            stages=json.loads(row["stages"]),
            stage=row["stage"],
            step=row["step"],
            steps=row["steps"],
            fraction=row["fraction"],
            forecast=_forecast_from_json(row["forecast"]),
        ),
        notes=tuple(json.loads(row["notes"])),
        failure=_failure_from_json(row["failure"]),
        cancel_requested=bool(row["cancel_requested"]),
        losses=row["losses"],
        items=tuple(items),
    )
