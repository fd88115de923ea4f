"""Which weights are on this machine, and where: real ones wherever they lie, else the demo's."""

import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from studio import model_places
from studio.errors import BadInput, MissingWeights
from studio.families import FAMILIES, Canvas, Family
from studio.home import Home
from studio.registry import Adapter, Model, Variant
from studio.safetensors_header import BrokenHeader, ShortFile, read_safetensors_header

DEMO = "demo"

_SDXL_TEXT_ENCODER = "conditioner.embedders.1."
"""Only SDXL's checkpoints have a second text encoder under that name."""


@dataclass(frozen=True)
class Weights:
    """One set of weights of a family, ready to be planned with."""

    family: str
    label: str
    base: Path
    """A diffusers folder, a single-file checkpoint, or the transformer of split files."""
    adapters: Mapping[str, Path]
    """Where each LoRA of the registry belongs; the file may be missing."""
    upsampler: Path | None
    demo: bool
    engine: str = "diffusers"
    """Which engine's files these are."""
    files: Mapping[str, Path] = field(default_factory=dict)
    """Every file and folder of real weights, by its role in the registry."""
    control_models: Mapping[str, Path] = field(default_factory=dict)
    """Where the folder of each control model of the registry belongs; it may be missing."""

    @property
    def canvas(self) -> Canvas:
        family = FAMILIES[self.family]
        return family.demo_canvas if self.demo else family.canvas

    def adapter(self, name: str) -> Path:
        """The file of a registry LoRA.

        Raises BadInput where nobody has made one for these weights, MissingWeights where it is
        not on this machine.
        """
        if name not in self.adapters:
            raise BadInput(
                f"There is no LoRA '{name}' for the weights '{self.label}': choose another preset"
                " or other weights.",
                "preset",
            )
        path = self.adapters[name]
        if not self.demo and not path.is_file():
            raise MissingWeights(
                f"The LoRA '{path.name}' is not here: run 'python -m studio fetch', put it into"
                f" '{path.parent}', or choose a preset or setting that does not need it."
            )
        return path

    def control_model(self, role: str) -> Path:
        """The folder of a control model. Raises MissingWeights where it is not on this machine."""
        folder = self.control_models[role]
        if not self.demo and not (folder / "config.json").is_file():
            repo = FAMILIES[self.family].control_models[role].repo
            raise MissingWeights(
                f"This control needs the model '{repo}' of the Hugging Face Hub in '{folder}': run"
                " 'python -m studio fetch style', or choose Edges."
            )
        return folder

    def reference_downscale(self, name: str) -> int:
        """What the registry says of a control LoRA's reference size."""
        return FAMILIES[self.family].adapters[name].reference_downscale


def installed(home: Home, family_id: str, engine: str = "diffusers") -> tuple[Weights, ...]:
    """Every set of a family's weights that an engine can use, the preferred first, demo last."""
    return _FINDERS[engine](home, FAMILIES[family_id])


def _diffusers_weights(home: Home, family: Family) -> tuple[Weights, ...]:
    real = _variants(home, family, "diffusers")
    return (*real, *_checkpoints(home, family), _demo(home, family))


def _comfy_weights(home: Home, family: Family) -> tuple[Weights, ...]:
    return tuple(_variants(home, family, "comfy"))


def _variants(home: Home, family: Family, engine: str) -> list[Weights]:
    """Those whose every part is here."""
    found = []
    for variant in family.variants_of(engine):
        files = {role: _first(home, models) for role, models in variant.parts.items()}
        present = {role: path for role, path in files.items() if path is not None}
        if len(present) == len(files):
            found.append(_real(home, family, variant, present))
    return found


def _first(home: Home, models: tuple[Model, ...]) -> Path | None:
    return next((path for one in models if (path := model_places.find(home, one))), None)


def _real(home: Home, family: Family, variant: Variant, files: Mapping[str, Path]) -> Weights:
    return Weights(
        family=family.id,
        label=variant.label,
        base=next(iter(files.values())),
        adapters=_adapters(home, variant.adapters),
        upsampler=files.get("upsampler"),
        demo=False,
        engine=variant.engine,
        files=files,
        control_models=_places(home, family.control_models),
    )


def _adapters(home: Home, adapters: Mapping[str, Adapter]) -> dict[str, Path]:
    return _places(home, {name: adapter.model for name, adapter in adapters.items()})


def _places(home: Home, models: Mapping[str, Model]) -> dict[str, Path]:
    """Where each is, or belongs."""
    return {
        name: model_places.find(home, model) or model_places.target(home, model)
        for name, model in models.items()
    }


def _checkpoints(home: Home, family: Family) -> list[Weights]:
    """The user's own single files."""
    if not family.checkpoints:
        return []
    return [
        Weights(family.id, file.stem, file, {}, None, demo=False, files={"checkpoint": file})
        for file in model_places.names_in(home, "checkpoints").values()
        if _is_sdxl(file, file.stat().st_mtime_ns)
    ]


@functools.lru_cache(maxsize=1024)
def _is_sdxl(file: Path, changed: int) -> bool:
    """By the header; one look for each state of the file."""
    try:
        names = read_safetensors_header(file).tensors
    except (OSError, BrokenHeader, ShortFile):
        return False
    return any(name.startswith(_SDXL_TEXT_ENCODER) for name in names)


def _demo(home: Home, family: Family) -> Weights:
    base = home.demo / family.id
    return Weights(
        family=family.id,
        label=DEMO,
        base=base,
        adapters={name: base / "loras" / f"{name}.safetensors" for name in family.adapters},
        upsampler=base / "latent_upsampler" if family.upscales else None,
        demo=True,
        control_models={role: base / "control" / role for role in family.control_models},
    )


_FINDERS: Mapping[str, Callable[[Home, Family], tuple[Weights, ...]]] = {
    "diffusers": _diffusers_weights,
    "comfy": _comfy_weights,
}
