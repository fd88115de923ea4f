"""What a LoRA file was made for and which layers of a model it fits, from its header alone."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from studio.errors import BadInput
from studio.families import FAMILIES
from studio.weights_lora_header import Layer, LoraHeader, Shapes, layers, read_header

if TYPE_CHECKING:
    import torch

__all__ = [
    "LABELS",
    "LoraHeader",
    "LoraMatch",
    "Modules",
    "lora_family",
    "ltx_original_name",
    "match",
    "normalise",
    "read_header",
    "reference_downscale_factor",
    "require_family",
]

Modules = Mapping[str, tuple[int, int]]
"""(in_features, out_features) of a model's layers by their diffusers names."""

LABELS: Mapping[str, str] = {
    "sdxl": "SDXL",
    "sd1": "Stable Diffusion 1.5",
    "sd2": "Stable Diffusion 2",
    "sd3": "Stable Diffusion 3",
    "qwen-image": "Qwen-Image",
    "ltx-2.3": "LTX-2.3",
    "ltx-2-19b": "LTX-2 19B",
    "ltx-2": "LTX-2",
    "ltx-video": "LTX-Video",
    "flux": "Flux or HunyuanVideo",
    "wan": "Wan",
    "other": "another model",
}
"""What the families that `lora_family` tells apart are called."""

# Layers that diffusers renamed in LTX-2.x, by their names there: all are first components.
_LTX_NAMES: Mapping[str, str] = {
    "proj_in": "patchify_proj",
    "audio_proj_in": "audio_patchify_proj",
    "time_embed": "adaln_single",
    "audio_time_embed": "audio_adaln_single",
    "prompt_adaln": "prompt_adaln_single",
    "audio_prompt_adaln": "audio_prompt_adaln_single",
    "av_cross_attn_video_scale_shift": "av_ca_video_scale_shift_adaln_single",
    "av_cross_attn_video_a2v_gate": "av_ca_a2v_gate_adaln_single",
    "av_cross_attn_audio_scale_shift": "av_ca_audio_scale_shift_adaln_single",
    "av_cross_attn_audio_v2a_gate": "av_ca_v2a_gate_adaln_single",
}

_LTX_MODULES = {original: name for name, original in _LTX_NAMES.items()}

# The first pattern found anywhere in the layer names decides; "." and "_" separate alike,
# because kohya's trainers write every name with "_".
_FAMILY_PATTERNS: tuple[tuple[str, re.Pattern[str]], ...] = tuple(
    (family, re.compile(pattern, re.MULTILINE))
    for family, pattern in (
        (
            "ltx-2",
            r"audio_(attn|ff|to_video|adaln|patchify|proj_in|aggregate)|video_to_audio|av_ca_"
            r"|prompt_adaln|to_gate_logits",
        ),
        ("flux", r"single_transformer_blocks|single_blocks|double_blocks"),
        ("sd3", r"ff_context|joint_blocks"),
        ("sdxl", r"(down|up|mid|input|output|middle)_blocks?[._]"),
        ("qwen-image", r"(img|txt)_(mlp|mod)|transformer_blocks[._]\d+[._]attn[._](to|add)_"),
        ("wan", r"blocks[._]\d+[._](self|cross)_attn"),
        ("ltx-2", r"transformer_blocks[._]\d+[._](attn[12]|ff)[._]"),
        ("sdxl", r"^(lora_te[12]_|text_encoder)"),
    )
)
# Gates and prompt modulation came with LTX-2.3, which lost the caption projection of 19B.
_LTX_23 = re.compile(r"to_gate_logits|prompt_adaln|(video|audio)_aggregate_embed")
_LTX_19B = re.compile(r"caption_projection|text_embedding_projection\.aggregate_embed")
# Outputs per channel of the timestep embedding: LTX-2.3 modulates its cross attention too.
_LTX_MODULATION = re.compile(r"(^|\.)(audio_)?(adaln_single|time_embed)\.linear$")
_LTX_FAMILY_BY_MODULATIONS = {9: "ltx-2.3", 6: "ltx-2-19b"}
_LTX_VIDEO_2B_WIDTH = 2048

# In features of the keys of cross attention: the width of the text encoder.
_CROSS_ATTENTION_KEY = re.compile(r"attn2[._]to_k$")
_UNET_FAMILY_BY_TEXT_WIDTH = {768: "sd1", 1024: "sd2"}

_STOCK = frozenset({"sdxl", "sd1", "sd2"})
"""Families whose loader in diffusers knows every spelling."""

_PREFIX = re.compile(
    r"^(?:base_model\.model\.)?(?:model\.)?"
    r"(?:diffusion_model\.|transformer\.|unet\.|lora_unet_|lora_transformer_)?"
)
_UNET_ATTENTION = re.compile(
    r"^(?P<side>down|mid|up)_blocks?(?:\.(?P<block>\d+))?\.attentions\.(?P<at>\d+)(?P<rest>.*)$"
)
_TEXT_ENCODER = re.compile(r"^(lora_te\d?_|text_encoder)")


@dataclass(frozen=True)
class LoraMatch:
    """How many of a file's layers a model has; the names are the file's own."""

    matched: int
    total: int
    unknown: tuple[str, ...]
    wrong_size: tuple[str, ...]


def lora_family(header: LoraHeader) -> str:
    """The model family that a LoRA was trained for, a key of `LABELS`.

    Names decide, and those shapes that tell releases apart; "ltx-2" where the file has no layer
    in which LTX-2.3 and LTX-2 19B differ.
    """
    return _family(header.shapes)


def require_family(path: Path, family: str) -> LoraHeader:
    """The header of a LoRA for a family of `studio.families`.

    Raises BadInput where the file is no readable LoRA or was made for another model.
    """
    header = read_header(path)
    found = lora_family(header)
    needed = FAMILIES[family]
    if found not in needed.loras:
        raise BadInput(
            f"'{path.name}' is a LoRA for {LABELS[found]}; this mode runs {needed.label}. Choose a"
            f" LoRA for {LABELS[needed.loras[0]]}."
        )
    return header


def reference_downscale_factor(path: Path) -> int:
    """How much smaller than the video an IC-LoRA wants its control clip: 1 unless it says so."""
    factor = read_header(path).metadata.get("reference_downscale_factor", "1")
    try:
        return max(1, round(float(factor)))
    except (ValueError, OverflowError) as error:
        raise BadInput(
            f"The LoRA '{path.name}' has a broken size note ('{factor}'): download it again."
        ) from error


def match(header: LoraHeader, modules: Modules) -> LoraMatch:
    """Which of the file's layers `modules` has, with the right sizes.

    SDXL's text encoder layers are left out: the stock loader sees to them.
    """
    placing = _place(header.shapes, modules)
    missed = len(placing.unknown) + len(placing.wrong_size)
    return LoraMatch(
        matched=len(placing.layers),
        total=len(placing.layers) + missed,
        unknown=tuple(placing.unknown),
        wrong_size=tuple(placing.wrong_size),
    )


def normalise(
    state_dict: Mapping[str, "torch.Tensor"], modules: Modules
) -> dict[str, "torch.Tensor"]:
    """The one spelling that diffusers' Qwen-Image and LTX-2 loaders both accept, alpha folded in.

    Keys are `transformer.<module>.lora_A.weight` [rank, in] and `….lora_B.weight` [out, rank];
    layers that `modules` has not, or has in another size, are dropped (`match` counts them).
    A file for a UNet is returned as it is, for its loader knows every spelling. Raises BadInput
    where no layer fits, and for such a file with a layer of another size, which its loader refuses.
    """
    shapes = {key: tuple(tensor.shape) for key, tensor in state_dict.items()}
    placing = _place(shapes, modules)
    stock = _family(shapes) in _STOCK
    if placing.wrong_size if stock else not placing.layers:
        raise BadInput(
            f"This LoRA does not fit the model ({len(placing.wrong_size)} layers have another size,"
            f" {len(placing.unknown)} another name): choose a LoRA made for it."
        )
    return dict(state_dict) if stock else _respelled(state_dict, placing)


def ltx_original_name(module: str) -> str:
    """The name in LTX-2's own files of a module of diffusers' transformer."""
    first, dot, rest = module.partition(".")
    return _LTX_NAMES.get(first, first) + dot + rest


def ltx_module_name(original: str) -> str:
    """The name in diffusers' transformer of a layer of LTX-2's own files."""
    first, dot, rest = original.partition(".")
    return _LTX_MODULES.get(first, first) + dot + rest


def require_fit(header: LoraHeader, modules: Modules) -> str:
    """A sentence where the file fits the model only in part; empty where all of it does.

    Raises BadInput for a file none of whose layers fits.
    """
    found, name = match(header, modules), header.path.stem
    if not found.matched:
        raise unfit(header.path)
    return in_part(name, found.matched, found.total) if found.matched < found.total else ""


def in_part(name: str, fitting: int, layers: int) -> str:
    """What is said of a LoRA called `name` some of whose layers the model lacks."""
    return f"The LoRA '{name}' fits {fitting} of its {layers} layers to this model."


def unfit(path: Path) -> BadInput:
    """The error for a LoRA that was made for another model."""
    return BadInput(
        f"The LoRA '{path.name}' cannot be used with this model: choose one that was made for it.",
        "loras",
    )


def _family(shapes: Shapes) -> str:
    """The family for keys and shapes, both of a file's header and of loaded tensors."""
    names = "\n".join(shapes)
    for family, pattern in _FAMILY_PATTERNS:
        if pattern.search(names):
            refine = {"ltx-2": _ltx_release, "sdxl": _unet_release}.get(family)
            return refine(shapes) if refine else family
    return "other"


def _ltx_release(shapes: Shapes) -> str:
    names = "\n".join(shapes)
    if _LTX_23.search(names):
        return "ltx-2.3"
    if _LTX_19B.search(names):
        return "ltx-2-19b"
    for name, layer in layers(shapes).items():
        if layer.down and layer.up and _LTX_MODULATION.search(name):
            modulations = shapes[layer.up][0] // shapes[layer.down][1]
            return _LTX_FAMILY_BY_MODULATIONS.get(modulations, "ltx-2")
    widths = {shapes[layer.down][1] for name, layer in layers(shapes).items() if layer.down}
    return "ltx-video" if _LTX_VIDEO_2B_WIDTH in widths and "audio" not in names else "ltx-2"


def _unet_release(shapes: Shapes) -> str:
    for name, layer in layers(shapes).items():
        if layer.down and _CROSS_ATTENTION_KEY.search(name):
            return _UNET_FAMILY_BY_TEXT_WIDTH.get(shapes[layer.down][1], "sdxl")
    return "sdxl"


@dataclass(frozen=True)
class _Placing:
    """Layers by the module that they fit, and the names of those that fit none."""

    layers: dict[str, Layer] = field(default_factory=dict)
    unknown: list[str] = field(default_factory=list)
    wrong_size: list[str] = field(default_factory=list)


def _place(shapes: Shapes, modules: Modules) -> _Placing:
    spellings = _spellings(modules)
    placing = _Placing()
    for name, layer in layers(shapes).items():
        if _TEXT_ENCODER.match(name):
            continue
        module = spellings.get(_PREFIX.sub("", name))
        if module is None or not (layer.down and layer.up):
            placing.unknown.append(name)
        elif _fits(shapes[layer.down], shapes[layer.up], modules[module]):
            placing.layers[module] = layer
        else:
            placing.wrong_size.append(name)
    return placing


def _fits(down: tuple[int, ...], up: tuple[int, ...], module: tuple[int, int]) -> bool:
    """Whether down [rank, in, ...] and up [out, rank, ...] belong together and to the module."""
    return down[0] == up[1] and (down[1], up[0]) == module


def _respelled(
    state_dict: Mapping[str, "torch.Tensor"], placing: _Placing
) -> dict[str, "torch.Tensor"]:
    respelled = {}
    for module, layer in placing.layers.items():
        down, up = state_dict[layer.down], state_dict[layer.up]
        if layer.alpha:
            up = up * (float(state_dict[layer.alpha]) / down.shape[0])
        respelled[f"transformer.{module}.lora_A.weight"] = down
        respelled[f"transformer.{module}.lora_B.weight"] = up
    return respelled


def _spellings(modules: Modules) -> dict[str, str]:
    """Modules by every way in which LoRA files write their names, prefixes left out."""
    spellings = {}
    for module in modules:
        for name in (module, ltx_original_name(module), _sdxl_name(module)):
            spellings[name] = module
            spellings[name.replace(".", "_")] = module
    return spellings


def _sdxl_name(module: str) -> str:
    """The original Stable Diffusion XL name of an attention module of the UNet.

    Blocks are counted in threes there, two layers and one resampler, after one input layer.
    """
    found = _UNET_ATTENTION.match(module)
    if found is None:
        return module
    block, at = int(found["block"] or 0), int(found["at"])
    place = {
        "down": f"input_blocks.{3 * block + 1 + at}.1",
        "mid": "middle_block.1",
        "up": f"output_blocks.{3 * block + at}.1",
    }[found["side"]]
    return place + found["rest"]
