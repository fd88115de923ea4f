"""A job's progress on a terminal, or as one line a stage where nobody watches."""

import time
from typing import TextIO

from studio.cli_line import RedrawnLine
from studio.events import StageStarted, StepDone
from studio.runner import JobEvent, Planned

_BAR = 24
"""Characters; leaves room for a label and counts in 80 columns."""


class ProgressLine(RedrawnLine):
    """Listens to a job and writes where it is."""

    def __init__(self, stream: TextIO) -> None:
        super().__init__(stream)
        self._labels: tuple[str, ...] = ()
        self._label = ""
        self._begun = time.monotonic()

    def __call__(self, event: JobEvent) -> None:
        """Show the event, where it moves the job on."""
        if isinstance(event, Planned):
            self._labels = tuple(event.stages.values())
            self._stream.write(f"{event.engine}, weights: {event.weights}\n")
            self._stream.flush()
        elif isinstance(event, StageStarted):
            self._start(event.index)
        elif isinstance(event, StepDone) and self._alive:
            self._draw(event.done, event.of)

    def _start(self, index: int) -> None:
        label = self._labels[index] if index < len(self._labels) else f"Stage {index + 1}"
        self._label = f"{index + 1}/{len(self._labels)} {label}"
        if self._alive:
            self._draw(0, 0)
        else:
            self.redraw(self._label)

    def _draw(self, done: int, of: int) -> None:
        filled = _BAR * done // of if of else 0
        bar = f" [{'#' * filled}{'.' * (_BAR - filled)}] {done}/{of}" if of else ""
        seconds = time.monotonic() - self._begun
        self.redraw(f"{self._label}{bar} · {seconds:.0f} s")
