"""How long a plan will take, learned from what the studio has made before on this machine."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median

from studio.jobs import Extent, Forecast, JobTable, Progress, StageSeconds
from studio.plan import Clip, Plan

LEARNED_FROM = 5
"""So many of the latest results are looked at: a machine changes, and one run may be odd."""

STEADY_STEPS = 2
"""Once so many steps are done, their own pace says more than the past."""

_SAMPLING, _DECODING = "sample", "decode"


@dataclass(frozen=True)
class Prediction:
    """Seconds by stage id, in the order of the stages."""

    stages: Mapping[str, float]

    @property
    def seconds(self) -> float:
        """Of the whole run."""
        return sum(self.stages.values())


def predict(table: JobTable, plan: Plan) -> Prediction | None:
    """What the plan's stages should take; None where nothing like it was ever made.

    Learned from the same mode, preset, engine and weights. Raises StudioError where the table
    cannot be read.
    """
    past = table.stage_seconds(
        plan.mode, plan.preset, plan.engine, plan.weights.label, LEARNED_FROM
    )
    return from_past(past, [stage.id for stage in plan.stages], extent_of(plan))


def extent_of(plan: Plan) -> Extent:
    """How much the plan has to compute."""
    frames = plan.task.frames if isinstance(plan.task, Clip) else 1
    return Extent(plan.width * plan.height, frames, tuple(one.steps for one in plan.sampling))


def from_past(
    past: Sequence[StageSeconds], stages: Iterable[str], extent: Extent
) -> Prediction | None:
    """The median of the latest results, newest first, each scaled to `extent`."""
    latest = past[:LEARNED_FROM]
    if not latest:
        return None
    return Prediction({stage: _expected(latest, stage, extent) for stage in stages})


def _expected(past: Sequence[StageSeconds], stage: str, extent: Extent) -> float:
    scaled = [
        one.seconds[stage] * _amount(extent, stage) / _amount(one.extent, stage)
        for one in past
        if stage in one.seconds
    ]
    return median(scaled) if scaled else 0.0


def _amount(extent: Extent, stage: str) -> float:
    """How much a stage computes, in a unit of its own."""
    volume = extent.pixels * extent.frames
    if stage.startswith(_SAMPLING):
        number = stage.removeprefix(_SAMPLING)
        index = int(number) - 1 if number.isdigit() else 0
        return volume * (extent.steps[index] if index < len(extent.steps) else 1)
    return volume if stage == _DECODING else 1.0


def forecast(
    progress: Progress,
    expected: Mapping[str, float],
    spent: Mapping[str, float],
    items_left: int,
    now: float,
) -> Forecast | None:
    """When a running job should end; None where nothing is expected.

    `expected` and `spent` are seconds by stage id of the current item, `items_left` are the
    items after it, which should take as long; `now` is in seconds since the epoch.
    """
    if not expected:
        return None
    ids = tuple(progress.stages)
    index = progress.stage if progress.stage is not None else -1
    later = sum(expected.get(stage, 0.0) for stage in ids[index + 1 :])
    stage = ids[index] if 0 <= index < len(ids) else ""
    left = _left_of_stage(progress, expected.get(stage, 0.0), spent.get(stage, 0.0))
    return Forecast(now + left, later + items_left * sum(expected.values()))


def _left_of_stage(progress: Progress, expected: float, spent: float) -> float:
    if progress.step >= STEADY_STEPS:
        return spent / progress.step * max(0, progress.steps - progress.step)
    return max(0.0, expected - spent)


def about(seconds: float) -> str:
    """A time as one says it: "about 40 s", "about 3 min"; no more exact than it is known."""
    if seconds < 1:
        return "about a second"
    if seconds < 60:
        grain = 1 if seconds < 10 else 5
        return f"about {_nearest(seconds, grain)} s"
    minutes = _nearest(seconds / 60, 1 if seconds < 20 * 60 else 5)
    hours, minutes = divmod(minutes, 60)
    if not hours:
        return f"about {minutes} min"
    return f"about {hours} h {minutes} min" if minutes else f"about {hours} h"


def _nearest(value: float, grain: int) -> int:
    return max(grain, grain * round(value / grain))
