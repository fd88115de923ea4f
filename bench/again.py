"""What a job costs after another: a new seed, another prompt, a mode or an engine and back.

Run as `python -m bench.again`. Each round begins with nothing loaded. Loads and encodings are
counted, not guessed from the times. ComfyUI's part is left out where there is none.
"""

import sys
import tempfile
from collections import Counter, defaultdict
from collections.abc import Callable, Hashable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from unittest.mock import patch

import comfy_here
from requests_of_modes import Media, raw_request

from bench.pairs import ROUNDS, Times, cpu, table, timed, wall
from studio import diffusers_engine
from studio.comfy_run import ComfyRun
from studio.diffusers_prompts import Embeddings, PromptCache
from studio.home import Home
from studio.modes import MODES
from studio.production import Production
from studio.studio import Studio, open_studio
from studio.torch_device import Device
from studio.weights import Weights
from studio.weights_demo import ensure_demo

PACK = comfy_here.PACKS / "tiny_gemma"
KINDS = ("loads", "encodings")


@dataclass(frozen=True)
class Base:
    """The mode and engine whose jobs are looked at, and where it is left for."""

    engine: str
    mode: str
    other_mode: str
    other: tuple[str, str]
    """Engine and mode."""


BASES = (
    Base("diffusers", "photo", "image", ("comfy", "t2v")),
    Base("diffusers", "t2v", "i2v", ("comfy", "t2v")),
    Base("comfy", "t2v", "i2v", ("diffusers", "photo")),
)


@dataclass
class Bench:
    """A studio on tiny weights, whose runner is called by hand."""

    studio: Studio
    production: Production
    media: Media
    counted: Counter[str] = field(default_factory=Counter)
    seed: int = 0

    def job(self, engine: str, mode: str, prompt: str = "a red circle") -> None:
        """Makes one result with a seed of its own."""
        self.seed += 1
        size = {"width": 256, "height": 256, "seconds": 1} if MODES[mode].makes == "video" else {}
        raw = raw_request(
            mode, self.media, engine=engine, preset="fast", seed=self.seed, prompt=prompt
        )
        job = self.studio.submit("bench", mode, {**raw, **size})
        done = self.studio.runner.run_one(job.id)
        if done.state != "done":
            sys.exit(f"{mode} on {engine} ended as {done.state}: {done.failure}")


def main() -> int:
    """Print a Markdown table for each base."""
    reason = comfy_here.reason_to_skip()
    with tempfile.TemporaryDirectory() as folder:
        home = Home(Path(folder) / "home")
        _prepare(home, with_comfy=not reason)
        production = Production(home)
        bench = Bench(open_studio(home, production), production, Media(Path(folder) / "media"))
        with _counting(bench.counted):
            for base in BASES:
                if reason and base.engine == "comfy":
                    sys.stdout.write(f"{reason}\n")
                    continue
                sys.stdout.write(f"{_table(bench, base, with_comfy=not reason)}\n\n")
                sys.stdout.flush()
    return 0


def _prepare(home: Home, with_comfy: bool) -> None:
    """What only the first job of a process pays: imports, demo weights, ComfyUI's start."""
    diffusers_engine.import_runners()
    for family in {mode.family for mode in MODES.values()}:
        ensure_demo(home, family)
    if with_comfy:
        from studio.comfy_boot import boot

        boot(home, [PACK])
        import comfy_weights

        comfy_weights.write_weights(home)


def _table(bench: Bench, base: Base, with_comfy: bool) -> str:
    times: dict[str, list[Times]] = defaultdict(list)
    counts: dict[str, Counter[str]] = {}
    bench.job(base.engine, base.mode)
    for _ in range(ROUNDS):
        bench.production.release()
        for name, leave, job in _steps(bench, base, with_comfy):
            leave()
            bench.counted.clear()
            times[name].append(timed(job))
            counts[name] = Counter(bench.counted)
    first = times["first"]
    rows = [
        [name, wall(found), wall(found) / wall(first), cpu(found) / cpu(first)]
        + [counts[name][kind] for kind in KINDS]
        for name, found in times.items()
    ]
    head = [f"{base.mode}, {base.engine}", "s", "over the first", "of CPU time", *KINDS]
    return table(head, rows)


def _steps(
    bench: Bench, base: Base, with_comfy: bool
) -> Iterator[tuple[str, Callable[[], None], Callable[[], None]]]:
    """The name of a job, what comes before it, and the job."""

    def same() -> None:
        bench.job(base.engine, base.mode)

    def nothing() -> None:
        pass

    yield "first", nothing, same
    yield "new seed", nothing, same
    # A new one in each round.
    prompt = f"a blue square, number {bench.seed}"
    yield "another prompt", nothing, lambda: bench.job(base.engine, base.mode, prompt)
    yield "prompt before that", nothing, same
    away = base.other_mode
    yield f"back from {away}", lambda: bench.job(base.engine, away), same
    if with_comfy:
        engine, mode = base.other
        yield f"back from {engine}", lambda: bench.job(engine, mode), same


@contextmanager
def _counting(counted: Counter[str]) -> Iterator[None]:
    """Counts weights that are read and prompts that go through a text encoder, in both engines."""
    load, get, heard = diffusers_engine._load, PromptCache.get, ComfyRun._on_event

    def count_load(weights: Weights, device: Device) -> diffusers_engine.FamilyRunner:
        counted["loads"] += 1
        return load(weights, device)

    def count_encode(
        self: PromptCache, key: Hashable, encode: Callable[[], Embeddings], device: str
    ) -> Embeddings:
        def counting() -> Embeddings:
            counted["encodings"] += 1
            return encode()

        return get(self, key, counting, device)

    def count_node(self: ComfyRun, event: str, data: Mapping[str, object]) -> None:
        # The executor says so of what it runs, and not of what it has in its cache.
        node = self._graph.nodes.get(str(data.get("node")), {})
        if event == "executing":
            counted["loads"] += "Loader" in node.get("class_type", "")
            counted["encodings"] += node.get("class_type") == "CLIPTextEncode"
        heard(self, event, data)

    with (
        patch.object(diffusers_engine, "_load", count_load),
        patch.object(PromptCache, "get", count_encode),
        patch.object(ComfyRun, "_on_event", count_node),
    ):
        yield


if __name__ == "__main__":
    sys.exit(main())
