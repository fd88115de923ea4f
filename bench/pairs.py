"""Times of runs that take turns, and their ratios: a busy machine slows both of a pair alike."""

import os
import platform
import resource
import statistics
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

ROUNDS = 5
"""Odd, so that a median is a run that was."""


@dataclass(frozen=True)
class Times:
    """Seconds of one run."""

    wall: float
    cpu: float
    """Of all threads of this process, and of the processes that it has started and that have
    ended; other programs do not disturb it."""


def timed(run: Callable[[], object]) -> Times:
    """What `run` takes."""
    wall, cpu = time.monotonic(), _used()
    run()
    return Times(time.monotonic() - wall, _used() - cpu)


def _used() -> float:
    whose = (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    return sum(used.ru_utime + used.ru_stime for used in map(resource.getrusage, whose))


def in_turns(
    runs: Mapping[str, Callable[[int], Times]], rounds: int = ROUNDS
) -> dict[str, list[Times]]:
    """The times of each run, called with a number of its own; every other round goes backwards."""
    found: dict[str, list[Times]] = {name: [] for name in runs}
    for number in range(rounds):
        for offset, name in enumerate(list(runs) if number % 2 else list(reversed(runs))):
            found[name].append(runs[name](number * len(runs) + offset))
    return found


def wall(times: Iterable[Times]) -> float:
    """The median of the wall times."""
    return statistics.median(one.wall for one in times)


def cpu(times: Iterable[Times]) -> float:
    """The median of the CPU times."""
    return statistics.median(one.cpu for one in times)


def ratios(over: Sequence[Times], under: Sequence[Times]) -> tuple[float, float]:
    """The medians of the pairs' ratios: of wall and of CPU time."""
    pairs = list(zip(over, under, strict=True))
    return (
        statistics.median(one.wall / other.wall for one, other in pairs),
        statistics.median(one.cpu / other.cpu for one, other in pairs),
    )


def percentile(values: Sequence[float], share: float) -> float:
    """The value that `share` of them, from 0 to 1, do not exceed."""
    return sorted(values)[min(len(values) - 1, int(share * len(values)))]


def table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """A Markdown table; numbers with two places."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(map(_cell, line))} |" for line in lines)


def machine() -> str:
    """Where and beside what it was measured."""
    return (
        f"{time.strftime('%Y-%m-%d')}, {os.cpu_count()} cores, {platform.system()}"
        f" {platform.release()}, Python {platform.python_version()}, load {os.getloadavg()[0]:.1f}"
    )


def _cell(value: object) -> str:
    return f"{value:.2f}" if isinstance(value, float) else str(value)
