"""LTX-2.3 from one checkpoint in Lightricks' own layout, without Gemma, which lies beside it.

diffusers 0.42 cannot read such a file: its converter knows neither all of LTX-2.3's names nor all
of its parts.
"""

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from accelerate import init_empty_weights
from diffusers import (
    AutoencoderKLLTX2Audio,
    AutoencoderKLLTX2Video,
    FlowMatchEulerDiscreteScheduler,
    LTX2VideoTransformer3DModel,
    ModelMixin,
)
from diffusers.pipelines.ltx2 import LTX2TextConnectors, LTX2VocoderWithBWE
from safetensors import SafetensorError, safe_open
from transformers import Gemma3ForConditionalGeneration, GemmaTokenizer

from studio import diffusers_ltx_config as configs
from studio import diffusers_ltx_names as names
from studio.diffusers_ltx import LtxPipeline
from studio.errors import MissingWeights
from studio.torch_device import Device
from studio.weights_ltx import is_ltx_single_file

FLOAT8 = (torch.float8_e4m3fn, torch.float8_e5m2)

# Values of fp8 files that stand beside a weight: its scale, and notes for other programs.
_SCALES = ("weight_scale", "scale_weight")
_NOTES = ("input_scale", "scale_input", "comfy_quant", "scaled_fp8")

# Statistics of the VAE's training that nobody reads.
_UNUSED = (
    "vae.per_channel_statistics.channel",
    "vae.per_channel_statistics.mean-of-stds",
    "vae.per_channel_statistics.mean-of-stds_over_std-of-means",
)

# LTX-2's published scheduler; checkpoints do not carry it.
_SCHEDULE = {
    "use_dynamic_shifting": True,
    "time_shift_type": "exponential",
    "base_shift": 0.95,
    "max_shift": 2.05,
    "base_image_seq_len": 1024,
    "max_image_seq_len": 4096,
    "shift_terminal": 0.1,
}


@dataclass(frozen=True)
class Part:
    """One module of the pipeline, and how the file writes it."""

    kind: type[ModelMixin]
    config: Callable[[configs.Told, configs.Shape, configs.Keys], configs.Config]
    name: Callable[[str], str]
    owns: Callable[[str], bool]
    """Whether a key of the file belongs to it."""


def _is_connector(key: str) -> bool:
    return "_embeddings_connector." in key or key.startswith("text_embedding_projection.")


PARTS: Mapping[str, Part] = {
    "transformer": Part(
        LTX2VideoTransformer3DModel,
        configs.transformer_config,
        names.transformer_name,
        lambda key: key.startswith("model.diffusion_model.") and not _is_connector(key),
    ),
    "connectors": Part(
        LTX2TextConnectors, configs.connectors_config, names.connectors_name, _is_connector
    ),
    "vae": Part(
        AutoencoderKLLTX2Video,
        configs.vae_config,
        names.vae_name,
        lambda key: key.startswith("vae.") and not key.startswith(_UNUSED),
    ),
    "audio_vae": Part(
        AutoencoderKLLTX2Audio,
        configs.audio_vae_config,
        names.audio_vae_name,
        lambda key: key.startswith("audio_vae."),
    ),
    "vocoder": Part(
        LTX2VocoderWithBWE,
        configs.vocoder_config,
        names.vocoder_name,
        lambda key: key.startswith("vocoder."),
    ),
}


def load_single_file(path: Path, device: Device, text_encoder_folder: Path | None) -> LtxPipeline:
    """The pipeline on the CPU, as `diffusers_ltx.load_ltx` gives it from a folder.

    `text_encoder_folder` is a diffusers folder with `text_encoder` and `tokenizer` in it. Raises
    MissingWeights for a file that is no whole LTX-2.3 checkpoint, and where Gemma is not there.
    """
    if path.suffix.lower() == ".gguf":
        raise MissingWeights(
            f"'{path.name}' is a GGUF file, which cannot be read yet: fetch the checkpoint as"
            " .safetensors."
        )
    text = _text_folder(path, text_encoder_folder)
    with _opened(path) as checkpoint:
        modules = {name: checkpoint.module(part, device) for name, part in PARTS.items()}
    pipeline = LtxPipeline(
        **modules,
        scheduler=FlowMatchEulerDiscreteScheduler(**_SCHEDULE),
        text_encoder=Gemma3ForConditionalGeneration.from_pretrained(
            text / "text_encoder", dtype=device.dtype, local_files_only=True
        ),
        tokenizer=GemmaTokenizer.from_pretrained(text / "tokenizer", local_files_only=True),
    )
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def _text_folder(path: Path, folder: Path | None) -> Path:
    parts = ("text_encoder", "tokenizer")
    if folder is not None and all((folder / part).is_dir() for part in parts):
        return folder
    place = f" into '{folder}'" if folder else ""
    raise MissingWeights(
        f"'{path.name}' comes without its text encoder, Gemma 3 12B: fetch the folders"
        f" 'text_encoder' and 'tokenizer' of LTX-2.3-Diffusers{place}."
    )


class Checkpoint:
    """An open file, its configuration and its keys."""

    def __init__(self, file: Any, name: str) -> None:  # noqa: ANN401
        """Raises MissingWeights where the file does not say how it is built."""
        self._file, self._name = file, name
        self._keys = frozenset(file.keys())
        if not is_ltx_single_file(self._keys):
            raise self._refused("is not a whole LTX-2.3 model, with its VAEs and its vocoder")
        try:
            self._told = json.loads((file.metadata() or {})["config"])
        except (KeyError, ValueError) as error:
            raise self._refused("does not say in its header how it is built") from error

    def module(self, part: Part, device: Device) -> ModelMixin:
        """A module with all of its tensors from the file, and none left over."""
        try:
            config = part.config(self._told, self._shape, self._keys)
        except (KeyError, TypeError, ValueError) as error:
            raise self._refused(f"is not built as LTX-2.3 is ({error})") from error
        with init_empty_weights():
            module = part.kind.from_config(config)
        wanted = {part.name(name): like for name, like in module.state_dict().items()}
        self._require_all(part, wanted)
        # As in a folder: bfloat16 adds up to noise in the vocoder's long chain of convolutions.
        dtype = torch.float32 if part.kind is LTX2VocoderWithBWE else device.dtype
        tensors = {name: self._tensor(part.name(name), dtype) for name in module.state_dict()}
        module.load_state_dict(tensors, strict=True, assign=True)
        return module.eval()

    def _require_all(self, part: Part, wanted: Mapping[str, torch.Tensor]) -> None:
        own = {key for key in self._keys if part.owns(key) and not _is_beside(key)}
        missing, over = wanted.keys() - own, own - wanted.keys()
        other = [key for key in wanted.keys() & own if tuple(wanted[key].shape) != self._shape(key)]
        if missing or over or other:
            first = min([*missing, *over, *other])
            raise self._refused(
                f"does not fit LTX-2.3: {len(missing)} tensors are missing, {len(over)} are unknown"
                f" and {len(other)} have another size, '{first}' among them"
            )

    def _shape(self, key: str) -> tuple[int, ...]:
        if key not in self._keys:
            raise KeyError(key)
        return tuple(self._file.get_slice(key).get_shape())

    def _tensor(self, key: str, dtype: torch.dtype) -> torch.Tensor:
        tensor: torch.Tensor = self._file.get_tensor(key)
        if not tensor.is_floating_point():
            raise self._refused(f"has weights in a format that is not known here ({tensor.dtype})")
        if tensor.dtype in FLOAT8:
            return (tensor.float() * self._scale(key, tensor.ndim)).to(dtype)
        return tensor.to(dtype)

    def _scale(self, key: str, dimensions: int) -> torch.Tensor:
        """What an 8-bit weight is multiplied by: a number, or one for each of its rows."""
        module = key.removesuffix("weight")
        found = [module + scale for scale in _SCALES if module + scale in self._keys]
        if not found or module == key:
            return torch.ones(())
        scale: torch.Tensor = self._file.get_tensor(found[0]).float().flatten()
        return scale.reshape(-1, *[1] * (dimensions - 1))

    def _refused(self, reason: str) -> MissingWeights:
        return MissingWeights(
            f"The checkpoint '{self._name}' {reason}: fetch it again, or choose another."
        )


def _is_beside(key: str) -> bool:
    return key.rpartition(".")[2] in (*_SCALES, *_NOTES)


@contextmanager
def _opened(path: Path) -> Iterator[Checkpoint]:
    try:
        with safe_open(path, framework="pt") as file:
            yield Checkpoint(file, path.name)
    except (SafetensorError, OSError) as error:
        raise MissingWeights(
            f"The checkpoint '{path.name}' is damaged or not whole: fetch it again."
        ) from error
