"""LoRAs against the layer names of the real classes."""

import pytest
import torch
from diffusers import (
    LTX2Pipeline,
    LTX2VideoTransformer3DModel,
    QwenImagePipeline,
    QwenImageTransformer2DModel,
    UNet2DConditionModel,
)
from lora_files import RANK, lora_shapes, modules_of, write_header
from safetensors.torch import load_file, save_file

from studio.errors import BadInput
from studio.families import FAMILIES
from studio.weights_demo import demo_lora, ensure_demo
from studio.weights_lora import (
    LoraMatch,
    ltx_original_name,
    match,
    normalise,
    read_header,
)

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
