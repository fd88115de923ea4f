"""Times a job of the studio against what makes its result, in one process.

Run as `python -m bench.bare_diffusers`. First each of the nine modes against its engine's own run,
which is a part of the same job: what is over is the queue, the recipe, and the look at the result.
Then the picture modes, in turns, against a plain call of the pipeline that saves a PNG: the
same weights, size, schedule and guidance. Video's bare run is in `comfy_overhead`.
"""

import itertools
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any
from unittest.mock import patch

import torch
from PIL import Image
from requests_of_modes import Media, raw_request

from bench.pairs import ROUNDS, Times, in_turns, ratios, table, timed, wall
from studio.diffusers_engine import DiffusersEngine, import_runners
from studio.events import Emit
from studio.home import Home
from studio.modes import MODES, Mode
from studio.plan import Edit, Plan
from studio.planning import plan_request
from studio.request import read_request
from studio.studio import Studio, open_studio

Row = list[object]
"""Cells of a table."""


def main() -> int:
    """Print both tables."""
    import_runners()
    with tempfile.TemporaryDirectory() as folder:
        home, media = Home(Path(folder) / "home"), Media(Path(folder) / "media")
        studio = open_studio(home)
        seeds = itertools.count(1)
        head = ["mode", "job (s)", "engine (s)", "ratio", "ratio of CPU time", "over it (s of CPU)"]
        rows = [_over_engine(studio, media, mode, seeds) for mode in MODES.values()]
        sys.stdout.write(f"{table(head, rows)}\n\n")
        head = ["mode, preset", "job (s)", "bare pipeline (s)", "ratio", "ratio of CPU time"]
        rows = [
            _over_pipeline(studio, media, mode, Path(folder))
            for mode in MODES.values()
            if mode.makes == "image"
        ]
        sys.stdout.write(f"{table(head, rows)}\n")
    return 0


def _over_engine(studio: Studio, media: Media, mode: Mode, seeds: Iterator[int]) -> Row:
    jobs, engines = [], []
    run = DiffusersEngine.run

    def timed_run(engine: DiffusersEngine, plan: Plan, emit: Emit, scratch: Path) -> Path:
        made: list[Path] = []
        engines.append(timed(lambda: made.append(run(engine, plan, emit, scratch))))
        return made[0]

    with patch.object(DiffusersEngine, "run", timed_run):
        for _ in range(ROUNDS + 1):
            raw = raw_request(mode.id, media, preset="fast", seed=next(seeds), engine="diffusers")
            jobs.append(timed(lambda raw=raw: _make(studio, mode, raw)))
    # The first loads and encodes.
    jobs, engines = jobs[1:], engines[1:]
    over = sorted(job.cpu - own.cpu for job, own in zip(jobs, engines, strict=True))
    return [mode.id, wall(jobs), wall(engines), *ratios(jobs, engines), over[len(over) // 2]]


def _make(studio: Studio, mode: Mode, raw: dict[str, object]) -> None:
    done = studio.runner.run_one(studio.submit("bench", mode.id, raw).id)
    if done.state != "done":
        sys.exit(f"{mode.id} ended as {done.state}: {done.failure}")


def _over_pipeline(studio: Studio, media: Media, mode: Mode, folder: Path) -> Row:
    # A preset's LoRAs would have to be put into the bare pipeline by code of ours.
    preset = next(one.id for one in mode.presets.values() if not one.sampling[0].adapters)
    raw = raw_request(mode.id, media, preset=preset, engine="diffusers")
    (plan,) = plan_request(read_request(studio.home, mode.id, raw))
    call = _bare(plan, folder)

    def job(seed: int) -> Times:
        return timed(lambda: _make(studio, mode, {**raw, "seed": seed}))

    runs = {"job": job, "bare": lambda seed: timed(lambda: call(seed))}
    in_turns(runs, 1)
    found = in_turns(runs)
    name = f"{mode.id}, {preset}"
    both = found["job"], found["bare"]
    return [name, wall(both[0]), wall(both[1]), *ratios(*both)]


def _bare(plan: Plan, folder: Path) -> Callable[[int], None]:
    """What somebody writes who has only diffusers."""
    from studio.diffusers_schedulers import scheduler_for

    sampling = plan.sampling[0]
    pipeline, arguments = _BARE[plan.mode](plan)
    pipeline.set_progress_bar_config(disable=True)
    pipeline.scheduler = scheduler_for(sampling, pipeline.scheduler.config)

    def call(seed: int) -> None:
        with _same_references(plan) if plan.mode == "edit" else nullcontext():
            image = pipeline(
                prompt=plan.prompt,
                width=plan.width,
                height=plan.height,
                num_inference_steps=sampling.steps,
                generator=torch.Generator().manual_seed(seed),
                **arguments,
            ).images[0]
        image.save(folder / f"bare-{seed}.png")

    return call


def _photo(plan: Plan) -> tuple[Any, dict[str, Any]]:
    from diffusers import StableDiffusionXLPipeline

    guidance = plan.sampling[0].guidance
    scales = {"guidance_scale": guidance.scale, "guidance_rescale": guidance.rescale}
    return StableDiffusionXLPipeline.from_pretrained(plan.weights.base), scales


def _image(plan: Plan) -> tuple[Any, dict[str, Any]]:
    from diffusers import QwenImagePipeline

    return QwenImagePipeline.from_pretrained(plan.weights.base), _guided(plan)


def _edit(plan: Plan) -> tuple[Any, dict[str, Any]]:
    from studio.diffusers_qwen_edit import QwenEditRunner
    from studio.torch_device import best_device

    assert isinstance(plan.task, Edit)
    # The plain loader asks for torchvision, which the studio does without.
    pipeline = QwenEditRunner(plan.weights, best_device())._pipeline
    return pipeline, {"image": [Image.open(plan.task.source)], **_guided(plan)}


def _same_references(plan: Plan) -> AbstractContextManager[None]:
    """The pipeline would show pictures to tiny weights at the size that the real ones know."""
    from studio.diffusers_qwen_edit import reference_areas

    return reference_areas(plan.weights.canvas)


def _guided(plan: Plan) -> dict[str, Any]:
    return {"true_cfg_scale": plan.sampling[0].guidance.scale, "negative_prompt": " "}


_BARE = {"photo": _photo, "image": _image, "edit": _edit}


if __name__ == "__main__":
    sys.exit(main())
