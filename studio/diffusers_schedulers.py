"""From a preset's sampling to the scheduler of diffusers that does it."""

import math
from collections.abc import Callable, Mapping
from typing import Any

from diffusers import DPMSolverMultistepScheduler, FlowMatchEulerDiscreteScheduler, SchedulerMixin

from studio.errors import EngineFailed
from studio.presets import Sampling

Config = Mapping[str, Any]


def scheduler_for(sampling: Sampling, config: Config) -> SchedulerMixin:
    """A new scheduler for one run, from the configuration that the weights came with.

    Raises EngineFailed for a sampler and schedule that are not in the table, or that belong to
    weights of the other kind.
    """
    # Only the schedulers of weights that predict noise have betas; the others match a flow.
    kind = "noise" if "beta_schedule" in config else "flow"
    make = _SCHEDULERS.get((kind, sampling.sampler, sampling.schedule))
    if make is None:
        raise EngineFailed(
            f"The sampler '{sampling.sampler}' with the schedule '{sampling.schedule}' does not"
            " belong to these weights: choose another preset."
        )
    return make(config)


def _karras(config: Config) -> SchedulerMixin:
    return DPMSolverMultistepScheduler.from_config(
        config,
        algorithm_type="dpmsolver++",
        solver_order=2,
        solver_type="midpoint",
        use_karras_sigmas=True,
        final_sigmas_type="zero",
    )


def _lightning(config: Config) -> SchedulerMixin:
    # The scheduler of Qwen-Image-Lightning's README; the same as a fixed shift of 3.
    return FlowMatchEulerDiscreteScheduler.from_config(
        config,
        use_dynamic_shifting=True,
        time_shift_type="exponential",
        base_shift=math.log(3),
        max_shift=math.log(3),
        base_image_seq_len=256,
        max_image_seq_len=8192,
        shift=1.0,
        shift_terminal=None,
    )


def _distilled(config: Config) -> SchedulerMixin:
    # Any shift or terminal would bend the given sigmas without a word.
    return FlowMatchEulerDiscreteScheduler.from_config(
        config, use_dynamic_shifting=False, shift=1.0, shift_terminal=None
    )


_SCHEDULERS: Mapping[tuple[str, str, str], Callable[[Config], SchedulerMixin]] = {
    ("noise", "dpmpp_2m", "karras"): _karras,
    ("flow", "euler", "lightning"): _lightning,
    ("flow", "euler", "shifted"): FlowMatchEulerDiscreteScheduler.from_config,
    ("flow", "euler", "distilled"): _distilled,
    ("flow", "euler", "dev"): FlowMatchEulerDiscreteScheduler.from_config,
}
