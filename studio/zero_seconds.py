"""How many seconds of a ZeroGPU a plan asks for.

ZeroGPU ends a call when its seconds are over, and puts those that ask for fewer first. What was
learned on this Space counts, else what the mode says.
"""

from collections.abc import Mapping

from studio.estimates import Prediction
from studio.families import FAMILIES
from studio.modes import MODES
from studio.plan import Clip, Plan
from studio.preflight import usual_work

SHORTEST = 60
"""Asked for at least, as the video document clamps it: a worker's start takes a part of it."""

LIMITS = (40 * 60, 5 * 60, 2 * 60)
"""What an account may use in a day (PRO, free, none: https://huggingface.co/docs/hub/spaces-zerogpu),
so no call can be longer. Nothing tells which account it is before a call: the most is tried, since
a refusal costs nothing, and the next lower one is the visitor's limit from then on."""

PRESET_TIMES: Mapping[str, float] = {"fast": 1.0, "balanced": 1.5, "quality": 3.0}
"""The video document's multipliers."""

COLD_SECONDS = 60.0
"""The video document's share for weights that are not in memory yet."""

DECODE_SECONDS = 0.3
"""A frame, by the video document."""

LEARNED_TIMES = 1.5
"""Half of all runs take longer than the median that was learned; how much is **not measured**."""


def seconds_for(plan: Plan, learned: Prediction | None) -> int:
    """Seconds to ask for, at least `SHORTEST`; the visitor's limit is not looked at."""
    if learned is not None:
        expected = learned.seconds * LEARNED_TIMES
    else:
        expected = 0.0 if plan.weights.demo else _from_table(plan)
    return max(SHORTEST, round(expected))


def limit_below(refused: int) -> int:
    """The most that an account may ask for which was refused so many seconds."""
    return next((limit for limit in LIMITS if limit < refused), SHORTEST)


def _from_table(plan: Plan) -> float:
    frames = plan.task.frames if isinstance(plan.task, Clip) else 1
    usual = usual_work(FAMILIES[plan.weights.family])
    volume = plan.width * plan.height * frames / (usual.width * usual.height * usual.frames)
    # Below the usual size the start of everything outweighs what is saved.
    sampling = MODES[plan.mode].gpu_seconds * PRESET_TIMES[plan.preset] * max(1.0, volume)
    return COLD_SECONDS + sampling + DECODE_SECONDS * frames
