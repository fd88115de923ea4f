"""The registry is complete: it knows every model that anything names, and nothing else."""

import json

import pytest

from studio.comfy_graphs import WORKFLOWS
from studio.comfy_loaders import KINDS
from studio.engine import ENGINES
from studio.families import FAMILIES
from studio.mode_controls import CAMERA_MOVES
from studio.model_places import ENDING
from studio.modes import MODES
from studio.needs import CONTROL_MODELS, every_model_for, variants_of
from studio.registry import CONTROL_LORA, ModelFile, ModelFolder

DIFFUSERS_ROLES = {"pipeline", "checkpoint", "text_encoder", "upsampler"}


def models_of(family):
    for variant in family.variants:
        yield from (model for choices in variant.parts.values() for model in choices)
        yield from (adapter.model for adapter in variant.adapters.values())
    yield from family.control_models.values()


ALL = {model for family in FAMILIES.values() for model in models_of(family)}


@pytest.mark.parametrize("path", sorted(WORKFLOWS.glob("*.json")), ids=lambda path: path.stem)
def test_every_file_that_a_graph_names_is_known(path):
    graph = json.loads(path.read_text())
    named = {
        value
        for node in graph.values()
        for value in node["inputs"].values()
        if isinstance(value, str) and value.endswith(ENDING)
    }
    assert named and named <= {model.name for model in ALL}


@pytest.mark.parametrize("mode", MODES.values(), ids=lambda mode: mode.id)
def test_every_engine_of_a_mode_has_weights_for_all_of_its_presets(mode):
    for engine in mode.engines:
        (first, *_) = variants_of(mode, [engine])
        for preset in mode.presets.values():
            wanted = {one.name for each in preset.sampling_of(engine) for one in each.adapters}
            assert wanted <= set(first.adapters)


def test_every_lora_and_model_that_a_control_asks_for_is_known():
    for mode in MODES.values():
        known = FAMILIES[mode.family].adapters
        for field in mode.fields:
            if field.name == "camera":
                assert {f"camera-{move}" for move in CAMERA_MOVES} <= set(known)
            if field.name == "detailer":
                assert "detailer" in known
            if field.name == "control":
                roles = {
                    role
                    for option in field.options
                    for role in CONTROL_MODELS.get(option.value, ())
                }
                assert CONTROL_LORA in known
                assert roles == set(FAMILIES[mode.family].control_models)


def test_nothing_is_known_that_nothing_uses():
    used = {
        model
        for mode in MODES.values()
        for variant in variants_of(mode, mode.engines)
        for model in every_model_for(mode, variant)
    }
    others = {
        model
        for family in FAMILIES.values()
        for variant in family.variants
        for choices in variant.parts.values()
        for model in choices
    }
    assert used | others == ALL
    adapters = {name for family in FAMILIES.values() for name in family.adapters}
    asked = {
        one.name
        for mode in MODES.values()
        for preset in mode.presets.values()
        for engine in ENGINES
        for each in preset.sampling_of(engine)
        for one in each.adapters
    }
    cameras = {f"camera-{move}" for move in CAMERA_MOVES}
    assert adapters == asked | cameras | {"detailer", CONTROL_LORA}


def test_every_role_is_one_that_its_engine_loads():
    for family in FAMILIES.values():
        for variant in family.variants:
            known = set(KINDS) if variant.engine == "comfy" else DIFFUSERS_ROLES
            assert set(variant.parts) <= known
            for role, choices in variant.parts.items():
                if variant.engine == "comfy":
                    assert all(isinstance(one, ModelFile) for one in choices)
                    assert {one.folder for one in choices} == {KINDS[role]}
                if role == "pipeline":
                    assert all(isinstance(one, ModelFolder) for one in choices)
