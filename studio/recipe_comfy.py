"""Settings out of the graph (API format) that ComfyUI puts into its files.

A graph has no "prompt" or "size", only nodes. They are found from the first sampler up: its
seed, the texts behind its conditioning, the size of the latents that it starts from.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from studio.recipe import Json
from studio.recipe_a1111 import Recovered

_MAX_NODES = 5_000
"""Large user graphs have a few hundred."""

_HOPS = 16
"""Links followed from an input to the node that holds its value."""

# Names of inputs, in ComfyUI's core nodes and the packs that imitate them.
_VALUES = ("value", "int", "number", "float", "string", "text", "seed", "noise_seed", "noise")
_TEXTS = ("text", "prompt", "text_g", "t5xxl", "clip_l", "string", "value")
_BESIDE = frozenset({"noise", "guider", "sampler", "sigmas"})
_SAMPLED = frozenset({"latent_image", "guider"})
_MODEL = frozenset({"model", "guider", "unet"})
_NUMBERS = {"seed": ("seed", "noise_seed"), "steps": ("steps",), "guidance": ("cfg",)}
_NO_FIELDS = {
    "sampler_name": "Sampler",
    "scheduler": "Scheduler",
    "ckpt_name": "Model",
    "unet_name": "Model",
}


@dataclass(frozen=True)
class _Node:
    kind: str
    inputs: Mapping[str, Json]


_Nodes = Mapping[str, _Node]


def comfy_settings(graph: Json) -> Recovered | None:
    """The settings of the graph's first sampling stage; None where it has none that is known."""
    nodes = _nodes(graph)
    samplers = [node for node in nodes.values() if _is_sampler(node)]
    if not samplers:
        return None
    sampler = _first_in_chain(nodes, samplers[0])
    beside = list(_upstream(nodes, sampler, _BESIDE.__contains__))
    settings = {
        **_prompts(nodes, beside),
        **_numbers(nodes, beside),
        **_size(nodes, sampler),
    }
    return settings, _lost(nodes, sampler, beside, len(samplers) - 1)


def _nodes(graph: Json) -> dict[str, _Node]:
    if not isinstance(graph, Mapping) or len(graph) > _MAX_NODES:
        return {}
    nodes = {}
    for name, node in graph.items():
        if isinstance(node, Mapping) and isinstance(node.get("inputs"), Mapping):
            nodes[name] = _Node(str(node.get("class_type", "")), node["inputs"])  # type: ignore[arg-type]
    return nodes


def _is_sampler(node: _Node) -> bool:
    return "Sampler" in node.kind and not _SAMPLED.isdisjoint(node.inputs)


def _first_in_chain(nodes: _Nodes, sampler: _Node) -> _Node:
    """The sampler whose latents no other sampler made."""
    for node in _upstream(nodes, sampler, lambda name: True):
        if _is_sampler(node):
            sampler = node
    return sampler


def _upstream(nodes: _Nodes, start: _Node, follow: Callable[[str], bool]) -> Iterator[_Node]:
    """`start` and the nodes before it over inputs whose name `follow` accepts, nearest first."""
    queue, seen = [start], {id(start)}
    for node in queue:
        yield node
        for name, value in node.inputs.items():
            before = _linked(nodes, value) if follow(name) else None
            if before is not None and id(before) not in seen:
                seen.add(id(before))
                queue.append(before)


def _linked(nodes: _Nodes, value: Json) -> _Node | None:
    """The node that a `[node, output]` link comes from."""
    if isinstance(value, list) and len(value) == 2 and isinstance(value[0], str | int):
        return nodes.get(str(value[0]))
    return None


def _resolved(nodes: _Nodes, value: Json) -> Json:
    """The value itself, or that of the primitive node that it is linked to."""
    for _ in range(_HOPS):
        node = _linked(nodes, value)
        if node is None:
            return value if not isinstance(value, list) else None
        value = next((node.inputs[name] for name in _VALUES if name in node.inputs), None)
    return None


def _number(nodes: _Nodes, node: _Node, name: str) -> int | float | None:
    value = _resolved(nodes, node.inputs.get(name))
    return value if isinstance(value, int | float) and not isinstance(value, bool) else None


def _numbers(nodes: _Nodes, beside: list[_Node]) -> dict[str, Json]:
    found: dict[str, Json] = {}
    for field, names in _NUMBERS.items():
        for number in (_number(nodes, node, name) for node in beside for name in names):
            if number is not None:
                found.setdefault(field, number)
    return found


def _prompts(nodes: _Nodes, beside: list[_Node]) -> dict[str, Json]:
    found: dict[str, Json] = {}
    for field, roles in {"prompt": ("positive", "conditioning"), "negative": ("negative",)}.items():
        starts = (_linked(nodes, node.inputs.get(role)) for node in beside for role in roles)
        start = next((node for node in starts if node is not None), None)
        text = start and _text(nodes, start, roles[0])
        if text:
            found[field] = text
    return found


def _text(nodes: _Nodes, start: _Node, role: str) -> str | None:
    """The text that was encoded into the conditioning that `start` gives as its `role`."""
    for node in _upstream(nodes, start, lambda name: name == role or "conditioning" in name):
        if node.kind == "ConditioningZeroOut":
            return None
        values = (_resolved(nodes, node.inputs[name]) for name in _TEXTS if name in node.inputs)
        text = next((value for value in values if isinstance(value, str)), None)
        if text is not None:
            return text
    return None


def _size(nodes: _Nodes, sampler: _Node) -> dict[str, Json]:
    # The latents first: text encoders of SDXL have a width and a height of their own.
    start = _linked(nodes, sampler.inputs.get("latent_image")) or sampler
    for node in _upstream(nodes, start, lambda name: True):
        width, height = _number(nodes, node, "width"), _number(nodes, node, "height")
        if width and height:
            frames = _number(nodes, node, "length") or _number(nodes, node, "num_frames")
            size: dict[str, Json] = {"width": width, "height": height}
            return {**size, "frames": frames} if frames else size
    return {}


def _lost(nodes: _Nodes, sampler: _Node, beside: list[_Node], others: int) -> list[str]:
    """What the graph says and no field here can take."""
    models = list(_upstream(nodes, sampler, _MODEL.__contains__))
    said: dict[str, None] = {}
    for node in (*beside, *models):
        for name, label in _NO_FIELDS.items():
            if isinstance(node.inputs.get(name), str):
                said[f"{label}: {node.inputs[name]}"] = None
        if isinstance(node.inputs.get("lora_name"), str):
            strength = _number(nodes, node, "strength_model")
            said[f"LoRA {node.inputs['lora_name']}:{1 if strength is None else strength:g}"] = None
    denoise = _number(nodes, sampler, "denoise")
    if denoise is not None and denoise != 1:
        said[f"Denoise: {denoise:g}"] = None
    if others:
        said[f"{others} more sampling stage{'s' if others > 1 else ''}"] = None
    return list(said)
