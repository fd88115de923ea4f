"""SDXL from a single file in the original layout, beside the same weights as a folder."""

import re
import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

from studio.diffusers_setup import prepare_libraries

prepare_libraries()

from diffusers import AutoencoderKL, StableDiffusionXLPipeline, UNet2DConditionModel  # noqa: E402
from safetensors.torch import load_file, save_file  # noqa: E402
from transformers import (  # noqa: E402
    CLIPTextConfig,
    CLIPTextModel,
    CLIPTextModelWithProjection,
)

from studio import diffusers_sdxl_weights  # noqa: E402
from studio.diffusers_engine import DiffusersEngine  # noqa: E402
from studio.diffusers_sdxl_weights import CONFIG_FOLDER, clip_tokenizer, load_pipeline  # noqa: E402
from studio.errors import MissingWeights  # noqa: E402
from studio.modes import DECODE, MODES, SAVE, Stage  # noqa: E402
from studio.plan import Drawing, Plan  # noqa: E402
from studio.weights import Weights  # noqa: E402
from studio.weights_demo import ensure_demo  # noqa: E402

# from_single_file tells the two text encoders apart by their widths.
WIDTHS = (32, 48)

# Names of diffusers and of SDXL's original files, after the rules of
# scripts/convert_diffusers_to_original_sdxl.py in diffusers' repository.
UNET_NAMES = (
    (r"time_embedding\.linear_1", "time_embed.0"),
    (r"time_embedding\.linear_2", "time_embed.2"),
    (r"add_embedding\.linear_1", "label_emb.0.0"),
    (r"add_embedding\.linear_2", "label_emb.0.2"),
    (r"^conv_in", "input_blocks.0.0"),
    (r"^conv_norm_out", "out.0"),
    (r"^conv_out", "out.2"),
    (r"mid_block\.attentions\.0", "middle_block.1"),
    (r"mid_block\.resnets\.(\d)", lambda at: f"middle_block.{2 * int(at[1])}"),
    (
        r"down_blocks\.(\d)\.(resnets|attentions)\.(\d)",
        lambda at: f"input_blocks.{3 * int(at[1]) + int(at[3]) + 1}.{int(at[2] != 'resnets')}",
    ),
    (
        r"down_blocks\.(\d)\.downsamplers\.0\.conv",
        lambda at: f"input_blocks.{3 * int(at[1]) + 3}.0.op",
    ),
    (
        r"up_blocks\.(\d)\.(resnets|attentions)\.(\d)",
        lambda at: f"output_blocks.{3 * int(at[1]) + int(at[3])}.{int(at[2] != 'resnets')}",
    ),
    (r"up_blocks\.(\d)\.upsamplers\.0", lambda at: f"output_blocks.{3 * int(at[1]) + 2}.2"),
    (r"(blocks?\.\d+\.\d)\.norm1", r"\1.in_layers.0"),
    (r"(blocks?\.\d+\.\d)\.conv1", r"\1.in_layers.2"),
    (r"(blocks?\.\d+\.\d)\.norm2", r"\1.out_layers.0"),
    (r"(blocks?\.\d+\.\d)\.conv2", r"\1.out_layers.3"),
    (r"(block\.\d)\.norm1", r"\1.in_layers.0"),
    (r"(block\.\d)\.conv1", r"\1.in_layers.2"),
    (r"(block\.\d)\.norm2", r"\1.out_layers.0"),
    (r"(block\.\d)\.conv2", r"\1.out_layers.3"),
    (r"time_emb_proj", "emb_layers.1"),
    (r"conv_shortcut", "skip_connection"),
)
VAE_NAMES = (
    (r"conv_shortcut", "nin_shortcut"),
    (r"conv_norm_out", "norm_out"),
    (r"mid_block\.attentions\.0\.group_norm", "mid.attn_1.norm"),
    (r"mid_block\.attentions\.0\.to_([qkv])", r"mid.attn_1.\1"),
    (r"mid_block\.attentions\.0\.to_out\.0", "mid.attn_1.proj_out"),
    (r"mid_block\.resnets\.(\d)", lambda at: f"mid.block_{int(at[1]) + 1}"),
    (r"down_blocks\.(\d)\.resnets", r"down.\1.block"),
    (r"down_blocks\.(\d)\.downsamplers\.0", r"down.\1.downsample"),
    (r"up_blocks\.(\d)\.resnets", lambda at: f"up.{3 - int(at[1])}.block"),
    (r"up_blocks\.(\d)\.upsamplers\.0", lambda at: f"up.{3 - int(at[1])}.upsample"),
)
BIG_CLIP_NAMES = (
    (r"text_model\.encoder\.layers", "transformer.resblocks"),
    (r"text_model\.embeddings\.token_embedding", "token_embedding"),
    (r"text_model\.embeddings\.position_embedding\.weight", "positional_embedding"),
    (r"text_model\.final_layer_norm", "ln_final"),
    (r"layer_norm(\d)", r"ln_\1"),
    (r"self_attn", "attn"),
    (r"mlp\.fc1", "mlp.c_fc"),
    (r"mlp\.fc2", "mlp.c_proj"),
    (r"text_projection\.weight", "text_projection"),
)


def renamed(tensors, prefix, rules):
    """The tensors under their original names."""
    original = {}
    for name, tensor in tensors.items():
        for pattern, replacement in rules:
            name = re.sub(pattern, replacement, name)
        original[prefix + name] = tensor.contiguous()
    return original


def original_layout(pipeline):
    """The pipeline's weights as one SDXL checkpoint has them."""
    vae = {
        # The attention of the VAE was written with 1 x 1 convolutions.
        name: tensor[..., None, None]
        if re.search(r"attentions.*(to_[qkv]|to_out\.0)\.weight", name)
        else tensor
        for name, tensor in pipeline.vae.state_dict().items()
    }
    small = {
        f"text_model.{name.removeprefix('text_model.')}": tensor
        for name, tensor in pipeline.text_encoder.state_dict().items()
    }
    big = merged_attention(pipeline.text_encoder_2.state_dict())
    return {
        **renamed(pipeline.unet.state_dict(), "model.diffusion_model.", UNET_NAMES),
        **renamed(vae, "first_stage_model.", VAE_NAMES),
        **renamed(small, "conditioner.embedders.0.transformer.", ()),
        **renamed(big, "conditioner.embedders.1.model.", BIG_CLIP_NAMES),
    }


def merged_attention(tensors):
    """OpenCLIP keeps query, key and value in one tensor, and its projection transposed."""
    merged = {}
    for name, tensor in tensors.items():
        part = re.match(r"(.*self_attn\.)q_proj\.(weight|bias)", name)
        if part:
            kinds = [tensors[f"{part[1]}{kind}_proj.{part[2]}"] for kind in "qkv"]
            merged[f"{part[1]}in_proj_{part[2]}"] = torch.cat(kinds)
        elif name == "text_projection.weight":
            merged[name] = tensor.T
        elif not re.search(r"self_attn\.[kv]_proj", name):
            merged[name] = tensor
    return merged


def text_config(width, activation):
    return CLIPTextConfig(
        vocab_size=49408,
        hidden_size=width,
        projection_dim=width,
        intermediate_size=2 * width,
        num_attention_heads=4,
        num_hidden_layers=2,
        hidden_act=activation,
        bos_token_id=0,
        eos_token_id=2,
        pad_token_id=1,
    )


@pytest.fixture(scope="module")
def tiny(demo_home, tmp_path_factory):
    """A tiny SDXL with CLIP's whole vocabulary: its folder, its file and its configuration."""
    root = tmp_path_factory.mktemp("sdxl")
    pipeline = StableDiffusionXLPipeline.from_pretrained(
        ensure_demo(demo_home, "sdxl"), add_watermarker=False
    )
    torch.manual_seed(0)
    pipeline.register_modules(
        text_encoder=CLIPTextModel(text_config(WIDTHS[0], "quick_gelu")),
        text_encoder_2=CLIPTextModelWithProjection(text_config(WIDTHS[1], "gelu")),
        tokenizer=clip_tokenizer("<|endoftext|>"),
        tokenizer_2=clip_tokenizer("!"),
    )
    pipeline.save_pretrained(root / "folder")
    save_file(original_layout(pipeline), root / "file.safetensors")
    weights_and_tokenizers = shutil.ignore_patterns("*.safetensors", "tokenizer*")
    shutil.copytree(root / "folder", root / "config", ignore=weights_and_tokenizers)
    shutil.copy(CONFIG_FOLDER / "merges.txt", root / "config")
    return root


@pytest.fixture
def tiny_config(tiny, monkeypatch):
    """The tiny model's configuration in place of the one that we ship."""
    monkeypatch.setattr(diffusers_sdxl_weights, "CONFIG_FOLDER", tiny / "config")


def plan_with(base):
    mode = MODES["photo"]
    return Plan(
        mode="photo",
        engine="diffusers",
        weights=Weights("sdxl", base.stem, base, {}, None, demo=False),
        preset="fast",
        stages=(*mode.stages, Stage("sample1", "Sampling"), DECODE, SAVE),
        prompt="a café with 2 cats, “quoted”",
        negative="blurry",
        seed=1,
        width=64,
        height=64,
        sampling=(replace(mode.presets["fast"].sampling[0], steps=2),),
        loras=(),
        task=Drawing(),
    )


def test_load_pipeline_reads_every_tensor_of_a_single_file(tiny, tiny_config):
    folder = load_pipeline(tiny / "folder", torch.float32)
    file = load_pipeline(tiny / "file.safetensors", torch.float32)
    for part in ("unet", "vae", "text_encoder", "text_encoder_2"):
        expected = getattr(folder, part).state_dict()
        found = getattr(file, part).state_dict()
        assert expected.keys() == found.keys()
        assert all(torch.equal(expected[name], found[name]) for name in expected), part


def test_engine_draws_the_same_from_a_single_file_as_from_a_folder(tiny, tiny_config, tmp_path):
    engine = DiffusersEngine()
    drawn = []
    for name in ("folder", "file.safetensors"):
        scratch = tmp_path / name
        scratch.mkdir()
        path = engine.run(plan_with(tiny / name), lambda event: None, scratch)
        with Image.open(path) as picture:
            drawn.append(np.asarray(picture))
    assert drawn[0].std() > 1
    assert np.array_equal(*drawn)


def test_load_pipeline_takes_a_folder_of_half_precision_files(tiny, tmp_path):
    half = tmp_path / "half"
    shutil.copytree(tiny / "folder", half)
    for file in half.glob("*/*.safetensors"):
        file.rename(file.with_name(f"{file.stem}.fp16.safetensors"))
    expected = load_pipeline(tiny / "folder", torch.float32).unet.state_dict()
    found = load_pipeline(half, torch.float32).unet.state_dict()
    assert all(torch.equal(expected[name], found[name]) for name in expected)


@pytest.mark.parametrize("part", ["first_stage_model.", "conditioner.embedders.1."])
def test_engine_names_a_checkpoint_that_lacks_a_part(tiny, tiny_config, tmp_path, part):
    tensors = load_file(tiny / "file.safetensors")
    path = tmp_path / "partial.safetensors"
    save_file({name: one for name, one in tensors.items() if not name.startswith(part)}, path)
    with pytest.raises(MissingWeights, match=r"'partial\.safetensors' is not a whole SDXL model"):
        DiffusersEngine().run(plan_with(path), lambda event: None, tmp_path)


def test_engine_names_a_checkpoint_that_is_cut_off(tiny, tiny_config, tmp_path):
    path = tmp_path / "cut.safetensors"
    path.write_bytes((tiny / "file.safetensors").read_bytes()[:-1000])
    with pytest.raises(MissingWeights, match=r"'cut\.safetensors' is damaged or not whole"):
        DiffusersEngine().run(plan_with(path), lambda event: None, tmp_path)


def test_clip_tokenizer_gives_the_published_tokens():
    tokenizer = clip_tokenizer("!")
    assert len(tokenizer) == 49408
    # The example of OpenAI's CLIP notebook, and the ends as in its simple_tokenizer.py.
    tokens = tokenizer("a photo of a cat").input_ids
    assert tokens == [49406, 320, 1125, 539, 320, 2368, 49407]
    assert tokenizer("a", padding="max_length").input_ids == [49406, 320, 49407, *[0] * 74]
    assert clip_tokenizer("<|endoftext|>")("", padding="max_length").input_ids == [
        49406,
        *[49407] * 76,
    ]
    assert tokenizer.decode(tokenizer("naïve 北京 🙂").input_ids[1:-1]) == "naïve 北京 🙂"


# Parameters of stabilityai/stable-diffusion-xl-base-1.0.
@pytest.mark.parametrize(
    ("part", "kind", "parameters"),
    [
        ("unet", UNet2DConditionModel, 2_567_463_684),
        ("vae", AutoencoderKL, 83_653_863),
        ("text_encoder", CLIPTextModel, 123_060_480),
        ("text_encoder_2", CLIPTextModelWithProjection, 694_659_840),
    ],
)
def test_shipped_configuration_is_that_of_sdxl(part, kind, parameters):
    config = CONFIG_FOLDER / part
    with torch.device("meta"):
        if part.startswith("text"):
            model = kind(CLIPTextConfig.from_pretrained(config))
        else:
            model = kind.from_config(kind.load_config(config))
    assert sum(one.numel() for one in model.parameters()) == parameters
