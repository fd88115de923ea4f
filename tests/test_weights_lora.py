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
from diffusers import (
    LTX2Pipeline,
    LTX2VideoTransformer3DModel,
    QwenImagePipeline,
    QwenImageTransformer2DModel,
    UNet2DConditionModel,
)
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file

from studio.errors import BadInput
from studio.families import FAMILIES
from studio.safetensors_header import Entry
from studio.weights_demo import demo_lora, ensure_demo
from studio.weights_lora import (
    LABELS,
    LoraMatch,
    lora_family,
    ltx_original_name,
    match,
    normalise,
    read_header,
    reference_downscale_factor,
    require_family,
)

RANK = 4


def write_header(path: Path, shapes: Mapping[str, tuple[int, ...]], **metadata: str) -> Path:
    """A safetensors file whose tensors are a hole: real sizes, no disk."""
    content: dict[str, object] = {"__metadata__": metadata} if metadata else {}
    end = 0
    for key, shape in shapes.items():
        begin, end = end, end + 2 * torch.Size(shape).numel()
        content[key] = {"dtype": "BF16", "shape": shape, "data_offsets": [begin, end]}
    raw = json.dumps(content).encode()
    with path.open("wb") as file:
        file.write(struct.pack("<Q", len(raw)) + raw)
        file.truncate(8 + len(raw) + end)
    return path


def lora_shapes(layers: Mapping[str, tuple[int, int]]) -> dict[str, tuple[int, ...]]:
    """Keys in the lora_A / lora_B spelling for layers of (in, out) features."""
    shapes: dict[str, tuple[int, ...]] = {}
    for layer, (inside, outside) in layers.items():
        shapes[f"{layer}.lora_A.weight"] = (RANK, inside)
        shapes[f"{layer}.lora_B.weight"] = (outside, RANK)
    return shapes


def family_of(tmp_path: Path, layers: Mapping[str, tuple[int, int]]) -> str:
    return lora_family(read_header(write_header(tmp_path / "x.safetensors", lora_shapes(layers))))


def modules_of(model: torch.nn.Module) -> dict[str, tuple[int, int]]:
    return {
        name: (module.in_features, module.out_features)
        for name, module in model.named_modules()
        if isinstance(module, torch.nn.Linear)
    }


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


# Matching, against the layer names of the real classes

SPELLINGS = [
    (prefix, down, up, alpha)
    for prefix in ("", "transformer.", "diffusion_model.", "model.diffusion_model.")
    for down, up, alpha in (
        ("lora_A.weight", "lora_B.weight", None),
        ("lora_A.weight", "lora_B.weight", 2.0),
        ("lora_down.weight", "lora_up.weight", None),
        ("lora_down.weight", "lora_up.weight", 2.0),
    )
] + [
    ("lora_unet_", "lora_down.weight", "lora_up.weight", 2.0),
    ("base_model.model.", "lora_A.default.weight", "lora_B.default.weight", None),
    ("transformer.", "lora.down.weight", "lora.up.weight", None),
]


@pytest.fixture(scope="module")
def transformers(demo_home) -> dict[str, torch.nn.Module]:
    classes = {"qwen-image": QwenImageTransformer2DModel, "ltx-2.3": LTX2VideoTransformer3DModel}
    return {
        family: model.from_pretrained(ensure_demo(demo_home, family), subfolder="transformer")
        for family, model in classes.items()
    }


def spell(
    module: str, family: str, spelling: tuple[str, str, str, float | None]
) -> tuple[str, str, str, float | None]:
    prefix, down, up, alpha = spelling
    original = family == "ltx-2.3" and "diffusion_model" in prefix
    name = ltx_original_name(module) if original else module
    name = prefix + (name.replace(".", "_") if prefix.endswith("_") else name)
    return f"{name}.{down}", f"{name}.{up}", f"{name}.alpha", alpha


@pytest.mark.parametrize("family", ["qwen-image", "ltx-2.3"])
@pytest.mark.parametrize("spelling", SPELLINGS)
def test_match_and_normalise_know_every_spelling(transformers, tmp_path, family, spelling):
    modules = modules_of(transformers[family])
    generator = torch.Generator().manual_seed(0)
    tensors, deltas = {}, {}
    for module, (inside, outside) in modules.items():
        down_key, up_key, alpha_key, alpha = spell(module, family, spelling)
        down = tensors[down_key] = torch.randn(RANK, inside, generator=generator)
        up = tensors[up_key] = torch.randn(outside, RANK, generator=generator)
        deltas[module] = up @ down * ((alpha or RANK) / RANK)
        if alpha:
            tensors[alpha_key] = torch.tensor(alpha)
    save_file(tensors, tmp_path / "x.safetensors")
    header = read_header(tmp_path / "x.safetensors")
    assert match(header, modules) == LoraMatch(len(modules), len(modules), (), ())

    normalised = normalise(load_file(header.path), modules)
    assert len(normalised) == 2 * len(modules)
    for module, delta in deltas.items():
        down = normalised[f"transformer.{module}.lora_A.weight"]
        up = normalised[f"transformer.{module}.lora_B.weight"]
        assert torch.allclose(up @ down, delta, atol=1e-5)


@pytest.mark.parametrize("family", ["qwen-image", "ltx-2.3"])
def test_every_demo_lora_fits_its_model_wholly(demo_home, transformers, family):
    modules = modules_of(transformers[family])
    for name in FAMILIES[family].adapters:
        found = match(read_header(demo_lora(demo_home, family, name)), modules)
        assert found.matched == found.total > 10, name


@pytest.mark.parametrize(
    ("family", "pipeline", "lora"),
    [
        ("qwen-image", QwenImagePipeline, "lightning-4steps"),
        ("ltx-2.3", LTX2Pipeline, "distilled"),
    ],
)
def test_normalised_lora_does_in_the_pipeline_what_the_file_does(demo_home, family, pipeline, lora):
    path = demo_lora(demo_home, family, lora)
    loaded = pipeline.from_pretrained(demo_home.demo / family, local_files_only=True)
    modules = modules_of(loaded.transformer)

    def merged(source: object) -> dict[str, torch.Tensor]:
        loaded.load_lora_weights(source, adapter_name="x")
        assert loaded.get_list_adapters() == {"transformer": ["x"]}
        loaded.fuse_lora()
        weights = {name: value.clone() for name, value in loaded.transformer.state_dict().items()}
        loaded.unfuse_lora()
        loaded.unload_lora_weights()
        return {name: value for name, value in weights.items() if "base_layer" in name}

    from_file, from_tensors = merged(str(path)), merged(normalise(load_file(path), modules))
    assert len(from_file) > 50
    assert from_file.keys() == from_tensors.keys()
    assert all(torch.allclose(from_file[name], from_tensors[name], atol=1e-4) for name in from_file)


def test_match_names_what_is_unknown_and_what_has_another_size(tmp_path):
    shapes = lora_shapes(
        {"transformer.a.to_q": (8, 8), "transformer.b": (8, 8), "transformer.c": (8, 16)}
    )
    shapes["transformer.d.lora_A.weight"] = (RANK, 8)
    shapes["transformer.a.to_q.dora_scale"] = (8, 1)
    header = read_header(write_header(tmp_path / "x.safetensors", shapes))
    found = match(header, {"a.to_q": (8, 8), "c": (8, 8), "d": (8, 8)})
    assert found.matched == 1
    assert found.total == 5
    assert set(found.unknown) == {
        "transformer.b",
        "transformer.d",
        "transformer.a.to_q.dora_scale",
    }
    assert found.wrong_size == ("transformer.c",)


def test_match_counts_factors_of_two_ranks_as_wrong_size(tmp_path):
    shapes = {"a.lora_A.weight": (4, 8), "a.lora_B.weight": (8, 2)}
    header = read_header(write_header(tmp_path / "x.safetensors", shapes))
    assert match(header, {"a": (8, 8)}).wrong_size == ("a",)


def test_normalise_drops_what_the_model_has_not(transformers):
    modules = modules_of(transformers["qwen-image"])
    module, (inside, outside) = next(iter(modules.items()))
    tensors = {
        f"{module}.lora_A.weight": torch.zeros(RANK, inside),
        f"{module}.lora_B.weight": torch.zeros(outside, RANK),
        "elsewhere.lora_A.weight": torch.zeros(RANK, 8),
        "elsewhere.lora_B.weight": torch.zeros(8, RANK),
    }
    assert set(normalise(tensors, modules)) == {
        f"transformer.{module}.lora_A.weight",
        f"transformer.{module}.lora_B.weight",
    }


def test_normalise_refuses_a_lora_of_another_model(transformers):
    tensors = {
        "transformer_blocks.0.attn.to_q.lora_A.weight": torch.zeros(RANK, 3072),
        "transformer_blocks.0.attn.to_q.lora_B.weight": torch.zeros(3072, RANK),
    }
    with pytest.raises(BadInput, match="1 layers have another size, 0 another name"):
        normalise(tensors, modules_of(transformers["qwen-image"]))


def test_normalise_keeps_the_dtype(transformers):
    modules = {"a": (8, 8)}
    tensors = {
        "a.lora_down.weight": torch.ones(RANK, 8).bfloat16(),
        "a.lora_up.weight": torch.ones(8, RANK).bfloat16(),
        "a.alpha": torch.tensor(1.0),
    }
    up = normalise(tensors, modules)["transformer.a.lora_B.weight"]
    assert up.dtype == torch.bfloat16
    assert torch.all(up == 0.25)


SDXL_MODULES = {
    "down_blocks.1.attentions.1.transformer_blocks.0.attn1.to_q": (640, 640),
    "mid_block.attentions.0.transformer_blocks.0.attn2.to_k": (2048, 1280),
    "up_blocks.1.attentions.2.transformer_blocks.1.ff.net.2": (2560, 640),
}
SDXL_SPELLINGS = {
    "diffusers": [f"unet.{module}" for module in SDXL_MODULES],
    "kohya": [f"lora_unet_{module.replace('.', '_')}" for module in SDXL_MODULES],
    "original": [
        "lora_unet_input_blocks_5_1_transformer_blocks_0_attn1_to_q",
        "lora_unet_middle_block_1_transformer_blocks_0_attn2_to_k",
        "lora_unet_output_blocks_5_1_transformer_blocks_1_ff_net_2",
    ],
}


@pytest.mark.parametrize("names", SDXL_SPELLINGS.values(), ids=SDXL_SPELLINGS)
def test_sdxl_lora_is_matched_in_every_spelling_and_passed_on_as_it_is(tmp_path, names):
    layers = dict(zip(names, SDXL_MODULES.values(), strict=True))
    layers["lora_te1_text_model_encoder_layers_0_mlp_fc1"] = (768, 3072)
    header = read_header(write_header(tmp_path / "x.safetensors", lora_shapes(layers)))
    assert match(header, SDXL_MODULES) == LoraMatch(3, 3, (), ())
    tensors = {key: torch.zeros(shape) for key, shape in header.shapes.items()}
    assert normalise(tensors, SDXL_MODULES) == tensors


def test_lora_of_stable_diffusion_1_is_passed_on_as_it_is():
    layer = "unet.down_blocks.0.attentions.0.transformer_blocks.0.attn2.to_k"
    tensors = {
        f"{layer}.lora_A.weight": torch.zeros(4, 768),
        f"{layer}.lora_B.weight": torch.zeros(320, 4),
    }
    assert normalise(tensors, {layer.removeprefix("unet."): (768, 320)}) == tensors


def test_sdxl_lora_of_another_size_is_refused():
    name = "unet.mid_block.attentions.0.transformer_blocks.0.attn2.to_k"
    tensors = {key: torch.zeros(s) for key, s in lora_shapes({name: (512, 1280)}).items()}
    with pytest.raises(BadInput, match="does not fit the model"):
        normalise(tensors, SDXL_MODULES)


def test_sdxl_original_names_find_every_attention_of_the_real_unet(tmp_path):
    with torch.device("meta"):
        unet = UNet2DConditionModel(
            block_out_channels=(320, 640, 1280),
            down_block_types=("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
            up_block_types=("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
            attention_head_dim=(5, 10, 20),
            cross_attention_dim=2048,
            use_linear_projection=True,
        )
    widths = {
        **dict.fromkeys(["input_blocks_4_1", "input_blocks_5_1"], 640),
        **dict.fromkeys(["input_blocks_7_1", "input_blocks_8_1", "middle_block_1"], 1280),
        **dict.fromkeys([f"output_blocks_{n}_1" for n in (0, 1, 2)], 1280),
        **dict.fromkeys([f"output_blocks_{n}_1" for n in (3, 4, 5)], 640),
    }
    layers = {f"lora_unet_{name}_proj_in": (width, width) for name, width in widths.items()}
    header = read_header(write_header(tmp_path / "x.safetensors", lora_shapes(layers)))
    assert match(header, modules_of(unet)) == LoraMatch(11, 11, (), ())
