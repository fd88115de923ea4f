"""One run of a graph in ComfyUI's executor: its events become progress, its failures errors."""

import asyncio
import copy
import importlib
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from PIL import Image

from studio.comfy_boot import ComfyUI
from studio.comfy_failures import failure, refusal
from studio.comfy_graph import Graph
from studio.comfy_graphs import RESULT
from studio.comfy_result import Result
from studio.media_images import small_jpeg
from studio.plan import Plan
from studio.progress import Progress

STAGES: Mapping[str, str] = {
    "Prompt": "encode",
    "Negative prompt": "encode",
    "First picture": "condition",
    "Last picture": "condition",
    "Sound": "condition",
    "Control video": "condition",
    "Sample, stage 1": "sample1",
    "Upscale": "upscale",
    "Sample, stage 2": "sample2",
    "Decode picture": "decode",
}
"""The stage that begins with a node, by the node's title. Others belong to the stage around."""

PREVIEW_SCALE = 8
"""ComfyUI's preview has one pixel to a latent cell of 32: a few dozen for the whole picture."""

WATCH_SECONDS = 0.03
"""How soon a cancel is heard while a node says nothing: ComfyUI looks before every layer."""

CLIENT = "studio"
"""The executor tells of each node only where somebody listens."""


class ComfyRun:
    """Runs one graph, once."""

    def __init__(self, comfy: ComfyUI, plan: Plan, graph: Graph, progress: Progress) -> None:
        self._comfy = comfy
        self._plan = plan
        self._graph = graph
        self._progress = progress
        self._order = [stage.id for stage in plan.stages]
        self._stage, self._node, self._steps = "load", "", 0
        self._stop: BaseException | None = None
        self._management = importlib.import_module("comfy.model_management")

    def result(self, job: str) -> Result:
        """What the graph hands over. Raises as `Engine.run`; what `emit` raises passes through."""
        # The executor writes into the graph that it is given.
        nodes = copy.deepcopy(self._graph.nodes)
        ends = [self._graph.id(RESULT)]
        self._validate(job, nodes, ends)
        utils = importlib.import_module("comfy.utils")
        self._comfy.server.listener = self._on_event
        utils.set_progress_bar_global_hook(self._on_progress)
        try:
            with self._watched():
                extra = {"client_id": CLIENT, "preview_method": "latent2rgb"}
                self._comfy.executor.execute(nodes, job, extra, ends)
        finally:
            self._comfy.server.listener = None
            utils.set_progress_bar_global_hook(None)
        if self._stop is not None:
            raise self._stop
        return self._handed_over(job)

    @contextmanager
    def _watched(self) -> Iterator[None]:
        """Encoding a prompt and decoding a clip take long and tell nothing of themselves."""
        ended = threading.Event()
        watch = threading.Thread(target=self._watch, args=(ended,), name="comfy-watch", daemon=True)
        watch.start()
        try:
            yield
        finally:
            ended.set()
            watch.join()

    def _watch(self, ended: threading.Event) -> None:
        while not ended.wait(WATCH_SECONDS):
            if self._stop is None:
                self._guarded(self._progress.still_at_work)
            else:
                # The executor forgets an interruption that comes while it starts.
                self._management.interrupt_current_processing()

    def _validate(self, job: str, nodes: dict[str, Any], ends: list[str]) -> None:
        execution = importlib.import_module("execution")
        # "Good" is said of a graph with any good end: ours must be among them.
        _, error, good, of_nodes = asyncio.run(execution.validate_prompt(job, nodes, ends))
        if ends[0] not in good:
            raise refusal(self._graph, error or {}, of_nodes)

    def _handed_over(self, job: str) -> Result:
        said = dict(self._comfy.executor.status_messages)
        if "execution_success" in said and job in self._comfy.results:
            return self._comfy.results[job]
        raise failure(self._graph, said, self._label())

    def _label(self) -> str:
        return next(stage.label for stage in self._plan.stages if stage.id == self._stage)

    def _on_event(self, event: str, data: Mapping[str, object]) -> None:
        node = str(data.get("node") or "")
        if event != "executing" or node not in self._graph.nodes:
            return
        self._node = node
        stage = STAGES.get(self._graph.title(node))
        if stage in self._order and self._may_follow(stage):
            self._guarded(lambda: self._start(stage, self._planned_steps(stage)))

    def _may_follow(self, stage: str) -> bool:
        """Prompt and media are read in whichever order ComfyUI likes; the rest goes forwards."""
        here, there = self._order.index(self._stage), self._order.index(stage)
        return there > here or there < here < self._order.index("sample1")

    def _planned_steps(self, stage: str) -> int:
        if not stage.startswith("sample"):
            return 0
        return self._plan.sampling[int(stage.removeprefix("sample")) - 1].step_count

    def _start(self, stage: str, steps: int) -> None:
        self._stage, self._steps = stage, steps
        self._progress.start(stage, steps)

    def _on_progress(
        self,
        value: int,
        total: int,
        preview: tuple[str, Image.Image, int] | None,
        prompt_id: str | None = None,
        node_id: str | None = None,
    ) -> None:
        """ComfyUI's progress hook: each step of a sampler, each tile of a decoder."""
        if STAGES.get(self._graph.title(self._node)) == self._stage:
            self._guarded(lambda: self._step(value, total, preview))
        # Here, not at the next layer: a cancelled job stops at once.
        self._management.throw_exception_if_processing_interrupted()

    def _step(self, value: int, total: int, preview: tuple[str, Image.Image, int] | None) -> None:
        if total != self._steps:
            self._start(self._stage, total)
        self._progress.step(value)
        if preview is not None:
            self._progress.preview(lambda: _enlarged(preview[1]))

    def _guarded(self, tell: Callable[[], None]) -> None:
        """What `emit` raises may not go through the executor, which would take it for its own."""
        if self._stop is not None:
            return
        try:
            tell()
        except BaseException as error:
            self._stop = error
            self._management.interrupt_current_processing()


def _enlarged(picture: Image.Image) -> bytes:
    size = picture.width * PREVIEW_SCALE, picture.height * PREVIEW_SCALE
    return small_jpeg(picture.resize(size, Image.Resampling.BILINEAR))
