"""Times the ComfyUI engine against the bare executor on the same graphs, in one process.

Run as `AIO_COMFYUI=DIR PYTHONPATH=tests python -m bench.comfy_overhead`. Tiny random weights; each
pair has its own seed, so both sample and neither finds the other's result in a cache.
"""

import asyncio
import copy
import importlib
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import comfy_weights
from requests_of_modes import Media, raw_request

from studio.comfy_boot import boot
from studio.comfy_engine import ComfyEngine
from studio.comfy_graph import Graph
from studio.comfy_graphs import RESULT, bind
from studio.comfy_inputs import write_inputs
from studio.comfy_latents import Sampled
from studio.home import Home
from studio.modes import MODES
from studio.plan import Clip, Plan
from studio.planning import plan_request
from studio.request import read_request

ROUNDS = 5
PACK = Path(__file__).parent.parent / "tests" / "comfy_packs" / "tiny_gemma"


def main() -> int:
    """Print a Markdown table: boot, medians of both and their ratio by mode."""
    with tempfile.TemporaryDirectory() as folder:
        home = Home(Path(folder) / "home")
        media = Media(Path(folder) / "media")
        begun = time.monotonic()
        engine = ComfyEngine(home, [PACK])
        lines = [f"Boot: {time.monotonic() - begun:.1f} s.", ""]
        comfy_weights.write_weights(home)
        lines += [
            "| mode | first (s) | engine (s) | bare executor (s) | ratio |",
            "|---|---|---|---|---|",
        ]
        lines += [
            _row(home, engine, media, mode.id) for mode in MODES.values() if mode.makes == "video"
        ]
    sys.stdout.write("\n".join(lines) + "\n")
    return 0


def _row(home: Home, engine: ComfyEngine, media: Media, mode_id: str) -> str:
    first = _timed(lambda: _run_engine(home, engine, _plan(home, media, mode_id, 0)))
    ours, bare = [], []
    for number in range(ROUNDS):
        plan = _plan(home, media, mode_id, 2 * number + 1)
        ours.append(_timed(lambda plan=plan: _run_engine(home, engine, plan)))
        plan = _plan(home, media, mode_id, 2 * number + 2)
        bare.append(_timed(lambda plan=plan: _run_bare(home, plan)))
    ratio = statistics.median(one / other for one, other in zip(ours, bare, strict=True))
    medians = f"{statistics.median(ours):.2f} | {statistics.median(bare):.2f}"
    return f"| {mode_id} | {first:.2f} | {medians} | {ratio:.2f} |"


def _timed(run: Callable[[], None]) -> float:
    begun = time.monotonic()
    run()
    return time.monotonic() - begun


def _plan(home: Home, media: Media, mode_id: str, seed: int) -> Plan:
    length = {} if mode_id in ("a2v", "lipsync", "style") else {"seconds": 1}
    raw = raw_request(
        mode_id, media, engine="comfy", preset="fast", seed=seed, width=256, height=256
    )
    return plan_request(read_request(home, mode_id, {**raw, **length}))[0]


def _run_engine(home: Home, engine: ComfyEngine, plan: Plan) -> None:
    scratch = home.scratch / "bench" / f"{plan.mode}-{plan.seed}"
    scratch.mkdir(parents=True)
    engine.run(plan, lambda event: None, scratch)


def _run_bare(home: Home, plan: Plan) -> None:
    """The same graph and inputs, ending in ComfyUI's own file; nobody listens, nothing is kept."""
    assert isinstance(plan.task, Clip)
    comfy, job = boot(home), f"bare-{plan.mode}-{plan.seed}"
    scratch = home.scratch / "bench" / job
    scratch.mkdir(parents=True)
    comfy.sampled[job] = Sampled(plan, scratch, None)
    folder = home.scratch / "comfy" / "input" / job
    write_inputs(plan, plan.task, folder)
    importlib.import_module("folder_paths").set_input_directory(str(folder))
    graph = bind(plan, job, lambda path: path.name)
    _end_in_a_file(graph, plan.task, job)
    nodes, ends = copy.deepcopy(graph.nodes), [graph.id(RESULT)]
    asyncio.run(importlib.import_module("execution").validate_prompt(job, nodes, ends))
    comfy.executor.execute(nodes, job, {}, ends)
    if "execution_success" not in dict(comfy.executor.status_messages):
        sys.exit(f"The bare run of {plan.mode} failed: {comfy.executor.status_messages[-1]}")
    comfy.sampled.pop(job)


def _end_in_a_file(graph: Graph, clip: Clip, job: str) -> None:
    taken = {
        name: graph.inputs(RESULT)[name]
        for name in ("images", "audio")
        if name in graph.inputs(RESULT)
    }
    video = graph.add("Clip", "CreateVideo", {**taken, "fps": float(clip.fps)})
    inputs = {"video": video, "filename_prefix": job, "format": "auto", "codec": "auto"}
    graph.replace(RESULT, "SaveVideo", inputs)


if __name__ == "__main__":
    sys.exit(main())
