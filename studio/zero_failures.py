"""Why ZeroGPU gave no GPU, or took it back: told apart by what the package `spaces` says.

Its errors have a title and a message and no class of their own. Messages may hold HTML, so none
of them is ever shown: each kind has a sentence of ours, and links from a table.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass

from studio.errors import GpuFailed, GpuFailure

DOCS = "https://huggingface.co/docs/hub/spaces-zerogpu"
LOGIN = "https://huggingface.co/login"
JOIN = "https://huggingface.co/join"
PRO = "https://huggingface.co/subscribe/pro"
BILLING = "https://huggingface.co/settings/billing"

ENDED_BY_TIME = 0.9
"""Share of the declared time from which an aborted call counts as one that ran out of it.

ZeroGPU says the same of a call that it ended and of a worker that died, so the clock has to tell;
the rest is for the start of the worker, which counts and is not seen.
"""


RETRIES: tuple[GpuFailure, ...] = ("gpu-time", "gpu-time-again")
"""Failures after which the next try asks for twice the time; the page makes the first by itself."""

RETRYING = "Retrying with extended GPU budget: twice the time is asked for."
"""The video document's banner."""


@dataclass(frozen=True)
class Held:
    """One call for a GPU: what was declared, what may be, and how long the worker was heard."""

    declared: int
    """Seconds."""
    limit: int
    """Seconds that the visitor may declare at most, as far as it is known."""
    seconds: float
    """Since the worker's first word; 0 where it said none."""
    again: bool
    """Whether the time was doubled already."""


_CLUES: tuple[tuple[str, GpuFailure], ...] = (
    # Before "quota": for visitors without a token a wait in vain has the title of a quota.
    ("No GPU was available after", "gpu-busy"),
    ("No GPU was available", "gpu-none"),
    ("Expired ZeroGPU proxy token", "gpu-token"),
    ("ZeroGPU pending credits exceeded", "gpu-credits"),
    ("ZeroGPU illegal duration", "gpu-duration"),
    ("reached its GPU limit", "gpu-login"),
    ("runs limit", "gpu-runs"),
    ("quota exceeded", "gpu-quota"),
    ("GPU task aborted", "gpu-crash"),
    ("ZeroGPU worker error", "gpu-crash"),
)
"""What title and message contain, the first that fits; read in spaces 0.51.3, `zero/client.py`
and `zero/wrappers.py`."""

_SENTENCES: Mapping[GpuFailure, str] = {
    "gpu-busy": "No GPU became free within a minute: run it again in a moment.",
    "gpu-none": "ZeroGPU has no GPU to give now: run it again in a few minutes.",
    "gpu-token": "Your pass to ZeroGPU has expired: load the page again and run it again.",
    "gpu-credits": "Your running jobs hold all of your ZeroGPU credits: run it again once one of"
    " them has ended.",
    "gpu-duration": "This was to take {declared} s of GPU time, more than your account may take at"
    " once: choose a smaller size, fewer frames or a faster preset, or run it again and it asks"
    " for less.",
    "gpu-login": "Without an account there is no GPU time left for you here: log in, and open the"
    " Space on huggingface.co.",
    "gpu-runs": "You have used all ZeroGPU runs that your account has for now: try again later.",
    "gpu-quota": "Your ZeroGPU quota is used up: try again later.",
    "gpu-time": "The GPU was taken back after the {declared} s that were asked for.",
    "gpu-time-again": "The GPU was taken back again, after {declared} s: run it again with more"
    " time, or choose a smaller size, fewer frames or a faster preset.",
    "gpu-time-most": "The GPU was taken back after {declared} s, the most that may be asked for:"
    " choose a smaller size, fewer frames or a faster preset.",
    "gpu-crash": "The process on the GPU has died, perhaps for want of memory: run it again, or"
    " choose a smaller size.",
    "gpu-service": "ZeroGPU did not answer as it should: run it again in a moment.",
}

LINKS: Mapping[str, tuple[tuple[str, str], ...]] = {
    "gpu-login": (("Log in", LOGIN), ("Create an account", JOIN)),
    "gpu-quota": (("About the quota", DOCS), ("More with PRO", PRO)),
    "gpu-runs": (("About the quota", DOCS), ("More with PRO", PRO)),
    "gpu-duration": (("About the quota", DOCS), ("More with PRO", PRO)),
    "gpu-time-most": (("About the quota", DOCS), ("More with PRO", PRO)),
    "gpu-credits": (("Your credits", BILLING),),
}
"""Text and address of what helps, by kind."""

_NUMBERS = re.compile(
    r"\((?P<requested>\d+)s requested vs\. (?P<left>\d+)s left\)\."
    r" Try again in (?P<wait>[\d:]+|\d+ days?, [\d:]+)\."
)


def failure_of(error: BaseException, held: Held) -> GpuFailed:
    """What the visitor is told of an error of the call."""
    said = f"{getattr(error, 'title', '')} | {getattr(error, 'message', None) or error}"
    found = (kind for clue, kind in _CLUES if clue in said)
    kind: GpuFailure = next(found, "gpu-service")
    if "GPU task aborted" in said and held.seconds >= ENDED_BY_TIME * held.declared:
        kind = _out_of_time(held)
    return GpuFailed(_sentence(kind, said, held), kind)


def _out_of_time(held: Held) -> GpuFailure:
    if held.declared >= held.limit:
        return "gpu-time-most"
    return "gpu-time-again" if held.again else "gpu-time"


def _sentence(kind: GpuFailure, said: str, held: Held) -> str:
    numbers = _NUMBERS.search(said) if kind == "gpu-quota" else None
    if numbers:
        return (
            f"Your ZeroGPU quota is too low: this asks for {numbers['requested']} s and"
            f" {numbers['left']} s are left; there is more in {numbers['wait']} (h:min:s)."
        )
    return _SENTENCES[kind].format(declared=held.declared)
