"""Which models a mode needs with given settings, and which of them are on this machine."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import cast

from studio import model_places
from studio.errors import BadInput
from studio.families import FAMILIES
from studio.fields import ChoiceControl, NumberControl, Params, ToggleControl
from studio.home import Home
from studio.modes import Mode
from studio.registry import (
    CONTROL_LORA,
    DEPTH_ESTIMATOR,
    PERSON_DETECTOR,
    POSE_ESTIMATOR,
    Model,
    Variant,
)

CONTROL_MODELS: Mapping[str, tuple[str, ...]] = {
    "depth": (DEPTH_ESTIMATOR,),
    "pose": (PERSON_DETECTOR, POSE_ESTIMATOR),
}
"""What draws a control map, by the value of the mode's `control`; edges need nothing."""


@dataclass(frozen=True)
class Need:
    """A model that a run loads. `path` is None where it is not here, or not whole."""

    model: Model
    path: Path | None
    damaged: bool
    """A file of that name is here, but cut short or empty."""


def model_settings(mode: Mode, raw: Mapping[str, object]) -> Params:
    """The values of those controls that can decide which models are needed; others by default.

    Raises BadInput for one that is not allowed.
    """
    kinds = (ChoiceControl, NumberControl, ToggleControl)
    fields = [field for field in mode.fields if isinstance(field, kinds)]
    return {field.name: field.parse(raw.get(field.name)) for field in fields}


def makers_loras(mode: Mode, params: Params) -> Iterator[tuple[str, float]]:
    """The model makers' LoRAs that the controls ask for, by name, with their strengths."""
    acting = {field.name for field in mode.fields if field.acts(params)}
    if "control_lora_strength" in acting:
        yield CONTROL_LORA, cast(float, params["control_lora_strength"])
    if "camera_strength" in acting:
        yield f"camera-{params['camera']}", cast(float, params["camera_strength"])
    if "detailer_strength" in acting:
        yield "detailer", cast(float, params["detailer_strength"])


def models_for(mode: Mode, variant: Variant, params: Params) -> tuple[Model, ...]:
    """What a run with these settings loads; a LoRA that nobody has made is left out."""
    preset = mode.presets[str(params["preset"])]
    names = [adapter.name for one in preset.sampling_of(variant.engine) for adapter in one.adapters]
    names += [name for name, strength in makers_loras(mode, params) if strength]
    loras = [variant.adapters[name].model for name in names if name in variant.adapters]
    controls = CONTROL_MODELS.get(str(params.get("control")), ())
    drawing = [FAMILIES[mode.family].control_models[role] for role in controls]
    return tuple(dict.fromkeys([*variant.models, *loras, *drawing]))


def every_model_for(mode: Mode, variant: Variant) -> tuple[Model, ...]:
    """What any settings of the mode can load."""
    controls = any(field.name == "control" for field in mode.fields)
    loras = [
        adapter.model
        for name, adapter in variant.adapters.items()
        if controls or name != CONTROL_LORA
    ]
    drawing = FAMILIES[mode.family].control_models.values() if controls else ()
    return tuple(dict.fromkeys([*variant.models, *loras, *drawing]))


def needs(home: Home, models: Iterable[Model]) -> tuple[Need, ...]:
    """The models, each with its place on this machine."""
    return tuple(_need(home, model) for model in models)


def gigabytes_missing(found: Iterable[Need]) -> float:
    """What would be fetched, by the registry's sizes."""
    return sum(need.model.gigabytes for need in found if need.path is None)


def _need(home: Home, model: Model) -> Need:
    path = model_places.find(home, model)
    return Need(model, path, path is None and model_places.damaged(home, model) is not None)


def variants_of(mode: Mode, engines: Iterable[str]) -> tuple[Variant, ...]:
    """The sets of weights that run a mode, in the order of the engines."""
    family = FAMILIES[mode.family]
    return tuple(variant for engine in engines for variant in family.variants_of(engine))


def choose_variant(home: Home, mode: Mode, engine: str, label: str = "") -> Variant:
    """The set that `label` names, else the one of which the least is missing.

    Of parts that may be one of several files, it has first what is here. Raises BadInput for an
    unknown label.
    """
    known = [with_what_is_here(home, one) for one in variants_of(mode, [engine])]
    if not label:
        return min(known, key=lambda one: gigabytes_missing(needs(home, one.models)))
    for variant in known:
        if variant.label == label:
            return variant
    names = ", ".join(f"'{one.label}'" for one in known)
    raise BadInput(
        f"There are no weights called '{label}' for the engine '{engine}': choose {names}.",
        "variant",
    )


def with_what_is_here(home: Home, variant: Variant) -> Variant:
    """A file that does as well as another is not fetched where the other one lies."""
    parts = {
        role: tuple(sorted(choices, key=lambda one: model_places.find(home, one) is None))
        for role, choices in variant.parts.items()
    }
    return replace(variant, parts=parts)
