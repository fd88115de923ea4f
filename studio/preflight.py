"""What a mode would run with now, what that needs, and what of it is missing."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from studio.engine import engine_to_fetch, weights_to_run
from studio.errors import StudioError
from studio.families import FAMILIES, Family
from studio.fitting import Fit, Machine, Needs, Work, explain, explain_dynamic
from studio.home import Home
from studio.modes import Mode
from studio.needs import (
    Need,
    choose_variant,
    gigabytes_missing,
    model_settings,
    models_for,
    needs,
    variants_of,
)
from studio.plan_needs import work_of
from studio.planning import plan_item
from studio.registry import Variant
from studio.request import read_request
from studio.weights import Weights
from studio.weights_hub import GIGABYTE, SPARE_BYTES, free_gigabytes

ANY_PROMPT = "…"
"""A size does not depend on the prompt, which may not be written yet."""


@dataclass(frozen=True)
class Preflight:
    """A mode with some settings, before it runs."""

    mode: Mode
    weights: Weights
    """What will run."""
    variant: Variant | None
    """The set of weights that `needs` tells of: the one that will run, else the one that would be
    fetched. None for a file of the user's own, which needs nothing else."""
    needs: tuple[Need, ...]
    free_gigabytes: float
    """On the disk of the Hub's cache."""
    memory: Fit | None
    """How the real weights go into the memory; None while it is not known."""

    @property
    def fit(self) -> str:
        """The same in one sentence, empty while it is not known."""
        return self.memory.sentence if self.memory else ""

    @property
    def missing(self) -> tuple[Need, ...]:
        return tuple(need for need in self.needs if need.path is None)

    @property
    def gigabytes_missing(self) -> float:
        return gigabytes_missing(self.needs)

    @property
    def licences(self) -> Mapping[str, str]:
        """Of what would be fetched: a page to read it at, by its name."""
        return {need.model.licence: need.model.page for need in reversed(self.missing)}

    @property
    def has_room(self) -> bool:
        """Whether the disk can take what is missing."""
        return has_room(self.gigabytes_missing, self.free_gigabytes)


def has_room(missing: float, free: float) -> bool:
    """Whether a disk with `free` gigabytes can take `missing` ones, as a download asks of it."""
    return not missing or free >= missing + SPARE_BYTES / GIGABYTE


def preflight(
    home: Home,
    mode: Mode,
    raw: Mapping[str, object],
    machine: Machine | None = None,
    engine: str = "",
) -> Preflight:
    """Looks at raw values as a form or a command has them; media and prompt may still be missing.

    `engine` is forced where it can run the mode. Raises BadInput for an unknown choice, and
    FetchFailed where the disk of the Hub's cache cannot be used.
    """
    engine = engine if engine in mode.engines else str(raw.get("engine") or "")
    weights = weights_to_run(home, mode, engine, str(raw.get("weights") or ""))
    variant = _variant(home, mode, weights, engine)
    models = models_for(mode, variant, model_settings(mode, raw)) if variant else ()
    found = needs(home, models)
    # The demo, wanted although the real weights are here, goes into any memory.
    told = machine if not weights.demo or gigabytes_missing(found) else None
    return Preflight(
        mode=mode,
        weights=weights,
        variant=variant,
        needs=found,
        free_gigabytes=free_gigabytes(),
        memory=_fit(mode, variant, _work(home, raw, weights, mode), told) if told else None,
    )


def usual_work(family: Family) -> Work:
    """The default size; of videos five seconds."""
    size = family.canvas.default
    return Work(size.width, size.height, frames=121 if family.upscales else 1)


def _variant(home: Home, mode: Mode, weights: Weights, engine: str) -> Variant | None:
    if weights.demo:
        return choose_variant(home, mode, engine_to_fetch(home, mode, engine))
    known = {one.label for one in variants_of(mode, [weights.engine])}
    if weights.label not in known:
        return None
    return choose_variant(home, mode, weights.engine, weights.label)


def _work(home: Home, raw: Mapping[str, object], weights: Weights, mode: Mode) -> Work:
    """What is asked for, where it can be planned already and real weights would run it."""
    usual = usual_work(FAMILIES[mode.family])
    if weights.demo:
        return usual
    asked = {**raw, "engine": weights.engine, "prompt": raw.get("prompt") or ANY_PROMPT}
    try:
        return work_of(plan_item(read_request(home, mode.id, asked), 0))
    # A picture is not added yet, a LoRA not fetched: whoever starts the job is told.
    except StudioError:
        return usual


def _fit(mode: Mode, variant: Variant | None, work: Work, machine: Machine) -> Fit:
    engine = variant.engine if variant else "diffusers"
    return _FITS[engine](mode, variant, work, machine)


def _fit_diffusers(mode: Mode, variant: Variant | None, work: Work, machine: Machine) -> Fit:
    return explain(FAMILIES[mode.family].needs_for(work), machine)


def _fit_comfy(mode: Mode, variant: Variant | None, work: Work, machine: Machine) -> Fit:
    """By the sizes of the files, which ComfyUI keeps as they are, in 8 or 16 bits."""
    gigabytes = sum(model.gigabytes for model in variant.models) if variant else 0.0
    return explain_dynamic(Needs(int(gigabytes * GIGABYTE), 0, 0, 0, blocks=1), machine)


_FITS: Mapping[str, Callable[[Mode, Variant | None, Work, Machine], Fit]] = {
    "diffusers": _fit_diffusers,
    "comfy": _fit_comfy,
}
