"""What ComfyUI says when it refuses or breaks off a graph, as the studio's own errors."""

from collections.abc import Mapping
from typing import Any

from studio.comfy_graph import Graph
from studio.errors import EngineFailed, MissingWeights, OutOfMemory, StudioError
from studio.torch_device import is_out_of_memory

_DAMAGE = ("safetensor", "deserializing header", "corrupt", "unpickl", "jsondecode")
"""Parts of what loaders say, or raise, where a file's bytes are not what they must be."""

_MODEL_ENDINGS = (".safetensors", ".sft", ".ckpt", ".pt", ".pth", ".gguf")


def refusal(
    graph: Graph, error: Mapping[str, Any], of_nodes: Mapping[str, Mapping[str, Any]]
) -> StudioError:
    """Why ComfyUI does not accept the graph: what its `validate_prompt` gives back."""
    if error.get("type") == "missing_node_type":
        return _missing_class(graph, error)
    for node_id, problem in of_nodes.items():
        for one in problem["errors"]:
            # It follows from another problem, in a node before this one.
            if one["type"] != "exception_during_inner_validation":
                return _refused(graph.title(node_id), problem["class_type"], one)
    return EngineFailed(
        f"ComfyUI cannot run the graph '{graph.name}': {_first_line(error.get('message', ''))}."
    )


def failure(graph: Graph, messages: Mapping[str, Mapping[str, Any]], stage: str) -> StudioError:
    """Why the run of a graph ended early, from the executor's status messages by their names.

    `stage` is the label of the stage that was running.
    """
    interrupted = messages.get("execution_interrupted")
    if interrupted is not None:
        step = _step(graph, interrupted)
        return EngineFailed(
            f"ComfyUI was interrupted in the step '{step}', but not by the studio: run the job"
            " again.",
            stage,
        )
    error = messages.get("execution_error", {})
    if _is_memory(error):
        return OutOfMemory(
            "The memory was not enough for this: choose a smaller size or a shorter length, or"
            " close other programs that use the device.",
            stage,
        )
    damaged = _damaged_file(graph, error)
    if damaged is not None:
        return MissingWeights(f"The file '{damaged}' is damaged: delete it and fetch it again.")
    cause = _cause(error) or "it gives no cause"
    return EngineFailed(f"ComfyUI failed in the step '{_step(graph, error)}': {cause}.", stage)


def _missing_class(graph: Graph, error: Mapping[str, Any]) -> EngineFailed:
    about = error["extra_info"]
    return EngineFailed(
        f"The graph '{graph.name}' has a node '{about['node_title']}' of the class"
        f" '{about['class_type']}', which this ComfyUI does not have: install the node pack that"
        " brings it ('python -m studio comfy install --packs NAME'), or use another node."
    )


def _refused(title: str, class_type: str, problem: Mapping[str, Any]) -> StudioError:
    if problem["type"] == "value_not_in_list" and "Loader" in class_type:
        file = problem.get("extra_info", {}).get("received_value", problem["details"])
        return MissingWeights(
            f"ComfyUI does not find the file '{file}' for '{title}': put it into the models"
            " folder, or run 'python -m studio doctor'."
        )
    said = f"{problem['message']} ({problem['details']})"
    return EngineFailed(f"ComfyUI refuses the step '{title}': {said}.")


def _is_memory(error: Mapping[str, Any]) -> bool:
    kind = str(error.get("exception_type", ""))
    full = "OutOfMemory" in kind or kind == "MemoryError"
    return full or is_out_of_memory(RuntimeError(_cause(error)))


def _damaged_file(graph: Graph, error: Mapping[str, Any]) -> str | None:
    """The model file that a loader could not read, where that is why the run ended."""
    said = f"{error.get('exception_type')} {error.get('exception_message')}".lower()
    node = graph.nodes.get(str(error.get("node_id")))
    if node is None or not any(sign in said for sign in _DAMAGE):
        return None
    values = (value for value in node["inputs"].values() if isinstance(value, str))
    return next((value for value in values if value.lower().endswith(_MODEL_ENDINGS)), None)


def _cause(error: Mapping[str, Any]) -> str:
    return _first_line(str(error.get("exception_message", "")))


def _step(graph: Graph, message: Mapping[str, Any]) -> str:
    node = str(message.get("node_id", ""))
    return graph.title(node) if node in graph.nodes else "an unknown one"


def _first_line(text: str) -> str:
    return text.strip().partition("\n")[0].rstrip(". ")
