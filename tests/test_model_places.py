"""Models are found wherever they lie, and what is broken is not taken for whole."""

import json
import shutil

import pytest
from model_files import put, put_sdxl, variant

from studio.errors import BadInput, MissingWeights
from studio.families import FAMILIES, LTX, QWEN_IMAGE
from studio.hub_file import HubFile
from studio.model_places import EXTRA_PATHS, damaged, find, folders, names_in, target
from studio.planning import find_lora
from studio.registry import ModelFolder
from studio.weights import installed

UPSCALER = LTX.variants[0].parts["upscaler"][0]
GEMMA = LTX.variants[0].parts["text_encoder"][0]
QWEN = QWEN_IMAGE.variants[0].models[0]


@pytest.fixture(autouse=True)
def no_comfyui(monkeypatch):
    monkeypatch.delenv("AIO_COMFYUI", raising=False)


def moved(path, place):
    place.mkdir(parents=True, exist_ok=True)
    return path.rename(place / path.name)


# Files


def test_file_is_found_in_its_folder_and_in_folders_within(home):
    assert find(home, UPSCALER) is None
    path = put(home, UPSCALER)
    assert find(home, UPSCALER) == path == target(home, UPSCALER)
    inner = moved(path, path.parent / "ltx" / "2.3")
    assert find(home, UPSCALER) == inner


@pytest.mark.parametrize("kind", ["text_encoders", "clip"])
@pytest.mark.parametrize("root", ["", "models"])
def test_file_of_another_comfyui_is_found(home, tmp_path, monkeypatch, root, kind):
    place = tmp_path / "my comfy" / root / kind
    path = moved(put(home, GEMMA), place)
    assert find(home, GEMMA) is None
    monkeypatch.setenv("AIO_MODELS", f"{tmp_path / 'nowhere'}:{tmp_path / 'my comfy'}")
    assert find(home, GEMMA) == path
    assert place in folders(home, "text_encoders")


def test_file_of_the_comfyui_that_is_used_is_found(home, tmp_path, monkeypatch):
    path = moved(put(home, GEMMA), tmp_path / "comfy" / "models" / "text_encoders")
    monkeypatch.setenv("AIO_COMFYUI", str(tmp_path / "comfy"))
    assert find(home, GEMMA) == path


def test_folders_of_extra_model_paths_count(home, tmp_path, monkeypatch):
    base = tmp_path / "big disk"
    paths = [moved(put(home, UPSCALER), base / "upscale"), moved(put(home, GEMMA), base / "te")]
    comfy = tmp_path / "comfy"
    comfy.mkdir()
    (comfy / EXTRA_PATHS).write_text(
        f"disk:\n    base_path: {base}\n    latent_upscale_models: upscale/\n"
        "    clip: |\n        nothing here\n        te\nempty:\n"
    )
    monkeypatch.setenv("AIO_MODELS", str(comfy))
    assert [find(home, UPSCALER), find(home, GEMMA)] == paths


def test_extra_model_paths_that_cannot_be_read_are_named(home, tmp_path, monkeypatch):
    (tmp_path / EXTRA_PATHS).write_text("a: [")
    monkeypatch.setenv("AIO_MODELS", str(tmp_path))
    with pytest.raises(BadInput, match=EXTRA_PATHS):
        find(home, UPSCALER)


@pytest.mark.parametrize("content", [b"", b"<html>404</html>", "short", "dangling"])
def test_broken_file_is_no_model_and_is_said_to_be_damaged(home, content):
    path = put(home, UPSCALER)
    if content == "dangling":
        path.unlink()
        path.symlink_to(home.root / "gone")
    else:
        path.write_bytes(path.read_bytes()[:-1] if content == "short" else content)
    assert find(home, UPSCALER) is None
    assert (damaged(home, UPSCALER) == path) == (content != "dangling")


def test_whole_file_elsewhere_goes_before_a_broken_one(home, tmp_path, monkeypatch):
    other = moved(put(home, UPSCALER), tmp_path / "other" / "latent_upscale_models")
    put(home, UPSCALER).write_bytes(b"")
    monkeypatch.setenv("AIO_MODELS", str(tmp_path / "other"))
    assert find(home, UPSCALER) == other and damaged(home, UPSCALER) is None


def test_file_in_the_hubs_cache_is_found(home, hub, tmp_path):
    from studio.weights_hub import fetch_all

    content = put(home, UPSCALER).read_bytes()
    target(home, UPSCALER).unlink()
    hub.repos[UPSCALER.source.repo] = {UPSCALER.source.path: content}
    fetch_all([UPSCALER.source])
    found = find(home, UPSCALER)
    assert found is not None and found.read_bytes() == content
    assert tmp_path / "cache" in found.parents


# Folders


def pipeline_folder(home):
    folder = put(home, QWEN)
    (folder / "model_index.json").write_text(
        json.dumps({"_class_name": "X", "transformer": ["diffusers", "T"], "none": [None, None]})
    )
    part = folder / "transformer"
    part.mkdir()
    shard = put(home, UPSCALER)
    names = [f"model-{number}.safetensors" for number in (1, 2)]
    for name in names:
        shutil.copy(shard, part / name)
    index = {"weight_map": {f"layer {name}": name for name in names}}
    (part / "model.safetensors.index.json").write_text(json.dumps(index))
    return folder


def test_folder_with_all_that_its_indices_name_is_a_model(home):
    assert find(home, QWEN) is None
    folder = pipeline_folder(home)
    assert find(home, QWEN) == folder
    assert [one.label for one in installed(home, "qwen-image")] == ["Qwen-Image", "demo"]


@pytest.mark.parametrize("lost", ["transformer", "transformer/model-2.safetensors"])
def test_folder_that_lacks_a_part_is_none(home, lost):
    path = pipeline_folder(home) / lost
    shutil.rmtree(path) if path.is_dir() else path.unlink()
    assert find(home, QWEN) is None


@pytest.mark.parametrize("index", ["model_index.json", "transformer/model.safetensors.index.json"])
@pytest.mark.parametrize("content", ["", "[]", '{"weight_map": {"a": 1}, "b": [1, 2]}'])
def test_folder_with_a_broken_index_is_none(home, index, content):
    (pipeline_folder(home) / index).write_text(content)
    assert find(home, QWEN) is None


def test_folder_with_a_cut_shard_is_none(home):
    shard = pipeline_folder(home) / "transformer" / "model-1.safetensors"
    shard.write_bytes(shard.read_bytes()[:-1])
    assert find(home, QWEN) is None


# Sets of weights


def test_set_is_installed_once_all_of_its_parts_are(home):
    wanted = variant(LTX, "LTX-2.3 split")
    *first, last = wanted.models
    put(home, *first)
    assert [one.label for one in installed(home, LTX.id, "comfy")] == []
    put(home, last)
    (found,) = installed(home, LTX.id, "comfy")
    assert set(found.files) == set(wanted.parts) and found.engine == "comfy"


def test_any_file_of_a_role_will_do(home):
    wanted = variant(LTX, "LTX-2.3 fp8")
    put(home, *(choices[-1] for choices in wanted.parts.values()))
    (found,) = installed(home, LTX.id, "comfy")
    assert found.files["text_encoder"].name == "gemma_3_12B_it.safetensors"


def test_own_checkpoints_of_sdxl_are_told_from_others(home):
    put(home, LTX.variants[0].models[0])
    put_sdxl(home, "mine/photo.safetensors")
    assert [one.label for one in installed(home, "sdxl")] == ["photo", "demo"]
    assert [one.label for one in installed(home, "qwen-image")] == ["demo"]


def test_preset_without_a_lora_for_the_weights_says_so(home):
    put(home, *variant(QWEN_IMAGE, "Qwen-Image-2512").models)
    weights = installed(home, QWEN_IMAGE.id)[0]
    with pytest.raises(BadInput, match="no LoRA 'lightning-8steps' for the weights 'Qwen-Image-25"):
        weights.adapter("lightning-8steps")
    with pytest.raises(MissingWeights, match="python -m studio fetch"):
        weights.adapter("lightning-4steps")


# LoRAs


def test_loras_are_listed_from_all_folders_and_found_by_name(home, tmp_path, monkeypatch):
    adapter = LTX.adapters["detailer"].model
    mine = moved(put(home, adapter), home.models / "loras" / "mine")
    other = moved(put(home, adapter), tmp_path / "models" / "loras")
    monkeypatch.setenv("AIO_MODELS", str(tmp_path))
    assert names_in(home, "loras") == {f"mine/{adapter.name}": mine, adapter.name: other}
    assert find_lora(home, f"mine/{adapter.name.removesuffix('.safetensors')}") == mine
    assert find_lora(home, adapter.name) == other
    assert find_lora(home, str(mine)) == mine


def test_lora_on_the_hub_is_used_from_the_cache_and_otherwise_asked_for(home, hub):
    from studio.weights_hub import fetch_all

    name = "ann/soft-light/v2/soft.safetensors"
    with pytest.raises(MissingWeights, match=f"fetch --lora {name}"):
        find_lora(home, name)
    hub.repos["ann/soft-light"] = {"v2/soft.safetensors": put(home, UPSCALER).read_bytes()}
    fetch_all([HubFile("ann/soft-light", "v2/soft.safetensors")])
    assert find_lora(home, name).read_bytes() == target(home, UPSCALER).read_bytes()
    with pytest.raises(BadInput, match="no LoRA 'ann/soft'"):
        find_lora(home, "ann/soft")


# The registry


def test_no_two_models_want_the_same_place():
    places = {}
    for family in FAMILIES.values():
        adapters = [one.model for each in family.variants for one in each.adapters.values()]
        parts = [model for each in family.variants for one in each.parts.values() for model in one]
        for model in {*adapters, *parts, *family.control_models.values()}:
            assert places.setdefault((model.folder, model.name), model) == model
            assert model.gigabytes > 0 and model.licence and model.page.startswith("https://")
            assert isinstance(model, ModelFolder) or model.name.endswith(".safetensors")


def test_network_without_its_weights_is_not_whole(home):
    folder = put(home, QWEN)
    (folder / "model_index.json").write_text(json.dumps({"unet": ["diffusers", "UNet"]}))
    (folder / "unet").mkdir()
    assert find(home, QWEN) == folder
    # As a download that was stopped leaves it.
    (folder / "unet" / "config.json").write_text("{}")
    assert find(home, QWEN) is None
