"""LTX-2.3 in one file: the same clip as from the folder, and a reason where there is none."""

import re
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from accelerate import init_empty_weights
from clip_runs import CPU, TINY, ClipRuns, frames_of
from comfy_here import NEEDS_COMFYUI
from ltx_original import (
    PUBLISHED_CONFIG,
    PUBLISHED_SHAPES,
    original_config,
    original_tensors,
    write_original,
)
from safetensors import safe_open
from safetensors.torch import load_file

from studio.diffusers_ltx import load_ltx
from studio.diffusers_ltx_single import PARTS, Checkpoint, load_single_file
from studio.diffusers_video import LtxRunner
from studio.errors import MissingWeights
from studio.torch_device import Device
from studio.weights_ltx import is_ltx_single_file


@pytest.fixture(scope="module")
def clips(demo_home, tmp_path_factory):
    return ClipRuns(demo_home, tmp_path_factory.mktemp("clips"))


@pytest.fixture(scope="module")
def folder(clips):
    """The same weights as they are published for diffusers."""
    return load_ltx(clips.weights.base, CPU)


@pytest.fixture(scope="module")
def original(clips, folder, tmp_path_factory):
    """The file, its tensors and its configuration."""
    tensors, config = original_tensors(folder), original_config(folder)
    path = tmp_path_factory.mktemp("original") / "ltx-2.3-22b-dev.safetensors"
    return SimpleNamespace(
        path=write_original(path, tensors, config),
        tensors=tensors,
        config=config,
        text=clips.weights.base,
    )


@pytest.fixture
def rewritten(original, tmp_path):
    """The file again, after a change of its tensors or of its configuration."""

    def write(change):
        tensors, config = dict(original.tensors), dict(original.config)
        change(tensors, config)
        return write_original(tmp_path / "changed.safetensors", tensors, config)

    return write


def load(original, path=None, text=None):
    return load_single_file(path or original.path, CPU, text or original.text)


def test_a_single_file_makes_the_same_clip_as_the_folder(clips, original):
    """As the studio finds it: the checkpoint, Gemma's folder beside it, the other parts as ever."""
    plans = [
        clips.plan("lipsync"),
        clips.plan("t2v", loras=[clips.lora("camera-jib-up")], **TINY),
    ]
    expected = [frames_of(clips.make(plan)) for plan in plans]
    files = {"checkpoint": original.path, "text_encoder": original.text}
    weights = replace(clips.weights, base=original.path, files=files)
    kept, clips.runner = clips.runner, LtxRunner(weights, CPU)
    try:
        made = [frames_of(clips.make(replace(plan, weights=weights))) for plan in plans]
    finally:
        clips.runner = kept
    assert all(np.array_equal(*both) for both in zip(expected, made, strict=True))


def test_every_part_is_the_folders_own(folder, original):
    pipeline = load(original)
    known = folder
    for name in (*PARTS, "text_encoder"):
        ours, theirs = getattr(pipeline, name), getattr(known, name)
        assert type(ours) is type(theirs)
        state = ours.state_dict()
        assert all(torch.equal(state[key], one) for key, one in theirs.state_dict().items())
        assert not any(one.is_meta for one in (*ours.parameters(), *ours.buffers()))
    assert type(pipeline) is type(known)
    mine, folder = dict(pipeline.scheduler.config), dict(known.scheduler.config)
    assert {name: mine[name] for name in folder if name[0] != "_"} == {
        name: one for name, one in folder.items() if name[0] != "_"
    }


def test_configurations_are_those_of_the_folder(folder, original):
    pipeline = load(original)
    for name in PARTS:
        mine = getattr(pipeline, name).config
        for key, value in getattr(folder, name).config.items():
            if not key.startswith("_"):
                assert _plain(mine[key]) == _plain(value), f"{name}: {key}"


def _plain(value):
    return list(value) if isinstance(value, tuple) else value


def test_weights_take_the_devices_format_but_for_the_vocoder(original):
    pipeline = load_single_file(original.path, Device("cpu", torch.bfloat16), original.text)
    formats = {
        name: {one.dtype for one in getattr(pipeline, name).parameters()}
        for name in (*PARTS, "text_encoder")
    }
    assert formats.pop("vocoder") == {torch.float32}
    assert set().union(*formats.values()) == {torch.bfloat16}


@pytest.mark.parametrize(
    ("name", "tensors", "billions"),
    # Tensors as counted in the published files, parameters as in the published configurations.
    [
        ("transformer", 4186, 18.989),
        ("connectors", 2 * 129 + 4, 3.172),
        ("vocoder", 1227, 0.129),
        ("vae", 170, 0.726),
    ],
)
def test_the_published_checkpoint_gives_the_published_sizes(name, tensors, billions):
    keys = frozenset(["text_embedding_projection.video_aggregate_embed.bias"])
    part = PARTS[name]
    with init_empty_weights():
        module = part.kind.from_config(
            part.config(PUBLISHED_CONFIG, PUBLISHED_SHAPES.__getitem__, keys)
        )
    names = {part.name(key) for key in module.state_dict()}
    assert len(names) == len(module.state_dict()) == tensors
    assert sum(one.numel() for one in module.parameters()) / 1e9 == pytest.approx(
        billions, abs=1e-3
    )


def test_the_published_vae_is_built_as_the_published_folder_says():
    config = PARTS["vae"].config(PUBLISHED_CONFIG, PUBLISHED_SHAPES.__getitem__, frozenset())
    assert config["block_out_channels"] == [256, 512, 1024, 1024]
    assert config["decoder_block_out_channels"] == [256, 512, 512, 1024]
    assert config["layers_per_block"] == config["decoder_layers_per_block"] == [4, 6, 4, 2, 2]
    assert config["upsample_factor"] == [2, 2, 1, 2]
    assert config["upsample_type"] == ["spatiotemporal", "spatiotemporal", "temporal", "spatial"]


# 8 bits


@pytest.mark.parametrize("scale_name", ["weight_scale", "scale_weight"])
@pytest.mark.parametrize("per_row", [False, True])
def test_scaled_float8_is_multiplied_back(original, rewritten, scale_name, per_row):
    key = "model.diffusion_model.transformer_blocks.1.attn1.to_q.weight"

    def change(tensors, _):
        whole = tensors[key]
        largest = whole.abs().amax(dim=1, keepdim=True) if per_row else whole.abs().max()
        scale = largest / 448
        tensors[key] = (whole / scale).to(torch.float8_e4m3fn)
        tensors[key.replace("weight", scale_name)] = scale.flatten() if per_row else scale
        tensors[key.replace("weight", "input_scale")] = torch.ones(())
        tensors["model.diffusion_model.scaled_fp8"] = torch.empty(2).to(torch.float8_e4m3fn)

    pipeline = load(original, rewritten(change))
    read = pipeline.transformer.transformer_blocks[1].attn1.to_q.weight
    whole = original.tensors[key]
    assert read.dtype == torch.float32
    # Three bits of mantissa: half a step is a sixteenth.
    assert torch.allclose(read, whole, rtol=1 / 16, atol=float(whole.abs().max()) / 448 / 16)


def test_float8_without_a_scale_is_taken_as_it_is(original, rewritten):
    key = "vae.decoder.conv_in.conv.weight"

    def change(tensors, _):
        tensors[key] = tensors[key].to(torch.float8_e5m2)

    pipeline = load(original, rewritten(change))
    expected = original.tensors[key].to(torch.float8_e5m2).float()
    assert torch.equal(pipeline.vae.decoder.conv_in.conv.weight, expected)


def test_other_formats_are_refused(original, rewritten):
    key = "model.diffusion_model.transformer_blocks.1.attn1.to_q.weight"

    def change(tensors, _):
        tensors[key] = tensors[key].to(torch.int8)

    with pytest.raises(MissingWeights, match=r"format that is not known here \(torch.int8\)"):
        load(original, rewritten(change))


# What is refused


def test_a_missing_and_an_unknown_tensor_are_counted(original, rewritten):
    def change(tensors, _):
        one = "model.diffusion_model.transformer_blocks.0.attn1.to_q.weight"
        tensors[one.replace("to_q", "to_quite")] = tensors.pop(one)
        tensors["model.diffusion_model.extra"] = torch.zeros(1)
        tensors["model.diffusion_model.proj_out.bias"] = torch.zeros(7)

    with pytest.raises(
        MissingWeights, match="1 tensors are missing, 2 are unknown and 1 have another size"
    ):
        load(original, rewritten(change))


@pytest.mark.parametrize(
    "key", ["vae.extra", "audio_vae.extra", "vocoder.extra", "text_embedding_projection.extra"]
)
def test_nothing_is_left_over_in_any_part(original, rewritten, key):
    with pytest.raises(MissingWeights, match=f"'{key}' among them"):
        load(original, rewritten(lambda tensors, _: tensors.update({key: torch.zeros(1)})))


@pytest.mark.parametrize("part", ["transformer", "vae", "audio_vae", "vocoder"])
def test_a_file_that_does_not_say_how_it_is_built_is_refused(original, rewritten, part):
    with pytest.raises(MissingWeights, match=f"not built as LTX-2.3 is .*{part}"):
        load(original, rewritten(lambda _, config: config.pop(part)))


def test_a_vae_of_another_shape_is_refused(original, rewritten):
    def change(_, config):
        config["vae"] = {**config["vae"], "decoder_blocks": config["vae"]["decoder_blocks"][1:]}

    with pytest.raises(MissingWeights, match="video VAE is built in another way"):
        load(original, rewritten(change))


def test_files_that_are_no_whole_checkpoint_are_refused(original, tmp_path):
    short = tmp_path / "short.safetensors"
    short.write_bytes(original.path.read_bytes()[:-100])
    with pytest.raises(MissingWeights, match=r"'short\.safetensors' is damaged"):
        load(original, short)
    alone = {key: one for key, one in original.tensors.items() if not key.startswith("vae.")}
    path = write_original(tmp_path / "alone.safetensors", alone, original.config)
    with pytest.raises(MissingWeights, match=r"not a whole LTX-2\.3 model"):
        load(original, path)


def test_gguf_is_named_and_refused(original, tmp_path):
    with pytest.raises(MissingWeights, match=r"'ltx\.gguf' is a GGUF file"):
        load(original, tmp_path / "ltx.gguf")


def test_without_gemma_it_says_what_to_fetch(original, tmp_path):
    with pytest.raises(MissingWeights, match="Gemma 3 12B: fetch the folders 'text_encoder'") as no:
        load_single_file(original.path, CPU, None)
    assert str(no.value).endswith("LTX-2.3-Diffusers.")
    with pytest.raises(MissingWeights, match=re.escape(f"into '{tmp_path}'")):
        load_single_file(original.path, CPU, tmp_path)


def test_the_header_alone_tells_such_a_file(original):
    with safe_open(original.path, framework="pt") as file:
        keys = list(file.keys())
    assert is_ltx_single_file(keys)
    assert not is_ltx_single_file(key for key in keys if not key.startswith("vocoder."))
    assert not is_ltx_single_file(key for key in keys if "prompt_adaln" not in key)
    assert not is_ltx_single_file(["model.diffusion_model.input_blocks.0.0.weight"])


# Against ComfyUI's own modules


class TestAgainstComfyUI:
    pytestmark = NEEDS_COMFYUI

    @pytest.fixture
    def checkpoint(self, comfy_home):
        return next((comfy_home.models / "checkpoints").glob("*.safetensors"))

    def test_names_are_those_of_its_modules(self, checkpoint, original):
        known = {_pattern(key) for key in load_file(checkpoint)}
        ours = {_pattern(key) for key in original.tensors}
        # Its audio VAE has blocks of one width here, and no statistics that nobody reads.
        rest = {key for key in ours - known if ".nin_shortcut." not in key}
        assert rest == {"vae.per_channel_statistics.mean-of-stds"}

    @pytest.mark.parametrize("name", ["transformer", "connectors", "vocoder"])
    def test_its_parts_are_read_without_rest(self, checkpoint, name):
        with safe_open(checkpoint, framework="pt") as file:
            module = Checkpoint(file, checkpoint.name).module(PARTS[name], CPU)
        assert sum(one.numel() for one in module.parameters()) > 0


def _pattern(key):
    return re.sub(r"\.\d+(?=\.)", ".N", key)
