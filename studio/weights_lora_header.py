"""A LoRA file's header: the layers that it changes, without reading a tensor."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from studio.errors import BadInput
from studio.safetensors_header import BrokenHeader, Entry, ShortFile, read_safetensors_header

MEGABYTE = 1_000_000

Shapes = Mapping[str, tuple[int, ...]]
"""Shapes of tensors by their keys, of a file's header or of loaded tensors."""

_LYCORIS = re.compile(r"\.(hada_w|lokr_w)[12]")

_FACTOR = re.compile(
    r"^(?P<layer>.+?)\."
    r"(?:(?P<down>lora_A|lora_down|lora\.down)|(?P<up>lora_B|lora_up|lora\.up)|(?P<alpha>alpha))"
    r"(?:\.default)?(?:\.weight)?$"
)


@dataclass(frozen=True)
class LoraHeader:
    path: Path
    tensors: Mapping[str, Entry]
    metadata: Mapping[str, str]

    @property
    def shapes(self) -> Shapes:
        return {key: entry.shape for key, entry in self.tensors.items()}


@dataclass(frozen=True)
class Layer:
    """The keys of one layer's tensors; alpha scales the product by alpha / rank."""

    down: str = ""
    up: str = ""
    alpha: str = ""


def read_header(path: Path) -> LoraHeader:
    """Keys, shapes, dtypes and metadata of a LoRA file.

    Raises BadInput where the file is missing, not in safetensors format, incomplete, or no LoRA.
    """
    header = _read(path)
    _check_lora(header)
    _check_factors(header)
    return header


def layers(keys: Iterable[str]) -> dict[str, Layer]:
    """Layers by their names in the file; a key that is no LoRA factor is a layer without any."""
    roles: dict[str, dict[str, str]] = {}
    for key in keys:
        factor = _FACTOR.match(key)
        if factor is None:
            roles.setdefault(key, {})
        else:
            roles.setdefault(factor["layer"], {})[str(factor.lastgroup)] = key
    return {name: Layer(**role) for name, role in roles.items()}


def _read(path: Path) -> LoraHeader:
    try:
        header = read_safetensors_header(path)
    except OSError as error:
        raise BadInput(
            f"The LoRA '{path.name}' cannot be read: put it into the LoRA folder and choose it"
            " again."
        ) from error
    except ShortFile as short:
        raise BadInput(
            f"The LoRA '{path.name}' is incomplete, {short.size / MEGABYTE:.1f} of"
            f" {short.needed / MEGABYTE:.1f} MB are here: download it again."
        ) from short
    except BrokenHeader as error:
        raise BadInput(
            f"'{path.name}' is not a safetensors file: choose a LoRA in that format."
        ) from error
    return LoraHeader(path, header.tensors, header.metadata)


def _check_lora(header: LoraHeader) -> None:
    names = "\n".join(header.tensors)
    if _LYCORIS.search(names):
        raise BadInput(
            f"'{header.path.name}' is a LyCORIS file (LoHa or LoKr), which cannot be used here:"
            " choose a plain LoRA."
        )
    if "lora" not in names:
        raise BadInput(
            f"'{header.path.name}' has no LoRA layers in it, it looks like a full checkpoint:"
            " choose a LoRA file."
        )


def _check_factors(header: LoraHeader) -> None:
    for layer in layers(header.tensors).values():
        factors = [header.tensors[key] for key in (layer.down, layer.up) if key]
        if any(len(factor.shape) < 2 or min(factor.shape) < 1 for factor in factors):
            raise BadInput(
                f"The LoRA '{header.path.name}' is damaged: download it again, or choose another."
            )
