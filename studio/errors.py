"""The studio's own errors. Their text is one plain sentence that a user can act on."""

import re
from pathlib import Path
from typing import Literal

FetchFailure = Literal[
    "no-token",
    "licence",
    "denied",
    "not-found",
    "offline",
    "no-network",
    "busy",
    "stalled",
    "corrupt",
    "disk-full",
    "disk",
]
"""The ways in which a file of the Hub cannot be had."""


GpuFailure = Literal[
    "gpu-busy",
    "gpu-none",
    "gpu-token",
    "gpu-credits",
    "gpu-duration",
    "gpu-login",
    "gpu-runs",
    "gpu-quota",
    "gpu-time",
    "gpu-time-again",
    "gpu-time-most",
    "gpu-crash",
    "gpu-service",
]
"""The ways in which a host that lends its GPU for single calls does not, or not long enough."""


_left_out: dict[str, re.Pattern[str]] = {}


def leave_out(*places: Path) -> None:
    """From now on, no sentence of this process says where these folders are.

    For a page that strangers read: a sentence that names what is below such a folder goes by the
    rest of its path. Sentences are made in every room and read in several ways, so it is done
    where all of them are made.
    """
    for place in map(str, places):
        _left_out[place] = re.compile(rf"{re.escape(place)}(?:[/\\](?=[\w.])|(?![\w-]))")


def _without_places(sentence: str) -> str:
    # The longest first: one may be below another.
    for place in sorted(_left_out, key=len, reverse=True):
        sentence = _left_out[place].sub(
            lambda found: "" if found[0][-1] in "/\\" else "the studio's folder", sentence
        )
    return sentence


class StudioError(Exception):
    """Anything the studio refuses or fails to do. `str(error)` is shown to the user as it is."""

    def __init__(self, sentence: str) -> None:
        # It may quote what was sent, where half a character would stop the answer to it.
        readable = sentence.encode("utf-8", "backslashreplace").decode("utf-8")
        super().__init__(_without_places(readable))


class BadInput(StudioError):
    """The request cannot be run as it is; raised before anything is loaded.

    `field` names the control that is wrong, where one control is to blame.
    """

    def __init__(self, sentence: str, field: str | None = None) -> None:
        super().__init__(sentence)
        self.field = field


class MissingWeights(StudioError):
    """A file that the mode needs is not on this machine."""


class NotFound(StudioError):
    """What is asked for is unknown, another owner's, or gone: nobody can tell which."""


class NotAllowed(StudioError):
    """Whoever asks may not have this done, or does not say who asks."""


class FetchFailed(StudioError):
    """A file could not be brought here from the Hub; what has arrived of it is kept."""

    def __init__(self, sentence: str, kind: FetchFailure) -> None:
        super().__init__(sentence)
        self.kind = kind


class EngineFailed(StudioError):
    """The engine could not finish. `stage` is the label of the stage that failed."""

    def __init__(self, sentence: str, stage: str | None = None) -> None:
        super().__init__(sentence)
        self.stage = stage


class OutOfMemory(EngineFailed):
    """The device ran out of memory."""


class WorkerLost(EngineFailed):
    """The machine that made an item is gone, or cannot be reached: nothing is to blame but it."""


class GpuFailed(StudioError):
    """The host lent no GPU, or took it back too early."""

    def __init__(self, sentence: str, kind: GpuFailure) -> None:
        super().__init__(sentence)
        self.kind = kind


class Interrupted(StudioError):
    """The job cannot go on as it is, through no fault of its own; run again, it can."""


class Cancelled(StudioError):
    """The user asked to stop. Raised through `emit`; an engine lets it pass."""
