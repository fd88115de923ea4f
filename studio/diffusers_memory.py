"""Puts a pipeline onto a rung of the memory ladder, and keeps LoRAs working there."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from diffusers import DiffusionPipeline, ModelMixin
from diffusers.hooks import apply_group_offloading, apply_layerwise_casting

from studio.diffusers_loras import denoiser_of
from studio.diffusers_prompts import PromptCache
from studio.fitting import RESIDENT, Rung
from studio.torch_device import Device

STORAGE = torch.float8_e4m3fn
"""Eight bits with four of exponent, the only format that is precise enough for weights."""

# The attribute of a quantised layer that PEFT reads, made for those of bitsandbytes.
_PEFT_DTYPE = "compute_dtype"

# Small and precious: norms, and the embeddings that a language model's head shares.
_KEPT_OF_TEXT_ENCODERS = ("norm", "embed", "lm_head")


class Placement:
    """Where a pipeline's weights are, and how they come to the device."""

    def __init__(self, pipeline: DiffusionPipeline, device: Device, prompts: PromptCache) -> None:
        """Takes over a pipeline that is loaded in main memory, and leaves it there until `fit`.

        `prompts` is emptied when the text encoder that read them is rounded: a result must not
        depend on what was made before it.
        """
        self._pipeline = pipeline
        self._device = device
        self._prompts = prompts
        self.rung: Rung | None = None

    @property
    def denoiser(self) -> ModelMixin:
        return denoiser_of(self._pipeline)

    def reaches(self, rung: Rung) -> bool:
        """Whether `fit` can go there: weights that were rounded must be read again to be whole."""
        if self.rung is None or self.rung == rung:
            return True
        return self.rung.moves != "blocks" and not (self.rung.eight_bit and not rung.eight_bit)

    def fit(self, rung: Rung) -> None:
        """Go to a rung that `reaches` allows; nothing happens on the one that is taken already."""
        if rung == self.rung:
            return
        self._pipeline.remove_all_hooks()
        self._pipeline.to("cpu")
        if rung.eight_bit and not (self.rung and self.rung.eight_bit):
            self._cast()
        self.rung = rung
        if rung.moves == "nothing":
            self._pipeline.to(self._device.name)
        elif rung.moves == "models":
            self._offload_models()
        else:
            self._offload_blocks()

    @contextmanager
    def changing_layers(self) -> Iterator[None]:
        """Without the hooks that move whole models, while LoRAs are loaded and taken off.

        diffusers puts its own back, but on the device that it thinks best. Hooks of single blocks
        it renews as it should.
        """
        if self.rung is None or self.rung.moves != "models":
            yield
            return
        self._pipeline.remove_all_hooks()
        try:
            yield
        finally:
            self._offload_models()

    @contextmanager
    def visiting(self, model: torch.nn.Module) -> Iterator[None]:
        """A model beside the pipeline on the device; where models move, only for this block."""
        model.to(self._device.name)
        try:
            yield
        finally:
            if self.rung not in (None, RESIDENT):
                model.to("cpu")

    def _offload_models(self) -> None:
        self._pipeline.enable_model_cpu_offload(device=self._device.name)

    def _offload_blocks(self) -> None:
        """Large models in parts; the small ones stay, as VAEs are used by more than `forward`."""
        device = torch.device(self._device.name)
        # A stream of their own only for the denoiser: its blocks come in the same order always.
        self.denoiser.enable_group_offload(
            onload_device=device,
            offload_type="block_level",
            num_blocks_per_group=1,
            use_stream=device.type == "cuda",
        )
        for name, model in self._models().items():
            if model is self.denoiser:
                continue
            if _is_text_model(name):
                apply_group_offloading(model, onload_device=device, offload_type="leaf_level")
            else:
                model.to(device)

    def _cast(self) -> None:
        """Store the denoiser, and a text encoder that would be larger, in eight bits."""
        # The layers that a LoRA changes have other names, by which casting would not spare them.
        if self._pipeline.get_list_adapters():
            self._pipeline.unload_lora_weights()
        denoiser, dtype = self.denoiser, self._device.dtype
        denoiser.enable_layerwise_casting(storage_dtype=STORAGE, compute_dtype=dtype)
        _name_compute_dtype(denoiser, dtype)
        for name, model in self._models().items():
            if _is_text_encoder(name) and _bytes(model) > _bytes(denoiser):
                self._prompts.clear()
                apply_layerwise_casting(model, STORAGE, dtype, _KEPT_OF_TEXT_ENCODERS)
                _name_compute_dtype(model, dtype)

    def _models(self) -> dict[str, torch.nn.Module]:
        components = self._pipeline.components.items()
        return {name: one for name, one in components if isinstance(one, torch.nn.Module)}


def _name_compute_dtype(model: torch.nn.Module, dtype: torch.dtype) -> None:
    """Says in which format the layers compute, as PEFT asks.

    Without, a LoRA that is loaded later is rounded to eight bits like the layer that it changes.
    """
    for module in model.modules():
        weight = getattr(module, "weight", None)
        if isinstance(weight, torch.Tensor) and weight.dtype == STORAGE:
            setattr(module, _PEFT_DTYPE, dtype)


def _bytes(model: torch.nn.Module) -> int:
    return sum(parameter.nbytes for parameter in model.parameters())


def _is_text_encoder(name: str) -> bool:
    return name.startswith("text_encoder")


def _is_text_model(name: str) -> bool:
    return _is_text_encoder(name) or name == "connectors"
