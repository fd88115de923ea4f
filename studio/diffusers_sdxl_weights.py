"""SDXL weights: a diffusers folder, or a single file with the configuration that we ship."""

from pathlib import Path

import torch
from diffusers import StableDiffusionXLPipeline
from safetensors import SafetensorError, safe_open
from transformers import CLIPTokenizer

from studio.errors import MissingWeights

CONFIG_FOLDER = Path(__file__).parent.parent / "assets" / "sdxl_config"
"""SDXL base 1.0's configuration without weights, and CLIP's merges (OpenAI, MIT)."""

# The parts that a checkpoint for text to image has; files of single parts lack some.
_PARTS = (
    "model.diffusion_model.",
    "first_stage_model.",
    "conditioner.embedders.0.",
    "conditioner.embedders.1.",
)

_LONGEST_PROMPT = 77
"""Tokens of CLIP's text encoders, start and end included."""


def load_pipeline(base: Path, dtype: torch.dtype) -> StableDiffusionXLPipeline:
    """The pipeline in main memory, from the disk alone.

    Raises MissingWeights for a file that is no whole SDXL checkpoint, OSError for a folder that
    is not whole.
    """
    if base.is_dir():
        return StableDiffusionXLPipeline.from_pretrained(
            base,
            dtype=dtype,
            variant=_variant(base),
            local_files_only=True,
            use_safetensors=True,
            add_watermarker=False,
        )
    _require_whole(base)
    return StableDiffusionXLPipeline.from_single_file(
        str(base),
        config=str(CONFIG_FOLDER),
        dtype=dtype,
        local_files_only=True,
        add_watermarker=False,
        tokenizer=clip_tokenizer(pad="<|endoftext|>"),
        # SDXL's second text encoder was trained with padding of zeros.
        tokenizer_2=clip_tokenizer(pad="!"),
    )


def clip_tokenizer(pad: str) -> CLIPTokenizer:
    """CLIP's tokenizer, from its merges: all tokens but the last two follow from them."""
    merges = (CONFIG_FOLDER / "merges.txt").read_text(encoding="utf-8").splitlines()
    letters = _byte_letters()
    tokens = [
        *letters,
        *(f"{letter}</w>" for letter in letters),
        *(merge.replace(" ", "") for merge in merges),
        "<|startoftext|>",
        "<|endoftext|>",
    ]
    return CLIPTokenizer(
        vocab={token: number for number, token in enumerate(tokens)},
        merges=[tuple(merge.split(" ")) for merge in merges],
        pad_token=pad,
        model_max_length=_LONGEST_PROMPT,
    )


def _byte_letters() -> list[str]:
    """A visible letter for each of the 256 bytes, in the order of CLIP's vocabulary.

    `bytes_to_unicode` of OpenAI's simple_tokenizer.py: visible Latin-1 stands for itself, the
    other bytes get the letters from 256 on.
    """
    visible = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1)]
    visible += range(ord("®"), ord("ÿ") + 1)
    return [chr(code) for code in (*visible, *range(256, 512 - len(visible)))]


def _variant(folder: Path) -> str | None:
    """Many folders hold half-precision files only, which diffusers finds by this name."""
    files = [file.name for file in (folder / "unet").glob("*.safetensors")]
    return "fp16" if files and all(".fp16." in name for name in files) else None


def _require_whole(file: Path) -> None:
    try:
        with safe_open(file, framework="pt") as checkpoint:
            keys = list(checkpoint.keys())
    except (SafetensorError, OSError) as error:
        raise MissingWeights(
            f"The checkpoint '{file.name}' is damaged or not whole: fetch it again."
        ) from error
    if not all(any(key.startswith(part) for key in keys) for part in _PARTS):
        raise MissingWeights(
            f"The checkpoint '{file.name}' is not a whole SDXL model, with its VAE and both of its"
            " text encoders: choose another one."
        )
