"""Gives a made file its recipe: writes it in, reads it back, and looks at the result."""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import cast

from PIL import Image

from studio import __version__
from studio.disk import disk_errors
from studio.errors import BadInput, EngineFailed
from studio.home import Home
from studio.jobs import Item, Job
from studio.media_retag import retag_clip
from studio.modes import MODES
from studio.outputs import made_since
from studio.plan import Clip, Edit, Plan
from studio.presets import Sampling
from studio.quality import Finding, look_at_clip, look_at_image
from studio.recipe import InputRecord, Json, LoraRecord, Recipe
from studio.recipe_mp4 import add_xmp, mp4_tags
from studio.recipe_png import write_png
from studio.recipe_read import read_recipe, verify_recipe


@dataclass(frozen=True)
class Finished:
    """A file that is ready to be published, and what was found when it was looked at."""

    path: Path
    extension: str
    findings: tuple[Finding, ...]


def finish(
    plan: Plan, job: Job, item: Item, made: Path, timings: Mapping[str, float], notes: Sequence[str]
) -> Finished:
    """Write the recipe into a copy of `made` beside it, read it back, and look at the result.

    Raises EngineFailed where the recipe does not survive, or the disk refuses.
    """
    recipe = recipe_of(plan, job, item, timings, notes)
    finish_file, extension = (
        (_finish_clip, "mp4") if isinstance(plan.task, Clip) else (_finish_image, "png")
    )
    path = made.with_name(f"finished.{extension}")
    findings = finish_file(plan, recipe, made, path)
    verify_recipe(path, recipe)
    return Finished(path, extension, findings)


def recipe_of(
    plan: Plan, job: Job, item: Item, timings: Mapping[str, float], notes: Sequence[str]
) -> Recipe:
    """What was made from what, as the file will carry it."""
    clip = plan.task if isinstance(plan.task, Clip) else None
    return Recipe(
        mode=plan.mode,
        engine=plan.engine,
        family=plan.weights.family,
        weights=plan.weights.label,
        demo=plan.weights.demo,
        preset=plan.preset,
        params={**job.params, "seed": plan.seed, "negative": plan.negative},
        seed=plan.seed,
        width=plan.width,
        height=plan.height,
        frames=clip.frames if clip else 1,
        fps=float(clip.fps) if clip else None,
        sampling=tuple(_sampling_record(one) for one in plan.sampling),
        loras=tuple(LoraRecord(lora.label, lora.strength) for lora in plan.loras),
        inputs=tuple(_input_records(job, item)),
        timings=dict(timings),
        created=datetime.now(timezone.utc).isoformat(timespec="seconds"),
        studio=__version__,
        edited=isinstance(plan.task, Edit) or bool(clip and clip.control),
        # A LoRA that fits in part is said when it is planned, and again when it is loaded.
        notes=tuple(dict.fromkeys((*plan.notes, *notes))),
        item=item_name(job, item),
    )


def item_name(job: Job, item: Item) -> str:
    """Names the item in its file. Not by the job's own id, since files are passed on."""
    return hashlib.sha256(f"{job.id} {item.index}".encode()).hexdigest()[:32]


def find_finished(home: Home, job: Job, item: Item) -> Path | None:
    """The item's published file, where the studio was killed before it could be written down."""
    name = item_name(job, item)
    return next((path for path in made_since(home, job.mode, job.created) if _is(path, name)), None)


def _is(path: Path, name: str) -> bool:
    try:
        recipe = read_recipe(path).recipe
    except BadInput:
        return False
    return recipe is not None and recipe.item == name


def _input_records(job: Job, item: Item) -> Iterator[InputRecord]:
    """The item's own file of a batch, and what all items share."""
    batch = MODES[job.mode].batch
    for control, files in job.inputs.items():
        own = (item.source,) if control == batch and item.source else files
        yield from (InputRecord(control, file.name, file.sha256) for file in own)


def _sampling_record(sampling: Sampling) -> Mapping[str, Json]:
    record = asdict(sampling)
    record["sigmas"] = list(sampling.sigmas) if sampling.sigmas else None
    record["adapters"] = list(record["adapters"])
    return cast("Mapping[str, Json]", record)


def _finish_image(plan: Plan, recipe: Recipe, made: Path, path: Path) -> tuple[Finding, ...]:
    with Image.open(made) as image:
        write_png(image, path, recipe)
    restored = plan.task.original_size if isinstance(plan.task, Edit) else None
    return look_at_image(path, *(restored or (plan.width, plan.height)))


def _finish_clip(plan: Plan, recipe: Recipe, made: Path, path: Path) -> tuple[Finding, ...]:
    clip = cast(Clip, plan.task)
    with disk_errors(path.parent, EngineFailed):
        retag_clip(made, path, mp4_tags(recipe))
    add_xmp(path, recipe)
    return look_at_clip(
        path,
        width=plan.width,
        height=plan.height,
        frames=clip.frames,
        fps=clip.fps,
        expect_sound=clip.control is None,
    )
