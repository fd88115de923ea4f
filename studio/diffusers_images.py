"""What all image families share: the stages from a plan to a PNG."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from diffusers import DiffusionPipeline
from PIL import Image

from studio.diffusers_loras import apply_loras, wanted_loras
from studio.diffusers_memory import Placement
from studio.diffusers_preview import LatentColours, latent_jpeg
from studio.diffusers_prompts import PromptCache
from studio.diffusers_schedulers import scheduler_for
from studio.disk import disk_errors
from studio.errors import EngineFailed
from studio.plan import Edit, Plan
from studio.presets import Sampling
from studio.progress import Progress
from studio.torch_device import Device, generator
from studio.torch_latents import decode, load_latents, require_finite, save_latents
from studio.weights import Weights

Arguments = dict[str, Any]
"""Arguments of a pipeline's call."""

Look = Callable[[int, torch.Tensor], torch.Tensor]
"""From a step (from 0) and its latents to what is shown of them: [channels, height, width]."""

FILE_NAME = "result.png"


class ImageRunner(ABC):
    """A pipeline that makes one picture a run; see `studio.diffusers_engine.FamilyRunner`."""

    pipeline: type[DiffusionPipeline]
    colours: LatentColours
    denoiser: str
    """The pipeline's component that is called for every step."""

    def __init__(self, weights: Weights, device: Device) -> None:
        """Load the weights. Raises OSError or MissingWeights where they are not whole."""
        pipeline = self._load(weights, device)
        pipeline.set_progress_bar_config(disable=True)
        self._pipeline = pipeline
        self._device = device.name
        self._schedule = pipeline.scheduler.config
        self._prompts = PromptCache()
        self.placement = Placement(pipeline, device, self._prompts)

    def _load(self, weights: Weights, device: Device) -> DiffusionPipeline:
        """The pipeline in main memory, from the disk alone."""
        return self.pipeline.from_pretrained(
            weights.base, dtype=device.dtype, local_files_only=True, use_safetensors=True
        )

    @abstractmethod
    def _encode(self, plan: Plan, sampling: Sampling, progress: Progress) -> Arguments:
        """Everything that the plan's task and guidance ask of the pipeline's call."""

    @abstractmethod
    def _look(self, plan: Plan) -> Look:
        """How this run's latents are shown while it runs."""

    @abstractmethod
    def _pixels(self, plan: Plan, latents: torch.Tensor) -> torch.Tensor:
        """The decoded picture, [1, 3, height, width] from -1 to 1."""

    @torch.no_grad()
    def make(self, plan: Plan, progress: Progress, scratch: Path) -> Path:
        """Run the plan's stages after `load`; the finished PNG lies in `scratch`."""
        try:
            kept = load_latents(scratch, plan)
            if kept is None:
                kept = {"latents": self._sample(plan, plan.sampling[0], progress)}
                save_latents(scratch, plan, kept)
            progress.start("decode")
            picture = self._picture(plan, kept["latents"].to(self._device), progress)
        finally:
            # After a cancel too: a model left on the GPU would meet those of the next job there.
            self._pipeline.maybe_free_model_hooks()
        progress.start("save")
        return _save(picture, plan, scratch)

    def _sample(self, plan: Plan, sampling: Sampling, progress: Progress) -> torch.Tensor:
        """Latents as the pipeline gives them, packed where it packs them."""
        with self.placement.changing_layers():
            notes = apply_loras(self._pipeline, wanted_loras(plan, sampling))
        for note in notes:
            progress.note(note)
        progress.start("encode")
        arguments = self._encode(plan, sampling, progress)
        self._pipeline.scheduler = scheduler_for(sampling, self._schedule)
        with self._sampling_starts(sampling.steps, progress):
            result = self._pipeline(
                **arguments,
                height=plan.height,
                width=plan.width,
                num_inference_steps=sampling.steps,
                generator=generator(plan.seed),
                output_type="latent",
                callback_on_step_end=self._after_step(plan, progress),
            )
        latents: torch.Tensor = result.images
        return latents

    @contextmanager
    def _sampling_starts(self, steps: int, progress: Progress) -> Iterator[None]:
        """Says so when the denoiser is first called: pictures are encoded before that."""

        def start(*_: object) -> None:
            hook.remove()
            progress.start("sample1", steps)

        hook = getattr(self._pipeline, self.denoiser).register_forward_pre_hook(start)
        try:
            yield
        finally:
            hook.remove()

    def _after_step(self, plan: Plan, progress: Progress) -> Callable[..., Arguments]:
        look = self._look(plan)

        def after_step(_: object, step: int, __: object, tensors: Arguments) -> Arguments:
            shown = look(step, tensors["latents"])
            progress.step(step + 1)
            progress.preview(lambda: latent_jpeg(shown, self.colours))
            return {}

        return after_step

    def _picture(self, plan: Plan, latents: torch.Tensor, progress: Progress) -> Image.Image:
        pixels = decode(self._pipeline.vae, lambda: self._pixels(plan, latents), progress)
        require_finite({"pixels": pixels})
        picture: Image.Image = self._pipeline.image_processor.postprocess(pixels)[0]
        return picture


def _save(picture: Image.Image, plan: Plan, scratch: Path) -> Path:
    size = plan.task.original_size if isinstance(plan.task, Edit) else None
    if size is not None:
        picture = picture.resize(size, Image.Resampling.LANCZOS)
    path = scratch / FILE_NAME
    with disk_errors(scratch, EngineFailed):
        picture.save(path)
    return path
