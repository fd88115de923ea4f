"""A plan in words and as JSON: what `--dry-run` prints and the page shows before a run."""

from dataclasses import asdict, is_dataclass
from pathlib import Path

from studio.plan import Clip, Edit, Plan


def plan_as_json(plan: Plan) -> dict[str, object]:
    """Everything that will run, in plain JSON values; sizes in pixels, lengths in seconds."""
    clip = plan.task if isinstance(plan.task, Clip) else None
    return {
        "mode": plan.mode,
        "engine": plan.engine,
        "family": plan.weights.family,
        "weights": plan.weights.label,
        "demo": plan.weights.demo,
        "preset": plan.preset,
        "prompt": plan.prompt,
        "negative": plan.negative,
        "seed": plan.seed,
        "width": plan.width,
        "height": plan.height,
        "frames": clip.frames if clip else 1,
        "fps": clip.fps if clip else None,
        "seconds": clip.seconds if clip else None,
        "steps": [sampling.steps for sampling in plan.sampling],
        "sigmas": [list(sampling.sigmas or ()) or None for sampling in plan.sampling],
        "sampling": [_plain(sampling) for sampling in plan.sampling],
        "loras": [_plain(lora) for lora in plan.loras],
        "task": _plain(plan.task),
        "stages": [asdict(stage) for stage in plan.stages],
        "notes": list(plan.notes),
    }


def plan_as_text(plan: Plan) -> str:
    """The same in a few lines for a person."""
    lines = [
        f"{plan.mode}: {plan.engine}, {plan.weights.family} weights '{plan.weights.label}',"
        f" preset {plan.preset}, seed {plan.seed}",
        _size_line(plan),
        "stages: " + ", ".join(stage.label for stage in plan.stages),
        "steps: " + " + ".join(f"{one.steps} {one.sampler}" for one in plan.sampling),
    ]
    lines += [f"LoRA: {lora.label} at {lora.strength:g}" for lora in plan.loras]
    return "\n".join([*lines, *plan.notes])


def _size_line(plan: Plan) -> str:
    size = f"{plan.width} x {plan.height} pixels"
    if isinstance(plan.task, Clip):
        clip = plan.task
        return f"{size}, {clip.frames} frames at {clip.fps} a second: {clip.seconds:.2f} seconds"
    if isinstance(plan.task, Edit) and plan.task.original_size:
        width, height = plan.task.original_size
        return f"{size}, then scaled to {width} x {height}"
    return size


def _plain(value: object) -> object:
    if is_dataclass(value) and not isinstance(value, type):
        return {name: _plain(one) for name, one in vars(value).items()}
    if isinstance(value, tuple | list):
        return [_plain(one) for one in value]
    return str(value) if isinstance(value, Path) else value
