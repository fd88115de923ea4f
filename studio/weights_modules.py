"""The layers of a set of weights, from its files' headers: what LoRAs are matched against."""

import functools
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path

from studio.safetensors_header import BrokenHeader, ShortFile, read_safetensors_header
from studio.weights import Weights
from studio.weights_lora import Modules, ltx_module_name

_DENOISER_PREFIX = "model.diffusion_model."
_WEIGHT = ".weight"

_NAMES: Mapping[str, Callable[[str], str]] = {
    "qwen-image": str,
    "qwen-image-edit": str,
    "ltx-2.3": ltx_module_name,
}
"""How a family's own files write diffusers' names. SDXL's are not here: its loader knows more
spellings of LoRAs than `weights_lora.match`, which would count them as unknown."""


def modules_of(weights: Weights) -> Modules | None:
    """The denoiser's layers by diffusers' names; None where the files do not tell."""
    files = [(path, path.stat().st_mtime_ns) for path in _denoiser_files(weights)]
    if not files or weights.family not in _NAMES:
        return None
    return _modules(weights.family, tuple(files))


def _denoiser_files(weights: Weights) -> Iterable[Path]:
    if weights.base.is_dir():
        return sorted((weights.base / "transformer").glob("*.safetensors"))
    return [weights.base] if weights.base.is_file() else []


@functools.lru_cache(maxsize=16)
def _modules(family: str, files: tuple[tuple[Path, int], ...]) -> Modules | None:
    """Read once for each state of the files."""
    try:
        return {_NAMES[family](name): size for path, _ in files for name, size in _layers_of(path)}
    except (OSError, BrokenHeader, ShortFile):
        return None


def _layers_of(path: Path) -> Iterator[tuple[str, tuple[int, int]]]:
    """(in features, out features) of every layer with a weight of two dimensions or more."""
    header = read_safetensors_header(path)
    whole = any(key.startswith(_DENOISER_PREFIX) for key in header.tensors)
    for key, entry in header.tensors.items():
        if not key.endswith(_WEIGHT) or len(entry.shape) < 2:
            continue
        if not whole or key.startswith(_DENOISER_PREFIX):
            name = key.removeprefix(_DENOISER_PREFIX).removesuffix(_WEIGHT)
            yield name, (entry.shape[1], entry.shape[0])
