import json
import re
import struct
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from lora_files import RANK, lora_shapes, write_header
from safetensors.torch import save_file

from studio.errors import BadInput
from studio.safetensors_header import Entry
from studio.weights_demo import demo_lora
from studio.weights_lora import (
    LABELS,
    lora_family,
    read_header,
    reference_downscale_factor,
    require_family,
)


def family_of(tmp_path: Path, layers: Mapping[str, tuple[int, int]]) -> str:
    return lora_family(read_header(write_header(tmp_path / "x.safetensors", lora_shapes(layers))))


# Reading


def test_read_header_gives_keys_shapes_dtypes_and_metadata(tmp_path):
    path = tmp_path / "x.safetensors"
    save_file({"a.lora_A.weight": torch.zeros(4, 8).half()}, path, {"note": "hello"})
    header = read_header(path)
    assert header.path == path
    assert header.tensors == {"a.lora_A.weight": Entry((4, 8), "F16")}
    assert header.metadata == {"note": "hello"}


def test_read_header_of_two_gigabytes_is_quick(tmp_path):
    wide = 128 * RANK
    layers = {f"transformer_blocks.{n}.attn.to_q": (wide, wide) for n in range(1000)}
    shapes = {key: (down, 256 * up) for key, (down, up) in lora_shapes(layers).items()}
    path = write_header(tmp_path / "x.safetensors", shapes)
    assert path.stat().st_size > 2_000_000_000
    # Processor time: another program's share of this machine is not ours to answer for.
    start = time.process_time()
    header = read_header(path)
    assert time.process_time() - start < 0.05
    assert len(header.tensors) == 2000


def test_reading_leaves_torch_out():
    check = "import sys, studio.weights_lora; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", check], check=False).returncode == 0


def good_bytes(tmp_path: Path) -> bytes:
    return write_header(tmp_path / "good", lora_shapes({"layer": (64, 64)})).read_bytes()


@pytest.mark.parametrize(
    ("damage", "sentence"),
    [
        (lambda good: good[:-1], r"is incomplete, 0\.0 of 0\.0 MB are here: download it again"),
        (lambda good: good[:40], "is incomplete"),
        (lambda good: b"", "is not a safetensors file"),
        (lambda good: good[:5], "is not a safetensors file"),
        (lambda good: b"PK\x03\x04" + good, "is not a safetensors file"),
        (lambda good: struct.pack("<Q", 2**60) + good[8:], "is not a safetensors file"),
        (lambda good: struct.pack("<Q", 2) + b"[]", "is not a safetensors file"),
        (lambda good: struct.pack("<Q", 9) + b'{"a": {}}', "is not a safetensors file"),
    ],
)
def test_read_header_refuses_a_damaged_file(tmp_path, damage, sentence):
    path = tmp_path / "x.safetensors"
    path.write_bytes(damage(good_bytes(tmp_path)))
    with pytest.raises(BadInput, match=f"'x.safetensors' .*{sentence}|'x.safetensors' {sentence}"):
        read_header(path)


@pytest.mark.parametrize("name", ["missing.safetensors", "."])
def test_read_header_refuses_what_is_no_file(tmp_path, name):
    with pytest.raises(BadInput, match="cannot be read: put it into the LoRA folder"):
        read_header(tmp_path / name)


@pytest.mark.parametrize(
    ("shapes", "sentence"),
    [
        ({"model.diffusion_model.x.weight": (8, 8)}, "it looks like a full checkpoint"),
        ({"lora_unet_x.hada_w1_a": (8, 8)}, "is a LyCORIS file"),
        ({"x.lora_A.weight": (8,)}, "is damaged"),
        ({"x.lora_B.weight": (0, 8)}, "is damaged"),
    ],
)
def test_read_header_refuses_what_is_no_plain_lora(tmp_path, shapes, sentence):
    with pytest.raises(BadInput, match=sentence):
        read_header(write_header(tmp_path / "x.safetensors", shapes))


@settings(max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    header=st.recursive(
        st.none() | st.integers() | st.text(max_size=5),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(
                st.sampled_from(
                    ["a.lora_A.weight", "shape", "dtype", "data_offsets", "__metadata__"]
                ),
                inner,
                max_size=4,
            )
        ),
        max_leaves=8,
    )
)
def test_read_header_answers_any_header_with_a_sentence(tmp_path, header):
    raw = json.dumps(header).encode()
    path = tmp_path / "x.safetensors"
    path.write_bytes(struct.pack("<Q", len(raw)) + raw)
    with pytest.raises(BadInput, match=r"x\.safetensors"):
        read_header(path)


# Families

SDXL_KOHYA = "lora_unet_input_blocks_4_1_transformer_blocks_0_attn2_to_k"


@pytest.mark.parametrize(
    ("family", "layers"),
    [
        ("sdxl", {SDXL_KOHYA: (2048, 640)}),
        ("sdxl", {"lora_unet_down_blocks_1_attentions_0_proj_in": (640, 640)}),
        ("sdxl", {"unet.up_blocks.0.attentions.0.transformer_blocks.9.attn1.to_q": (1280, 1280)}),
        ("sdxl", {"lora_te1_text_model_encoder_layers_0_mlp_fc1": (768, 3072)}),
        ("sd1", {"lora_unet_mid_block_attentions_0_transformer_blocks_0_attn2_to_k": (768, 1280)}),
        ("sd2", {"unet.mid_block.attentions.0.transformer_blocks.0.attn2.to_k": (1024, 1280)}),
        ("qwen-image", {"transformer_blocks.59.attn.add_q_proj": (3072, 3072)}),
        ("qwen-image", {"transformer.transformer_blocks.0.attn.to_q": (3072, 3072)}),
        ("qwen-image", {"diffusion_model.transformer_blocks.0.img_mlp.net.0.proj": (3072, 12288)}),
        ("qwen-image", {"lora_unet_transformer_blocks_0_attn_to_out_0": (3072, 3072)}),
        ("ltx-2.3", {"diffusion_model.transformer_blocks.0.attn1.to_gate_logits": (4096, 32)}),
        ("ltx-2.3", {"diffusion_model.prompt_adaln_single.linear": (4096, 8192)}),
        (
            "ltx-2.3",
            {
                "diffusion_model.adaln_single.linear": (4096, 9 * 4096),
                "diffusion_model.audio_patchify_proj": (128, 2048),
            },
        ),
        (
            "ltx-2-19b",
            {
                "diffusion_model.adaln_single.linear": (4096, 6 * 4096),
                "diffusion_model.transformer_blocks.0.audio_attn1.to_q": (2048, 2048),
            },
        ),
        (
            "ltx-2-19b",
            {
                "diffusion_model.caption_projection.linear_1": (3840, 4096),
                "diffusion_model.transformer_blocks.0.video_to_audio_attn.to_q": (2048, 2048),
            },
        ),
        ("ltx-2", {"diffusion_model.transformer_blocks.0.audio_attn1.to_q": (2048, 2048)}),
        ("ltx-2", {"diffusion_model.transformer_blocks.0.attn2.to_k": (4096, 4096)}),
        (
            "ltx-2",
            {
                "diffusion_model.av_ca_a2v_gate_adaln_single.linear": (4096, 4096),
                "diffusion_model.transformer_blocks.0.attn2.to_k": (4096, 4096),
            },
        ),
        ("ltx-video", {"transformer.transformer_blocks.0.attn2.to_k": (2048, 2048)}),
        ("flux", {"transformer.single_transformer_blocks.0.attn.to_q": (3072, 3072)}),
        ("flux", {"lora_unet_double_blocks_0_img_mlp_0": (3072, 12288)}),
        ("sd3", {"transformer.transformer_blocks.0.ff_context.net.2": (6144, 1536)}),
        ("wan", {"diffusion_model.blocks.0.self_attn.q": (5120, 5120)}),
        ("other", {"diffusion_model.layers.0.attention.to_q": (3840, 3840)}),
    ],
)
def test_lora_family_goes_by_names_and_telling_shapes(tmp_path, family, layers):
    assert family_of(tmp_path, layers) == family
    assert family in LABELS


@pytest.mark.parametrize(
    ("family", "lora"),
    [
        ("qwen-image", "lightning-4steps"),
        ("qwen-image-edit", "lightning-8steps"),
        ("ltx-2.3", "distilled"),
        ("ltx-2.3", "camera-dolly-in"),
        ("ltx-2.3", "union-control"),
    ],
)
def test_demo_loras_belong_to_their_family(demo_home, family, lora):
    header = require_family(demo_lora(demo_home, family, lora), family)
    assert lora_family(header) == family.removesuffix("-edit")


@pytest.mark.parametrize(
    ("family", "layer", "sentence"),
    [
        (
            "qwen-image",
            SDXL_KOHYA,
            "'x.safetensors' is a LoRA for SDXL; this mode runs Qwen-Image."
            " Choose a LoRA for Qwen-Image.",
        ),
        (
            "qwen-image-edit",
            SDXL_KOHYA,
            "'x.safetensors' is a LoRA for SDXL; this mode runs Qwen-Image-Edit."
            " Choose a LoRA for Qwen-Image.",
        ),
        (
            "sdxl",
            "diffusion_model.layers.0.attention.to_q",
            "'x.safetensors' is a LoRA for another model; this mode runs SDXL."
            " Choose a LoRA for SDXL.",
        ),
    ],
)
def test_require_family_says_what_the_lora_is_for(tmp_path, family, layer, sentence):
    path = write_header(tmp_path / "x.safetensors", lora_shapes({layer: (2048, 640)}))
    with pytest.raises(BadInput, match=re.escape(sentence)):
        require_family(path, family)


@pytest.mark.parametrize(
    ("metadata", "factor"),
    [
        ({}, 1),
        ({"reference_downscale_factor": "2"}, 2),
        ({"reference_downscale_factor": "2.0"}, 2),
        ({"reference_downscale_factor": "0"}, 1),
    ],
)
def test_reference_downscale_factor_comes_from_the_metadata(tmp_path, metadata, factor):
    path = write_header(tmp_path / "x.safetensors", lora_shapes({"x": (8, 8)}), **metadata)
    assert reference_downscale_factor(path) == factor


@pytest.mark.parametrize("factor", ["", "half", "nan", "inf"])
def test_reference_downscale_factor_refuses_what_is_no_number(tmp_path, factor):
    path = write_header(
        tmp_path / "x.safetensors",
        lora_shapes({"x": (8, 8)}),
        reference_downscale_factor=factor,
    )
    with pytest.raises(BadInput, match="broken size note"):
        reference_downscale_factor(path)
