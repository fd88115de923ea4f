"""How time and memory grow with frames, size, steps and LoRAs, as tables and plots.

Run as `python -m bench.growth [RUNS]`: the median of so many runs a point. Demo weights on the
diffusers engine; CPU time by stage, and the most memory that the process had while the run went.
Plots are written to docs/pictures.
"""

import statistics
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import count
from pathlib import Path
from typing import cast

from image_plans import lora_for
from requests_of_modes import Media, raw_request

from bench.growth_plot import Line, plot
from bench.pairs import table
from studio.diffusers_engine import DiffusersEngine
from studio.events import Event, StageStarted
from studio.home import Home
from studio.plan import Clip, Plan
from studio.planning import plan_request
from studio.request import read_request

RUNS = int(sys.argv[1]) if len(sys.argv) > 1 else 3
PICTURES = Path(__file__).parent.parent / "docs" / "pictures"

FRAMES = (9, 25, 49, 73, 97, 121)
SIDES = (128, 192, 256, 320, 384)
STEPS = (5, 10, 20, 40)
LORAS = (0, 1, 2, 3, 4)


@dataclass(frozen=True)
class Point:
    """One run, in seconds of CPU time and MB of memory."""

    stages: Mapping[str, float]
    memory: float

    @property
    def whole(self) -> float:
        return sum(self.stages.values())


def main() -> int:
    """Print a Markdown table for each, and draw them."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        home, media = Home(folder / "home"), Media(folder / "media")
        engine, numbers = DiffusersEngine(), count()
        for subject, plans in _subjects(home, media, folder).items():
            points: dict[float, list[Point]] = defaultdict(list)
            for run in range(RUNS + 1):
                for value, plan in plans.items():
                    scratch = folder / f"run {next(numbers)}"
                    scratch.mkdir()
                    point = _run(engine, replace(plan, seed=run), scratch)
                    # The first loads, encodes and has torch choose its ways.
                    points[value] += [point] if run else []
            sys.stdout.write(_report(subject, {v: _median(p) for v, p in points.items()}))
            sys.stdout.flush()
    return 0


def _subjects(home: Home, media: Media, folder: Path) -> Mapping[str, Mapping[float, Plan]]:
    clip, picture = _plan(home, media, "t2v"), _plan(home, media, "photo")
    task, sampling = cast(Clip, clip.task), picture.sampling[0]
    clip = replace(clip, width=128, height=128)
    loras = [lora_for(folder / f"lora{number}.safetensors", picture) for number in LORAS]
    return {
        "frames": {n: replace(clip, task=replace(task, frames=n)) for n in FRAMES},
        "side of a frame": {
            side: replace(clip, width=side, height=side, task=replace(task, frames=25))
            for side in SIDES
        },
        "steps": {n: replace(picture, sampling=(replace(sampling, steps=n),)) for n in STEPS},
        "LoRAs": {n: replace(picture, loras=tuple(loras[:n])) for n in LORAS},
    }


def _plan(home: Home, media: Media, mode: str) -> Plan:
    raw = raw_request(mode, media, engine="diffusers", preset="fast")
    (plan,) = plan_request(read_request(home, mode, raw))
    return plan


def _run(engine: DiffusersEngine, plan: Plan, scratch: Path) -> Point:
    spent: dict[str, float] = defaultdict(float)
    stage, begun = plan.stages[0].id, time.process_time()

    def hear(event: Event) -> None:
        nonlocal stage, begun
        if isinstance(event, StageStarted):
            now = time.process_time()
            spent[stage] += now - begun
            stage, begun = plan.stages[event.index].id, now

    _forget_peak()
    engine.run(plan, hear, scratch)
    spent[stage] += time.process_time() - begun
    return Point(dict(spent), _peak())


def _median(points: list[Point]) -> Point:
    names = dict.fromkeys(name for point in points for name in point.stages)
    stages = {
        name: statistics.median(point.stages.get(name, 0.0) for point in points) for name in names
    }
    return Point(stages, statistics.median(point.memory for point in points))


def _forget_peak() -> None:
    # Has Linux count the most memory anew (proc(5), clear_refs).
    Path("/proc/self/clear_refs").write_text("5")


def _peak() -> float:
    line = next(one for one in _status() if one.startswith("VmHWM"))
    return float(line.split()[1]) / 1000


def _status() -> Iterator[str]:
    yield from Path("/proc/self/status").read_text().splitlines()


def _report(subject: str, points: Mapping[float, Point]) -> str:
    names = list(dict.fromkeys(name for point in points.values() for name in point.stages))
    rows = [
        [value, *(point.stages.get(name, 0.0) for name in names), point.whole, point.memory]
        for value, point in points.items()
    ]
    lines = [
        Line(name, [(value, point.stages.get(name, 0.0)) for value, point in points.items()])
        for name in names
    ]
    whole = Line("all", [(value, point.whole) for value, point in points.items()])
    file = PICTURES / f"growth-{subject.split()[0].lower()}.svg"
    file.write_text(plot(subject, "CPU time (s)", [whole, *lines]))
    head = [subject, *(f"{name} (s)" for name in names), "all (s)", "memory (MB)"]
    return f"{table(head, rows)}\n\n"


if __name__ == "__main__":
    sys.exit(main())
