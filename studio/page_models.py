"""What the page tells of models: the sets of weights of each mode, and of the owner's machine."""

import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict

from studio import model_places
from studio.engine import ENGINES, weights_to_run
from studio.fetching import FetchStatus
from studio.fitting import Machine
from studio.home import Home
from studio.modes import MODES, Mode
from studio.needs import (
    Need,
    every_model_for,
    gigabytes_missing,
    model_settings,
    models_for,
    needs,
    variants_of,
    with_what_is_here,
)
from studio.preflight_machine import machine_sentence
from studio.registry import Model, Variant
from studio.weights_hub import free_gigabytes
from studio.weights_hub_cache import cache_folder

View = dict[str, object]
"""A JSON object."""

Needed = Callable[[Iterable[Model]], tuple[Need, ...]]

# Filled by the script once it is unfolded; `role=status` has screen readers say what changes.
PANEL = """<section id="models-panel" aria-labelledby="models-title">
<p id="fetch-status" role="status" class="unseen"></p>
<details id="models-details"><summary><h2 id="models-title">Models</h2></summary>
<div data-fetching></div>
<div id="models-machine"></div>
<div id="models-list"></div>
</details>
</section>"""


def modes_view(home: Home, engine: str) -> list[View]:
    """Every mode with its sets of weights: what is here, what is missing, and its licences."""
    known: dict[Model, Need] = {}

    def needed(models: Iterable[Model]) -> tuple[Need, ...]:
        """The modes share most models: each is looked for once."""
        wanted = tuple(models)
        known.update(
            {need.model: need for need in needs(home, [one for one in wanted if one not in known])}
        )
        return tuple(known[one] for one in wanted)

    settled = {variant.label: variant for variant in _settled(home)}
    return [_mode_view(home, mode, engine, settled, needed) for mode in MODES.values()]


def fetch_view(status: FetchStatus | None) -> View | None:
    """The newest download, with its numbers in bytes and seconds."""
    if status is None:
        return None
    mode = MODES[status.order.mode]
    return {
        "id": status.id,
        "live": status.live,
        "what": status.order.variant,
        "mode": mode.label,
        **asdict(status.progress),
    }


OPTIONS: Mapping[str, str] = {
    "AIO_MEMORY": "Weights in memory",
    "AIO_ATTENTION": "Attention",
    "AIO_VRAM": "ComfyUI's VRAM",
}
"""What is chosen by the environment before the start, and what it decides."""


def machine_view(home: Home, machine: Machine | None, engine: str = "") -> View:
    """Memory, disk, folders and options. Only for the owner of the machine.

    Raises FetchFailed where the disk of the Hub's cache cannot be used.
    """
    others = {
        folder: None
        for kind in ("checkpoints", "diffusion_models", "loras")
        for folder in map(str, model_places.folders(home, kind))
        if not folder.startswith(str(home.models))
    }
    folders = {
        "Models": str(home.models),
        "Fetched from the Hub": str(cache_folder()),
        "Results": str(home.outputs),
    }
    return {
        "memory": machine_sentence(machine) if machine else None,
        "options": _options(engine),
        "disk": f"{free_gigabytes():.0f} GB free for models",
        "folders": [{"name": name, "path": path} for name, path in folders.items()]
        + [{"name": "Also read", "path": path} for path in others],
    }


def _options(engine: str) -> list[dict[str, str]]:
    chosen = {"Engine": f"{ENGINES[engine].label} where it can" if engine else "the best one here"}
    chosen |= {
        label: f"{os.environ.get(name, '') or 'auto'} ({name})" for name, label in OPTIONS.items()
    }
    return [{"name": name, "value": value} for name, value in chosen.items()]


def _settled(home: Home) -> Iterable[Variant]:
    """Each set of weights once, as it would be completed here."""
    every = {one.label: one for mode in MODES.values() for one in variants_of(mode, mode.engines)}
    return [with_what_is_here(home, one) for one in every.values()]


def _mode_view(
    home: Home, mode: Mode, engine: str, settled: Mapping[str, Variant], needed: Needed
) -> View:
    weights = weights_to_run(home, mode, engine if engine in mode.engines else "")
    sets = [settled[one.label] for one in variants_of(mode, mode.engines)]
    return {
        "id": mode.id,
        "label": mode.label,
        "runs": "demo weights" if weights.demo else weights.label,
        "sets": [_set_view(home, mode, one, needed) for one in sets],
    }


def _set_view(home: Home, mode: Mode, variant: Variant, needed: Needed) -> View:
    usual = needed(models_for(mode, variant, model_settings(mode, {})))
    every = needed(every_model_for(mode, variant))
    entry = ENGINES[variant.engine]
    licences = {need.model.licence: need.model.page for need in reversed(usual)}
    return {
        "variant": variant.label,
        "engine": entry.label,
        "install": "" if entry.installed(home) else entry.how_to_install,
        "missing": gigabytes_missing(usual),
        "missingOfAll": gigabytes_missing(every),
        "licences": [{"name": name, "page": page} for name, page in licences.items()],
        "models": [_model_view(need) for need in every],
    }


def _model_view(need: Need) -> View:
    state = "here" if need.path else "damaged" if need.damaged else "missing"
    return {"name": need.model.name, "gigabytes": need.model.gigabytes, "state": state}
