"""What a running job says, through the `emit` callable that its engine is given."""

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class StageStarted:
    """Stage `index` (from 0) of the plan's stages begins; `steps` is 0 where none are counted."""

    index: int
    steps: int = 0


@dataclass(frozen=True)
class StepDone:
    """`done` of the current stage's `of` steps are finished."""

    done: int
    of: int


@dataclass(frozen=True)
class PreviewReady:
    """A small JPEG of what the latents look like now."""

    jpeg: bytes


@dataclass(frozen=True)
class Note:
    """One sentence that belongs to the result: a fallback taken, a partly matched LoRA."""

    text: str


@dataclass(frozen=True)
class MemoryUsed:
    """How full the device is now, with what other programs hold: "VRAM" or "RAM", in bytes."""

    kind: str
    used: int
    total: int


@dataclass(frozen=True)
class StillAtWork:
    """Nothing new: lets `emit` stop a step that takes long. May come from another thread."""


Event = StageStarted | StepDone | PreviewReady | Note | MemoryUsed | StillAtWork

Emit = Callable[[Event], None]
"""Called by the engine at least once a step. Raises `Cancelled` when the job must stop."""
