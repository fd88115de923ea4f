"""Qwen-Image-Edit: a picture made anew as the words say, with other pictures beside it."""

import hashlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from diffusers import QwenImageEditPlusPipeline
from diffusers.pipelines.qwenimage import pipeline_qwenimage_edit_plus as edit_plus
from PIL import Image
from transformers import BatchFeature, Qwen2Tokenizer, Qwen2VLImageProcessorPil

from studio.diffusers_images import Arguments
from studio.diffusers_qwen import NO_NEGATIVE, Prompt, QwenRunner
from studio.errors import EngineFailed
from studio.families import Canvas
from studio.media_images import fit_longest_side, load_image
from studio.plan import Edit, Plan
from studio.presets import Sampling
from studio.progress import Progress
from studio.torch_device import Device
from studio.weights import Weights

_PATCH = "<|image_pad|>"
"""Stands in the prompt for the patches of a picture that the text encoder sees."""


class QwenEditRunner(QwenRunner):
    """One set of Qwen-Image-Edit weights (2509 or 2511), ready to edit."""

    def _load(self, weights: Weights, device: Device) -> QwenImageEditPlusPipeline:
        pipeline = QwenImageEditPlusPipeline.from_pretrained(
            weights.base,
            processor=None,
            dtype=device.dtype,
            local_files_only=True,
            use_safetensors=True,
        )
        pictures = Qwen2VLImageProcessorPil.from_pretrained(
            weights.base / "processor", local_files_only=True
        )
        pipeline.processor = PromptProcessor(pipeline.tokenizer, pictures)
        return pipeline

    def make(self, plan: Plan, progress: Progress, scratch: Path) -> Path:
        """Run the plan's stages after `load`; the finished PNG lies in `scratch`."""
        with reference_areas(plan.weights.canvas):
            return super().make(plan, progress, scratch)

    def _encode(self, plan: Plan, sampling: Sampling, progress: Progress) -> Arguments:
        pictures = _pictures(plan)
        seen = [self._as_seen(picture) for picture in pictures]
        positive = self._embeddings(plan.prompt, seen)
        guided = sampling.guidance.scale > 1
        negative = self._embeddings(plan.negative or NO_NEGATIVE, seen) if guided else None
        # The pipeline encodes the pictures for its sampler first of all.
        progress.start("condition")
        return {"image": pictures, **self._guided(sampling, positive, negative)}

    def _as_seen(self, picture: Image.Image) -> Image.Image:
        """At the size in which the text encoder is shown it, as the pipeline itself does."""
        shape = picture.width / picture.height
        width, height = edit_plus.calculate_dimensions(edit_plus.CONDITION_IMAGE_SIZE, shape)
        seen: Image.Image = self._pipeline.image_processor.resize(picture, height, width)
        return seen

    def _embeddings(self, text: str, seen: Sequence[Image.Image]) -> Prompt:
        def encode() -> Prompt:
            embeds, mask = self._pipeline.encode_prompt(text, list(seen), device=self._device)
            return embeds, mask

        contents = tuple(
            (picture.size, hashlib.sha256(picture.tobytes()).digest()) for picture in seen
        )
        return self._prompts.get((text, contents), encode, self._device)


class PromptProcessor:
    """Words and pictures for the text encoder, in place of Qwen2VLProcessor.

    That one cannot be made without torchvision, which has to match torch to the letter; this one
    reads pictures with Pillow, as Qwen2-VL's makers did.
    """

    def __init__(self, tokenizer: Qwen2Tokenizer, pictures: Qwen2VLImageProcessorPil) -> None:
        self._tokenizer = tokenizer
        self._pictures = pictures

    def __call__(
        self, text: Sequence[str], images: Sequence[Image.Image], padding: bool, return_tensors: str
    ) -> BatchFeature:
        """Token ids, and the pictures' pixel values with their grid [pictures, (time, y, x)]."""
        read = self._pictures(images=list(images), return_tensors=return_tensors)
        merged = self._pictures.merge_size**2
        patches = [int(grid.prod()) // merged for grid in read["image_grid_thw"]]
        tokens = self._tokenizer(
            [_spread(one, patches) for one in text], padding=padding, return_tensors=return_tensors
        )
        return BatchFeature({**tokens, **read})


def _spread(text: str, patches: Sequence[int]) -> str:
    """The text with each picture's stand-in repeated once for every patch."""
    first, *rest = text.split(_PATCH)
    return first + "".join(_PATCH * count + part for count, part in zip(patches, rest, strict=True))


@contextmanager
def reference_areas(canvas: Canvas) -> Iterator[None]:
    """Bring pictures to the areas that the weights were trained with, not to the pipeline's own.

    Constants of its module are the only way to tell it.
    """
    before = edit_plus.VAE_IMAGE_SIZE, edit_plus.CONDITION_IMAGE_SIZE
    edit_plus.VAE_IMAGE_SIZE = canvas.reference_area
    edit_plus.CONDITION_IMAGE_SIZE = canvas.instruction_area
    try:
        yield
    finally:
        edit_plus.VAE_IMAGE_SIZE, edit_plus.CONDITION_IMAGE_SIZE = before


def _pictures(plan: Plan) -> list[Image.Image]:
    """The picture to edit, then those beside it."""
    task = plan.task
    if not isinstance(task, Edit):
        raise EngineFailed("Editing needs a picture: add one and run the job again.")
    source = fit_longest_side(load_image(task.source), task.longest_side)
    return [source, *(load_image(path) for path in task.references)]
