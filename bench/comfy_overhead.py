"""Times the ComfyUI engine against the bare executor on the same graphs, in one process.

Run as `AIO_COMFYUI=DIR PYTHONPATH=tests python -m bench.comfy_overhead [PRESET [ROUNDS]]`. Tiny
random weights; each run has its own seed, so all sample and none finds another's result in a cache.
Pairs take turns in who goes first.
"""

import asyncio
import copy
import importlib
import sys
import tempfile
import time
from functools import partial
from pathlib import Path

import comfy_here
from requests_of_modes import Media, raw_request

from bench.pairs import ROUNDS as USUAL_ROUNDS
from bench.pairs import in_turns, ratios, table, timed, wall
from studio.comfy_boot import boot
from studio.comfy_engine import ComfyEngine
from studio.comfy_graph import Graph
from studio.comfy_graphs import RESULT, SOUND, bind
from studio.comfy_inputs import write_inputs
from studio.comfy_latents import Sampled
from studio.home import Home
from studio.modes import MODES
from studio.plan import Clip, Plan
from studio.planning import plan_request
from studio.progress import Progress
from studio.request import read_request

PRESET = sys.argv[1] if len(sys.argv) > 1 else "fast"
ROUNDS = int(sys.argv[2]) if len(sys.argv) > 2 else USUAL_ROUNDS
FIRST_SEED = 1000
PACK = comfy_here.PACKS / "tiny_gemma"


def main() -> int:
    """Print a Markdown table: boot, medians of both and their ratio by mode."""
    reason = comfy_here.reason_to_skip()
    if reason:
        sys.stdout.write(f"{reason}\n")
        return 0
    with tempfile.TemporaryDirectory() as folder:
        home = Home(Path(folder) / "home")
        media = Media(Path(folder) / "media")
        begun = time.monotonic()
        engine = ComfyEngine(home, [PACK])
        lines = [f"Boot: {time.monotonic() - begun:.1f} s.", ""]
        # It imports ComfyUI's own modules.
        import comfy_weights

        comfy_weights.write_weights(home)
        head = [
            "mode",
            "first (s)",
            "engine (s)",
            "bare executor (s)",
            "ratio",
            "ratio of CPU time",
        ]
        rows = [
            _row(home, engine, media, mode.id) for mode in MODES.values() if mode.makes == "video"
        ]
        lines.append(table(head, rows))
    sys.stdout.write("\n".join(lines) + "\n")
    return 0


def _row(home: Home, engine: ComfyEngine, media: Media, mode_id: str) -> list[object]:
    runs = {
        "ours": lambda seed: timed(
            partial(_run_engine, home, engine, _plan(home, media, mode_id, seed))
        ),
        "bare": lambda seed: timed(partial(_run_bare, home, _plan(home, media, mode_id, seed))),
    }
    first = runs["ours"](FIRST_SEED)
    # What both do only once is behind them then.
    runs["bare"](FIRST_SEED + 1)
    times = in_turns(runs, ROUNDS)
    both = times["ours"], times["bare"]
    return [mode_id, first.wall, wall(both[0]), wall(both[1]), *ratios(*both)]


def _plan(home: Home, media: Media, mode_id: str, seed: int) -> Plan:
    length = {} if mode_id in ("a2v", "lipsync", "style") else {"seconds": 1}
    raw = raw_request(
        mode_id, media, engine="comfy", preset=PRESET, seed=seed, width=256, height=256
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
    write_inputs(plan, plan.task, folder, Progress(plan, lambda event: None))
    importlib.import_module("folder_paths").set_input_directory(str(folder))
    graph = bind(plan, job, lambda kind, path: path.name)
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
    if clip.sound:
        # As the graph's file has it: a sound that was brought is in the clip.
        taken["audio"] = graph.add("Kept sound", "LoadAudio", {"audio": SOUND})
    video = graph.add("Clip", "CreateVideo", {**taken, "fps": float(clip.fps)})
    inputs = {"video": video, "filename_prefix": job, "format": "auto", "codec": "auto"}
    graph.replace(RESULT, "SaveVideo", inputs)


if __name__ == "__main__":
    sys.exit(main())
