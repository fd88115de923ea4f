"""What a plan asks of the machine's memory."""

from studio.families import FAMILIES
from studio.fitting import DEMO, Needs, Work
from studio.plan import Clip, Edit, Plan


def needs_of(plan: Plan) -> Needs:
    """An estimate for the diffusers engine, at the plan's largest stage."""
    if plan.weights.demo:
        return DEMO
    return FAMILIES[plan.weights.family].needs_for(work_of(plan))


def work_of(plan: Plan) -> Work:
    """The plan's size, as far as memory depends on it."""
    # The last stage is the largest: earlier ones have a quarter of its tokens each.
    last = plan.sampling[-1]
    guided = max(last.guidance.scale, last.sound_guidance.scale) > 1
    work = Work(plan.width, plan.height, guided=guided)
    if isinstance(plan.task, Edit):
        pictures, area = 1 + len(plan.task.references), plan.weights.canvas.reference_area
        return Work(plan.width, plan.height, 1, pictures, area, guided)
    if isinstance(plan.task, Clip):
        return Work(plan.width, plan.height, plan.task.frames, guided=guided)
    return work
