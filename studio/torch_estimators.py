"""Models of transformers that look at the frames of a clip, a few at a time."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError

from studio.diffusers_setup import prepare_libraries
from studio.errors import MissingWeights
from studio.media_clips import Frames
from studio.torch_device import best_device

BATCH = 4
"""Frames at once: enough to fill a GPU, few enough for a cancel to be heard soon."""

Done = Callable[[int], None]
"""Called with the number of frames that are finished; may raise Cancelled."""


def load_estimator(class_name: str, folder: Path) -> Any:  # noqa: ANN401
    """The model of a class of transformers, on the best device, ready to look.

    In float32 on every device: these models are small, and bfloat16 has too few steps for a
    smooth depth map. Raises MissingWeights where its files are not whole.
    """
    model = _from_folder(class_name, folder, dtype=torch.float32, use_safetensors=True)
    return model.eval().to(best_device().name)


def load_reader(class_name: str, folder: Path) -> Callable[[Frames], torch.Tensor]:
    """The image processor of a class of transformers, for frames [n, height, width, 3].

    It scales them as the model wants to see them. Raises MissingWeights.
    """
    processor = _from_folder(class_name, folder)

    def read(frames: Frames) -> torch.Tensor:
        pixels: torch.Tensor = processor(
            list(frames), input_data_format="channels_last", return_tensors="pt"
        )["pixel_values"]
        return pixels

    return read


def batches(frames: Frames, done: Done) -> Iterator[Frames]:
    """The frames in order, BATCH at a time; `done` hears of each batch after it was used."""
    for start in range(0, len(frames), BATCH):
        batch = frames[start : start + BATCH]
        yield batch
        done(start + len(batch))


def _from_folder(class_name: str, folder: Path, **options: Any) -> Any:  # noqa: ANN401
    prepare_libraries()
    import transformers

    try:
        return getattr(transformers, class_name).from_pretrained(
            folder, local_files_only=True, **options
        )
    except (OSError, SafetensorError) as error:
        raise MissingWeights(
            f"The model in '{folder}' is not whole: fetch it again, or choose Edges."
        ) from error
