"""A job's progress on a terminal, or as one line a stage where nobody watches."""

import time
from types import TracebackType
from typing import TextIO

from studio.events import StageStarted, StepDone
from studio.runner import JobEvent, Planned

_BAR = 24
"""Characters; leaves room for a label and counts in 80 columns."""


class ProgressLine:
    """Listens to a job and writes where it is. Use as a context, which closes the line."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._alive = stream.isatty()
        self._labels: tuple[str, ...] = ()
        self._label = ""
        self._begun = time.monotonic()

    def __enter__(self) -> "ProgressLine":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._alive and self._label:
            self._stream.write("\n")

    def __call__(self, event: JobEvent) -> None:
        """Show the event, where it moves the job on."""
        if isinstance(event, Planned):
            self._labels = tuple(event.stages.values())
            self._stream.write(f"{event.engine}, weights: {event.weights}\n")
        elif isinstance(event, StageStarted):
            self._start(event.index)
        elif isinstance(event, StepDone) and self._alive:
            self._draw(event.done, event.of)
        self._stream.flush()

    def _start(self, index: int) -> None:
        label = self._labels[index] if index < len(self._labels) else f"Stage {index + 1}"
        self._label = f"{index + 1}/{len(self._labels)} {label}"
        if self._alive:
            self._draw(0, 0)
        else:
            self._stream.write(f"{self._label}\n")

    def _draw(self, done: int, of: int) -> None:
        filled = _BAR * done // of if of else 0
        bar = f" [{'#' * filled}{'.' * (_BAR - filled)}] {done}/{of}" if of else ""
        seconds = time.monotonic() - self._begun
        self._stream.write(f"\r\x1b[K{self._label}{bar} · {seconds:.0f} s")
