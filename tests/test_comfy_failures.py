"""What goes wrong in ComfyUI, and what the user is told; the next run works each time."""

import json
import threading
import time
from dataclasses import replace

import pytest
from comfy_here import NEEDS_COMFYUI

from studio.comfy_graphs import WORKFLOWS
from studio.errors import Cancelled, EngineFailed, MissingWeights, OutOfMemory
from studio.events import StageStarted, StepDone

pytestmark = NEEDS_COMFYUI

ANSWER_SECONDS = 0.1
"""From a press on cancel to the end of the run."""


@pytest.fixture
def broken(runs):
    """Lets a node's method do something else, once; gives back a run of t2v that meets it."""
    import nodes

    def run(class_type, method, instead, emit=lambda event: None):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(nodes.NODE_CLASS_MAPPINGS[class_type], method, instead)
            # Nothing that an earlier test has run may be taken from the cache.
            runs.engine.release()
            return runs.run(runs.plan("t2v"), emit)

    yield run
    _, events = runs.run(runs.plan("t2v"))
    assert isinstance(events[-1], StageStarted)


@pytest.fixture
def own_graph(runs):
    """Puts a changed copy of our graph into the place of the user's own."""
    path = runs.home.root / "workflows" / "t2v.json"

    def write(change):
        graph = json.loads((WORKFLOWS / "t2v.json").read_text())
        change({node["_meta"]["title"]: node for node in graph.values()})
        path.parent.mkdir(exist_ok=True)
        path.write_text(json.dumps(graph))

    yield write
    path.unlink()
    runs.run(runs.plan("t2v"))


def failing(error):
    def fail(*args, **options):
        raise error

    return fail


# Cancel


def test_cancel_stops_between_two_steps(runs):
    asked = None

    def cancel(event):
        nonlocal asked
        if isinstance(event, StepDone):
            asked = asked or time.monotonic()
            raise Cancelled("The job was cancelled.")

    made = runs.plan("t2v", prompt="cancelled")
    with pytest.raises(Cancelled):
        runs.run(made, cancel)
    assert time.monotonic() - asked < ANSWER_SECONDS
    runs.run(made)


@pytest.mark.parametrize(
    ("class_type", "method"),
    [
        ("CheckpointLoaderSimple", "load_checkpoint"),
        ("CLIPTextEncode", "encode"),
        ("LoraLoaderModelOnly", "load_lora_model_only"),
        ("VAEDecodeTiled", "decode"),
    ],
)
def test_cancel_is_heard_in_a_node_that_tells_nothing(broken, class_type, method):
    from comfy import ops

    pressed = threading.Event()

    def take_a_minute(*args, **options):
        began = time.monotonic()
        threading.Timer(0.2, pressed.set).start()
        while time.monotonic() < began + 60:
            # What every layer does before it computes.
            ops.run_every_op()

    stopped = []

    def cancel(event):
        if pressed.is_set():
            stopped.append(time.monotonic())
            raise Cancelled("The job was cancelled.")

    with pytest.raises(Cancelled):
        broken(class_type, method, take_a_minute, cancel)
    assert time.monotonic() - stopped[0] < ANSWER_SECONDS


def test_cancel_before_the_first_node_is_not_lost(runs):
    """The executor forgets interruptions that are older than its run."""

    def cancel(event):
        raise Cancelled("The job was cancelled.")

    began = time.monotonic()
    with pytest.raises(Cancelled):
        runs.run(runs.plan("t2v"), cancel)
    assert time.monotonic() - began < ANSWER_SECONDS


def test_interruption_that_nobody_asked_for_is_said(broken):
    import comfy.model_management as management

    def interrupt(*args, **options):
        raise management.InterruptProcessingException

    with pytest.raises(EngineFailed, match="interrupted in the step 'Decode picture'"):
        broken("VAEDecodeTiled", "decode", interrupt)


# Nodes


def test_failing_node_is_named_with_its_stage(broken):
    fail = failing(RuntimeError("the tiles fell down"))
    with pytest.raises(EngineFailed, match="'Decode picture': the tiles fell down") as failed:
        broken("VAEDecodeTiled", "decode", fail)
    assert failed.value.stage == "Decoding" and not isinstance(failed.value, OutOfMemory)


@pytest.mark.parametrize("error", [MemoryError(), RuntimeError("CUDA out of memory. Tried …")])
def test_memory_that_is_out_is_said(broken, error):
    with pytest.raises(OutOfMemory, match="smaller size") as failed:
        broken("CLIPTextEncode", "encode", failing(error))
    assert failed.value.stage == "Reading the prompt"


def test_sampler_that_comfyui_does_not_have_is_refused_before_anything_runs(runs):
    made = runs.plan("t2v")
    odd = replace(made.sampling[0], sampler="no_such_sampler")
    with pytest.raises(EngineFailed, match="'Sampler, stage 1'"):
        runs.run(replace(made, sampling=(odd, made.sampling[1])))


# Files


def test_missing_file_is_named(runs):
    made = runs.plan("t2v")
    checkpoint = made.weights.files["checkpoint"]
    hidden = checkpoint.with_suffix(".hidden")
    checkpoint.rename(hidden)
    try:
        with pytest.raises(MissingWeights, match=checkpoint.name):
            runs.run(made)
    finally:
        hidden.rename(checkpoint)
    runs.run(made)


@pytest.mark.parametrize("kept", [1000, -1000])
def test_damaged_file_is_named(runs, kept):
    made = runs.plan("t2v")
    checkpoint = made.weights.files["checkpoint"]
    whole = checkpoint.read_bytes()
    checkpoint.write_bytes(whole[:kept])
    runs.engine.release()
    try:
        with pytest.raises(MissingWeights, match=f"'{checkpoint.name}' is damaged"):
            runs.run(made)
    finally:
        checkpoint.write_bytes(whole)
    runs.run(made)


def test_loader_that_cannot_read_a_file_names_it(broken, runs):
    damaged = ValueError("Error while deserializing header: HeaderTooLarge\n\nFile path: /x")
    with pytest.raises(MissingWeights, match=r"'ltx-2.3-22b-dev.safetensors' is damaged"):
        broken("CheckpointLoaderSimple", "load_checkpoint", failing(damaged))


# Graphs of the user


def test_graph_without_a_title_that_is_needed_says_which(runs, own_graph):
    own_graph(lambda nodes: nodes["Checkpoint"]["_meta"].update(title="Model"))
    with pytest.raises(EngineFailed, match="'t2v' has no node called 'Checkpoint'"):
        runs.run(runs.plan("t2v"))


def test_graph_with_a_node_that_is_not_installed_says_which(runs, own_graph):
    own_graph(lambda nodes: nodes["Decode picture"].update(class_type="VAEDecodeOfAPack"))
    with pytest.raises(EngineFailed, match=r"'VAEDecodeOfAPack'.*comfy install --packs"):
        runs.run(runs.plan("t2v"))


def test_graph_with_a_link_to_nowhere_says_where(runs, own_graph):
    own_graph(lambda nodes: nodes["Decode picture"]["inputs"].update(samples=["900", 0]))
    with pytest.raises(EngineFailed, match="'Decode picture' of the graph 't2v' is linked to"):
        runs.run(runs.plan("t2v"))
