"""Which weights are on this machine, and where: real ones in `models/`, else the demo weights."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from studio.errors import MissingWeights
from studio.families import FAMILIES, Canvas, Family, ModelFile
from studio.home import Home

DEMO = "demo"


@dataclass(frozen=True)
class Weights:
    """One set of weights of a family, ready to be planned with."""

    family: str
    label: str
    base: Path
    """A diffusers folder, or a single-file checkpoint."""
    adapters: Mapping[str, Path]
    """Where each LoRA of the registry belongs; the file may be missing."""
    upsampler: Path | None
    demo: bool
    engine: str = "diffusers"
    """Which engine's files these are."""
    files: Mapping[str, Path] = field(default_factory=dict)
    """The ComfyUI engine's files by role."""
    control_models: Mapping[str, Path] = field(default_factory=dict)
    """Where the folder of each control model of the registry belongs; it may be missing."""

    @property
    def canvas(self) -> Canvas:
        family = FAMILIES[self.family]
        return family.demo_canvas if self.demo else family.canvas

    def adapter(self, name: str) -> Path:
        """The file of a registry LoRA. Raises MissingWeights where it is not on this machine."""
        path = self.adapters[name]
        if not self.demo and not path.is_file():
            raise MissingWeights(
                f"The LoRA '{path.name}' is not in '{path.parent}': put it there, or choose a"
                " preset or setting that does not need it."
            )
        return path

    def control_model(self, role: str) -> Path:
        """The folder of a control model. Raises MissingWeights where it is not on this machine."""
        folder = self.control_models[role]
        if not self.demo and not (folder / "config.json").is_file():
            repo = FAMILIES[self.family].control_models[role]
            raise MissingWeights(
                f"This control needs the model '{repo}' of the Hugging Face Hub in '{folder}': put"
                " it there, or choose Edges."
            )
        return folder

    def reference_downscale(self, name: str) -> int:
        """What the registry says of a control LoRA's reference size."""
        return FAMILIES[self.family].adapters[name].reference_downscale


def installed(home: Home, family_id: str, engine: str = "diffusers") -> tuple[Weights, ...]:
    """Every set of a family's weights that an engine can use, the preferred first, demo last."""
    return _FINDERS[engine](home, FAMILIES[family_id])


def _diffusers_weights(home: Home, family: Family) -> tuple[Weights, ...]:
    return (*_folders(home, family), *_checkpoints(home, family), _demo(home, family))


def _comfy_weights(home: Home, family: Family) -> tuple[Weights, ...]:
    """One set, where every file that the graphs load is there."""
    files = {
        role: next(
            (path for name in file.names if (path := _place(home, file, name)).is_file()), None
        )
        for role, file in family.comfy_files.items()
    }
    found = {role: path for role, path in files.items() if path is not None}
    if not found or len(found) < len(files):
        return ()
    base = found["checkpoint"]
    real = _real(home, family, base.stem, base)
    return (replace(real, upsampler=None, engine="comfy", files=found),)


def _place(home: Home, file: ModelFile, name: str) -> Path:
    return home.models / file.folder / name


def _folders(home: Home, family: Family) -> list[Weights]:
    places = [(label, home.models / "diffusers" / name) for label, name in family.folders.items()]
    return [
        _real(home, family, label, folder)
        for label, folder in places
        if (folder / "model_index.json").is_file()
    ]


def _checkpoints(home: Home, family: Family) -> list[Weights]:
    if not family.checkpoints:
        return []
    files = sorted((home.models / "checkpoints").glob("*.safetensors"))
    return [_real(home, family, file.stem, file) for file in files]


def _real(home: Home, family: Family, label: str, base: Path) -> Weights:
    loras = home.models / "loras"
    return Weights(
        family=family.id,
        label=label,
        base=base,
        adapters={name: loras / adapter.file for name, adapter in family.adapters.items()},
        upsampler=home.models / "diffusers" / family.upsampler if family.upsampler else None,
        demo=False,
        control_models={
            role: home.models / "control" / repo.partition("/")[2]
            for role, repo in family.control_models.items()
        },
    )


def _demo(home: Home, family: Family) -> Weights:
    base = home.demo / family.id
    return Weights(
        family=family.id,
        label=DEMO,
        base=base,
        adapters={name: base / "loras" / f"{name}.safetensors" for name in family.adapters},
        upsampler=base / "latent_upsampler" if family.upsampler else None,
        demo=True,
        control_models={role: base / "control" / role for role in family.control_models},
    )


_FINDERS: Mapping[str, Callable[[Home, Family], tuple[Weights, ...]]] = {
    "diffusers": _diffusers_weights,
    "comfy": _comfy_weights,
}
