"""The engine that runs the video modes as ComfyUI graphs, inside this process."""

import gc
import hashlib
import importlib
import shutil
import threading
import uuid
from collections.abc import Sequence
from pathlib import Path
from typing import cast

from studio.clip_media import given_sound
from studio.comfy_boot import boot, linked_models
from studio.comfy_graph import Graph
from studio.comfy_graphs import WORKFLOWS, bind, own_graphs
from studio.comfy_inputs import stage_placeholders, write_inputs
from studio.comfy_latents import Sampled
from studio.comfy_result import Result
from studio.comfy_run import ComfyRun
from studio.disk import disk_errors
from studio.errors import EngineFailed, MissingWeights, OutOfMemory
from studio.events import Emit
from studio.home import Home
from studio.media_clips import write_clip
from studio.media_sound import Sound, fit_length
from studio.model_places import folders, is_whole_model
from studio.modes import DECODE
from studio.plan import Clip, EstimatedMap, Plan
from studio.progress import Progress
from studio.torch_device import engine_errors
from studio.torch_latents import load_latents
from studio.weights_link import link_into

FILE_NAME = "clip.mp4"

SMALL_TILES = {"tile_size": 256, "overlap": 64, "temporal_size": 64, "temporal_overlap": 16}
"""Pixels and frames that the decoder sees at once when the graph's own tiles were too much."""

ESTIMATOR_BYTES = 3 * 1000**3
"""Depth Anything V2 Small takes 1.3 GB for four wide frames, measured on a CPU, and the two models
of a pose no more; a GPU's libraries want room of their own."""


class ComfyEngine:
    """ComfyUI with its caches warm between jobs; see `studio.engine.Engine`.

    A graph of the user's in `<home>/workflows/<mode>.json` goes before the studio's own.
    `packs` are folders of node packs, None for those in ComfyUI's own `custom_nodes`. Raises
    EngineFailed where ComfyUI cannot be started.
    """

    def __init__(self, home: Home, packs: Sequence[Path] | None = None) -> None:
        self._home = home
        self._comfy = boot(home, packs)
        self._lock = threading.Lock()

    @property
    def failed_packs(self) -> tuple[str, ...]:
        """Names of node packs that could not be loaded."""
        return self._comfy.failed_packs

    def run(self, plan: Plan, emit: Emit, scratch: Path) -> Path:
        """Make the plan's clip inside `scratch`; events and errors as `Engine.run` says."""
        with self._lock:
            progress = Progress(plan, emit)
            progress.start("load")
            clip = cast(Clip, plan.task)
            # First, so that a sound that cannot be read costs no sampling.
            given = given_sound(clip)
            made = self._made(plan, clip, progress, scratch)
            progress.start("save")
            sound = given if clip.sound or clip.control else _fitted(made, clip)
            path = scratch / FILE_NAME
            with disk_errors(scratch, EngineFailed):
                write_clip(path, made.frames(), clip.fps, sound, {})
            return path

    def release(self) -> None:
        """Forget all results and give the memory of the models back."""
        management = importlib.import_module("comfy.model_management")
        management.unload_all_models()
        self._comfy.executor.reset()
        gc.collect()
        management.cleanup_models_gc()
        management.soft_empty_cache()

    def _made(self, plan: Plan, clip: Clip, progress: Progress, scratch: Path) -> Result:
        _require_files(plan)
        job = uuid.uuid4().hex
        folder = own_graphs(self._home, plan.mode) or WORKFLOWS
        found = load_latents(scratch, plan)
        graph = bind(plan, job, self._file_name, folder, sampled=found is not None)
        self._comfy.sampled[job] = Sampled(plan, scratch, found)
        brought = self._home.scratch / "comfy" / "input" / job
        try:
            if found is None:
                self._write_inputs(plan, clip, brought, progress)
            with disk_errors(self._home.scratch, EngineFailed):
                stage_placeholders(folder, brought)
            importlib.import_module("folder_paths").set_input_directory(str(brought))
            return self._decoded(plan, job, graph, progress)
        finally:
            self._comfy.results.pop(job, None)
            self._comfy.sampled.pop(job, None)
            shutil.rmtree(brought, ignore_errors=True)

    def _write_inputs(self, plan: Plan, clip: Clip, folder: Path, progress: Progress) -> None:
        if clip.control and isinstance(clip.control.map, EstimatedMap):
            # ComfyUI keeps its models on the GPU, where the map's estimator needs room.
            management = importlib.import_module("comfy.model_management")
            management.free_memory(ESTIMATOR_BYTES, management.get_torch_device())
        with disk_errors(self._home.scratch, EngineFailed), engine_errors(lambda: _reading(plan)):
            write_inputs(plan, clip, folder, progress)

    def _decoded(self, plan: Plan, job: str, graph: Graph, progress: Progress) -> Result:
        """Once more in smaller tiles where the memory was not enough: nothing is sampled again."""
        try:
            return ComfyRun(self._comfy, plan, graph, progress).result(job)
        except OutOfMemory as error:
            if error.stage != DECODE.label:
                raise
        progress.note("Decoded in smaller tiles, as the memory was not enough for the usual ones.")
        graph.give("Decode picture", **SMALL_TILES)
        return ComfyRun(self._comfy, plan, graph, progress).result(job)

    def _file_name(self, kind: str, path: Path) -> str:
        """As ComfyUI lists it; what lies in none of its folders is linked into one first."""
        for folder in folders(self._home, kind):
            if folder in path.parents:
                return str(path.relative_to(folder))
        mark = hashlib.sha256(f"{path.resolve()}|{path.stat().st_mtime_ns}".encode()).hexdigest()
        link = linked_models(self._home) / kind / f"{path.stem}-{mark[:16]}{path.suffix}"
        link_into(path.resolve(), link)
        return link.name


def _reading(plan: Plan) -> str | None:
    return next((stage.label for stage in plan.stages if stage.id == "condition"), None)


def _require_files(plan: Plan) -> None:
    """Raises MissingWeights. ComfyUI itself would only say that a value is not in a list, and
    reads past the end of a file that is cut short."""
    for path in (*plan.weights.files.values(), *(use.path for use in plan.loras)):
        if not path.is_file():
            raise MissingWeights(
                f"The file '{path.name}' is not in '{path.parent}': put it there, or choose other"
                " weights."
            )
        if not is_whole_model(path):
            raise MissingWeights(
                f"The file '{path.name}' is damaged: delete it and fetch it again."
            )


def _fitted(made: Result, clip: Clip) -> Sound | None:
    sound = made.sound()
    return fit_length(sound, clip.seconds) if sound else None
