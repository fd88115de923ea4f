"""The device that the pipelines run on: which one, what goes there, and when it is full."""

import gc
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch

from studio.errors import OutOfMemory

# How the backends that raise a bare RuntimeError for it say that memory is out.
_OUT_OF_MEMORY_SIGNS = (
    "out of memory",
    "can't allocate memory",
    "not enough memory",
    "CUBLAS_STATUS_ALLOC_FAILED",
)


@dataclass(frozen=True)
class Device:
    """Where a pipeline computes and in which number format."""

    name: str
    dtype: torch.dtype


def best_device() -> Device:
    """CUDA, else Apple's MPS, else the CPU."""
    if torch.cuda.is_available():
        return Device("cuda", torch.bfloat16)
    if torch.backends.mps.is_available():
        return Device("mps", torch.bfloat16 if _mps_has_bfloat16() else torch.float32)
    # CPUs without AVX512-BF16 or AMX compute bfloat16 several times slower than float32.
    return Device("cpu", torch.float32)


def _mps_has_bfloat16() -> bool:
    """macOS before 14 refuses it; float16 is no way out, its range ends in black pictures."""
    try:
        torch.zeros(1, dtype=torch.bfloat16, device="mps")
    except (TypeError, RuntimeError):
        return False
    return True


def release_memory() -> None:
    """Give memory that nothing refers to any more back to the device."""
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    elif torch.backends.mps.is_available():
        torch.mps.empty_cache()


def generator(seed: int) -> torch.Generator:
    """Noise is drawn on the CPU, so that a seed means the same picture on every device."""
    return torch.Generator("cpu").manual_seed(seed)


def is_out_of_memory(error: BaseException) -> bool:
    """Whether the device, or the computer, had no memory left."""
    if isinstance(error, (torch.OutOfMemoryError, MemoryError)):
        return True
    text = str(error)
    return isinstance(error, RuntimeError) and any(sign in text for sign in _OUT_OF_MEMORY_SIGNS)


@contextmanager
def engine_errors(stage: Callable[[], str | None]) -> Iterator[None]:
    """Turns every shape of "no memory left" into OutOfMemory; other errors pass.

    `stage` gives the label of the stage that runs when the error is met.
    """
    try:
        yield
    except Exception as error:
        if not is_out_of_memory(error):
            raise
        raise OutOfMemory(
            "The memory was not enough for this: choose a smaller size or a shorter length, or"
            " close other programs that use the device.",
            stage(),
        ) from error
