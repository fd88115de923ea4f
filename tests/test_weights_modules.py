"""A LoRA is held against the model's own layers before its job is queued, by headers alone."""

import json

import numpy as np
import pytest
from model_files import put, variant
from requests_of_modes import raw_request
from safetensors.numpy import save_file

from studio.errors import BadInput
from studio.families import LTX, QWEN_IMAGE
from studio.model_places import target
from studio.planning import plan_request
from studio.request import read_request
from studio.weights import installed
from studio.weights_modules import modules_of

WIDTH = 8
ATTENTION = ("attn1.to_q", "attn1.to_k", "audio_to_video_attn.to_q")


def layer(name, out=WIDTH, into=WIDTH):
    return {f"{name}.weight": np.zeros((out, into), np.float32)}


def lora(path, names, prefix="diffusion_model.", width=WIDTH):
    path.parent.mkdir(parents=True, exist_ok=True)
    tensors = {}
    for name in names:
        tensors[f"{prefix}{name}.lora_A.weight"] = np.zeros((2, width), np.float32)
        tensors[f"{prefix}{name}.lora_B.weight"] = np.zeros((width, 2), np.float32)
    save_file(tensors, path)


@pytest.fixture
def checkpoint(home):
    """A checkpoint of LTX-2.3 with one block, and all that is needed beside it to plan."""
    wanted = variant(LTX, "LTX-2.3 one file")
    put(home, *wanted.models, *(one.model for one in LTX.adapters.values()))
    tensors = {"model.diffusion_model.patchify_proj.weight": np.zeros((4, 2), np.float32)}
    for name in ATTENTION:
        tensors |= layer(f"model.diffusion_model.transformer_blocks.0.{name}")
    path = target(home, wanted.models[0])
    save_file({**tensors, **layer("vae.decoder.conv_in", 3, 3)}, path)
    return path


def notes(home, media, *loras):
    raw = raw_request("t2v", media, loras=list(loras), engine="diffusers")
    (plan,) = plan_request(read_request(home, "t2v", raw))
    assert not plan.weights.demo
    return [note for note in plan.notes if "LoRA" in note]


def test_layers_of_a_checkpoint_have_diffusers_names(home, checkpoint):
    modules = modules_of(installed(home, LTX.id)[0])
    assert modules == {
        "proj_in": (2, 4),
        **{f"transformer_blocks.0.{name}": (WIDTH, WIDTH) for name in ATTENTION},
    }


def test_layers_of_a_folder_are_those_of_all_shards(home):
    folder = put(home, QWEN_IMAGE.variants[0].models[0])
    (folder / "transformer").mkdir()
    (folder / "model_index.json").write_text(json.dumps({"transformer": ["diffusers", "T"]}))
    for number in range(2):
        name = f"transformer_blocks.{number}.attn.to_q"
        shard = {**layer(name), f"{name}.bias": np.zeros(WIDTH, np.float32)}
        save_file(shard, folder / "transformer" / f"{number}.safetensors")
    modules = modules_of(installed(home, "qwen-image")[0])
    assert set(modules) == {f"transformer_blocks.{number}.attn.to_q" for number in range(2)}


def test_demo_weights_that_are_not_built_yet_tell_nothing(home):
    assert modules_of(installed(home, LTX.id)[-1]) is None


@pytest.mark.parametrize("prefix", ["diffusion_model.", "transformer.", ""])
def test_lora_that_fits_wholly_is_taken_in_silence(home, media, checkpoint, prefix):
    names = [f"transformer_blocks.0.{name}" for name in ATTENTION]
    lora(home.models / "loras" / "soft.safetensors", names, prefix)
    assert notes(home, media, "soft") == []


def test_lora_that_fits_in_part_is_taken_and_said(home, media, checkpoint):
    names = [f"transformer_blocks.{block}.{name}" for block in (0, 1) for name in ATTENTION]
    lora(home.models / "loras" / "deep.safetensors", names)
    assert notes(home, media, "deep") == ["The LoRA 'deep' fits 3 of its 6 layers to this model."]


@pytest.mark.parametrize(("names", "width"), [(ATTENTION[2:], 16), (("audio_attn1.to_q",), WIDTH)])
def test_lora_that_fits_nowhere_is_refused_before_its_job_is_queued(
    home, media, checkpoint, names, width
):
    names = [f"transformer_blocks.0.{name}" for name in names]
    lora(home.models / "loras" / "other.safetensors", names, width=width)
    with pytest.raises(BadInput, match=r"'other.safetensors' cannot be used with this model") as no:
        notes(home, media, "other")
    assert no.value.field == "loras"


def test_changed_checkpoint_is_read_again(home, media, checkpoint):
    before = modules_of(installed(home, LTX.id)[0])
    save_file(layer("model.diffusion_model.transformer_blocks.9.attn1.to_q"), checkpoint)
    assert modules_of(installed(home, LTX.id)[0]) != before
