"""LoRAs on a pipeline: loaded once, weighed anew for every job, taken off when unwanted."""

import hashlib
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from diffusers import DiffusionPipeline, ModelMixin
from peft.tuners.lora import LoraLayer
from safetensors.torch import load_file

from studio.errors import BadInput
from studio.plan import Plan
from studio.presets import Sampling
from studio.weights_lora import (
    LoraHeader,
    Modules,
    in_part,
    match,
    normalise,
    read_header,
    unfit,
)

_DOWN = re.compile(r"\.(lora_A|lora_down|lora\.down)\b")
"""The key that each layer of a file has exactly once."""


@dataclass(frozen=True)
class LoraWeight:
    """A LoRA file and how strongly it acts.

    At strength 0 it does nothing, exactly; one that is loaded stays loaded, for a later stage.
    """

    path: Path
    strength: float


def wanted_loras(plan: Plan, sampling: Sampling) -> tuple[LoraWeight, ...]:
    """The preset's own LoRAs for this sampling, then the plan's. Raises MissingWeights."""
    own = [LoraWeight(plan.weights.adapter(one.name), one.strength) for one in sampling.adapters]
    return (*own, *(LoraWeight(use.path, use.strength) for use in plan.loras))


def apply_loras(pipeline: DiffusionPipeline, wanted: Sequence[LoraWeight]) -> tuple[str, ...]:
    """Make the wanted LoRAs, and no others, act on the pipeline; one named twice acts as the sum.

    Files that are not loaded yet are loaded; loaded ones that are not wanted are deleted. Returns
    sentences about files that fit only in part. Raises BadInput for one that fits nowhere.
    """
    strengths: dict[Path, float] = {}
    for lora in wanted:
        strengths[lora.path] = strengths.get(lora.path, 0.0) + lora.strength
    names = {path: adapter_name(path) for path in strengths}
    _delete_others(pipeline, set(names.values()))
    active = {path: strength for path, strength in strengths.items() if strength != 0}
    notes = [_fitted(pipeline, path, names[path]) for path in active]
    _activate(pipeline, {names[path]: strength for path, strength in active.items()})
    return tuple(filter(None, notes))


def adapter_name(path: Path) -> str:
    """What the file's adapter is called: another one once the file has changed.

    diffusers allows no "." in it. Raises BadInput where the file is not there.
    """
    try:
        state = path.stat()
    except OSError as error:
        raise BadInput(
            f"The LoRA '{path.name}' cannot be read: put it into the LoRA folder and choose it"
            " again."
        ) from error
    mark = f"{path}|{state.st_mtime_ns}|{state.st_size}"
    return f"lora_{hashlib.sha256(mark.encode()).hexdigest()[:16]}"


def _fitted(pipeline: DiffusionPipeline, path: Path, name: str) -> str:
    """Load the file where it is not loaded; a sentence where it fits only in part."""
    header = read_header(path)
    if name not in _loaded(pipeline):
        _load(pipeline, header, name)
    layers = sum(1 for key in header.tensors if _DOWN.search(key))
    fitting = sum(1 for layer in _lora_layers(pipeline) if name in layer.lora_A)
    if fitting == 0:
        raise unfit(path)
    if fitting < layers:
        return in_part(path.stem, fitting, layers)
    return ""


def _load(pipeline: DiffusionPipeline, header: LoraHeader, name: str) -> None:
    path, modules = header.path, _modules(denoiser_of(pipeline))
    if match(header, modules).matched == 0:
        raise unfit(path)
    tensors = normalise(load_file(path), modules)
    try:
        pipeline.load_lora_weights(tensors, adapter_name=name)
    # What the loaders raise for layers of another size or of an unknown spelling.
    except (RuntimeError, ValueError, LookupError) as error:
        pipeline.delete_adapters([name])
        if isinstance(error, RuntimeError) and "size mismatch" not in str(error):
            raise
        raise unfit(path) from error


def _delete_others(pipeline: DiffusionPipeline, keep: set[str]) -> None:
    loaded = _loaded(pipeline)
    if loaded and not loaded & keep:
        # Takes the LoRA layers out of the model, where deleting leaves them there empty.
        pipeline.unload_lora_weights()
    elif loaded - keep:
        pipeline.delete_adapters(sorted(loaded - keep))


def _activate(pipeline: DiffusionPipeline, strengths: Mapping[str, float]) -> None:
    for layer in _lora_layers(pipeline):
        layer.enable_adapters(bool(strengths))
    if strengths:
        pipeline.set_adapters(list(strengths), list(strengths.values()))


def _loaded(pipeline: DiffusionPipeline) -> set[str]:
    adapters: Iterable[list[str]] = pipeline.get_list_adapters().values()
    return {name for names in adapters for name in names}


def _lora_layers(pipeline: DiffusionPipeline) -> Iterator[LoraLayer]:
    """The layers, in whichever of the pipeline's models, that hold LoRAs."""
    for component in pipeline.get_list_adapters():
        for module in getattr(pipeline, component).modules():
            if isinstance(module, LoraLayer):
                yield module


def denoiser_of(pipeline: DiffusionPipeline) -> ModelMixin:
    """The model that is called for every step."""
    components = pipeline.components
    return components.get("unet") or components["transformer"]


def _modules(model: torch.nn.Module) -> Modules:
    """Sizes of the layers that a LoRA can change, by the names they have without any LoRA."""
    sizes = {}
    for name, module in model.named_modules():
        if ".lora_" in name:
            continue
        if isinstance(module, torch.nn.Linear):
            sizes[name.removesuffix(".base_layer")] = (module.in_features, module.out_features)
        elif isinstance(module, torch.nn.Conv2d):
            sizes[name.removesuffix(".base_layer")] = (module.in_channels, module.out_channels)
    return sizes
