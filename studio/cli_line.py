"""A line on a terminal that is written anew each time; elsewhere lines below each other."""

from types import TracebackType
from typing import TextIO, TypeVar

Line = TypeVar("Line", bound="RedrawnLine")


class RedrawnLine:
    """Use as a context, which closes the line."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._alive = stream.isatty()
        """Whether somebody watches a terminal."""
        self._open = False

    def __enter__(self: Line) -> Line:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._open:
            self._stream.write("\n")

    def redraw(self, text: str) -> None:
        """Show the text in the place of what was shown before."""
        self._stream.write(f"\r\x1b[K{text}" if self._alive else f"{text}\n")
        self._stream.flush()
        self._open = self._alive
