"""The line that shows how far a download is: redrawn on a terminal, elsewhere printed at times."""

import time
from typing import Protocol

from studio.cli_line import RedrawnLine
from studio.weights_hub import FetchProgress

GIGABYTE = 1e9

_LOOK_SECONDS = 0.05
_TERMINAL_SECONDS = 0.5
_LOG_SECONDS = 15.0


class Followed(Protocol):
    """A download that runs in threads of its own."""

    @property
    def progress(self) -> FetchProgress: ...

    def cancel(self) -> None: ...

    def wait(self, seconds: float | None = None) -> object: ...


class FetchLine(RedrawnLine):
    """Follows one download. Ctrl+C stops it; what has arrived is kept."""

    def follow(self, download: Followed) -> None:
        """Until it has ended. Raises what the download raises."""
        seconds = _TERMINAL_SECONDS if self._alive else _LOG_SECONDS
        try:
            while not _is_over(download):
                self.redraw(line(download.progress))
                until = time.monotonic() + seconds
                while time.monotonic() < until and not _is_over(download):
                    time.sleep(_LOOK_SECONDS)
        except KeyboardInterrupt:
            download.cancel()
            raise
        download.wait()
        self.redraw(line(download.progress))


def _is_over(download: Followed) -> bool:
    return download.progress.state in ("done", "failed", "cancelled")


def line(progress: FetchProgress) -> str:
    """How far it is, in one line."""
    if progress.state in ("waiting", "asking"):
        return "Asking the Hub …"
    done, total = progress.bytes_done / GIGABYTE, progress.bytes_total / GIGABYTE
    parts = [f"{done:.2f} of {total:.2f} GB"]
    if progress.bytes_per_second:
        parts.append(f"{progress.bytes_per_second / 1e6:.1f} MB/s")
    if progress.seconds_left is not None and progress.state == "fetching":
        parts.append(f"{_clock(progress.seconds_left)} left")
    parts += [", ".join(progress.current)] if progress.current else []
    parts += [progress.note] if progress.note else []
    return " · ".join(parts)


def _clock(seconds: float) -> str:
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{seconds:02}" if hours else f"{minutes}:{seconds:02}"
