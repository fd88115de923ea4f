"""LoRAs on real pipelines with the demo weights."""

import os

import numpy as np
import pytest

from studio.diffusers_setup import prepare_libraries

prepare_libraries()

import torch  # noqa: E402
from diffusers import QwenImagePipeline, StableDiffusionXLPipeline  # noqa: E402
from safetensors.torch import load_file, save_file  # noqa: E402

from studio.diffusers_loras import LoraWeight, apply_loras  # noqa: E402
from studio.errors import BadInput  # noqa: E402
from studio.weights_demo import ensure_demo  # noqa: E402

QWEN_LAYERS = ("attn.to_q", "attn.to_v", "img_mlp")
UNET_LAYERS = ("attn1.to_q", "attn2.to_k", "attn2.to_v")
TEXT_LAYERS = ("self_attn.q_proj", "self_attn.v_proj", "self_attn.out_proj")
EFFECT = 0.5


@pytest.fixture(scope="module")
def qwen(demo_home):
    pipeline = QwenImagePipeline.from_pretrained(ensure_demo(demo_home, "qwen-image"))
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


@pytest.fixture(scope="module")
def sdxl(demo_home):
    pipeline = StableDiffusionXLPipeline.from_pretrained(
        ensure_demo(demo_home, "sdxl"), add_watermarker=False
    )
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def factors(model, layers, seed, rank=4):
    """(name, down, up) of random LoRA factors for the linear layers whose names hold `layers`."""
    noise = torch.Generator().manual_seed(seed)
    for name, module in model.named_modules():
        name = name.replace(".base_layer", "")
        fits = any(layer in name for layer in layers) and "lora" not in name
        if fits and isinstance(module, torch.nn.Linear):
            down = torch.randn(rank, module.in_features, generator=noise)
            up = torch.randn(module.out_features, rank, generator=noise)
            yield name, down / module.in_features**0.5, up / rank**0.5 * EFFECT


def qwen_lora(path, qwen, seed=0, prefix="transformer.", layers=QWEN_LAYERS, extra=()):
    tensors = dict(extra)
    for name, down, up in factors(qwen.transformer, layers, seed):
        tensors[f"{prefix}{name}.lora_A.weight"] = down
        tensors[f"{prefix}{name}.lora_B.weight"] = up
    save_file(tensors, path)
    return path


def kohya_lora(path, pipeline, parts, seed=0, alpha=2.0):
    """The spelling of kohya's trainers: `parts` are (prefix, model, layers)."""
    tensors = {}
    for prefix, model, layers in parts:
        for name, down, up in factors(model, layers, seed):
            key = f"{prefix}_{name.removeprefix('text_model.')}".replace(".", "_")
            tensors[f"{key}.lora_down.weight"] = down
            tensors[f"{key}.lora_up.weight"] = up
            tensors[f"{key}.alpha"] = torch.tensor(alpha)
    save_file(tensors, path)
    return path


def text_part(pipeline, number):
    model = {1: pipeline.text_encoder, 2: pipeline.text_encoder_2}[number]
    return f"lora_te{number}_text_model", model, TEXT_LAYERS


def unet_part(pipeline):
    return "lora_unet", pipeline.unet, UNET_LAYERS


def draw(pipeline):
    """[height, width, 3] from 0 to 1."""
    guidance = {"guidance_scale": 1.0} if hasattr(pipeline, "unet") else {"true_cfg_scale": 1.0}
    result = pipeline(
        prompt="a red circle",
        height=32,
        width=32,
        num_inference_steps=2,
        generator=torch.Generator().manual_seed(0),
        output_type="np",
        **guidance,
    )
    return result.images[0]


def difference(one, other):
    return float(np.abs(one - other).mean())


def layer_weights(pipeline):
    adapters = {name for names in pipeline.get_list_adapters().values() for name in names}
    return {
        name: parameter
        for name, parameter in pipeline.transformer.named_parameters()
        if any(adapter in name for adapter in adapters)
    }


@pytest.fixture(params=["qwen", "sdxl"])
def subject(request, tmp_path):
    """A pipeline and a LoRA file for it, left without LoRAs afterwards."""
    pipeline = request.getfixturevalue(request.param)
    path = tmp_path / "my.style v1 (2).safetensors"
    if request.param == "qwen":
        qwen_lora(path, pipeline)
    else:
        kohya_lora(path, pipeline, [unet_part(pipeline), text_part(pipeline, 1)])
    yield pipeline, path
    apply_loras(pipeline, [])


def test_apply_loras_changes_the_picture_more_the_stronger_it_is(subject):
    pipeline, path = subject
    base = draw(pipeline)
    changes = []
    for strength in (0.25, 0.5, 1.0):
        assert apply_loras(pipeline, [LoraWeight(path, strength)]) == ()
        changes.append(difference(base, draw(pipeline)))
    assert 0 < changes[0] < changes[1] < changes[2]


def test_apply_loras_at_strength_zero_is_exactly_the_base_picture(subject):
    pipeline, path = subject
    base = draw(pipeline)
    apply_loras(pipeline, [LoraWeight(path, 0.0)])
    assert difference(base, draw(pipeline)) == 0
    apply_loras(pipeline, [LoraWeight(path, 1.0)])
    apply_loras(pipeline, [LoraWeight(path, 0.0)])
    assert difference(base, draw(pipeline)) == 0


def test_apply_loras_with_none_wanted_is_exactly_the_base_picture(subject):
    pipeline, path = subject
    base = draw(pipeline)
    apply_loras(pipeline, [LoraWeight(path, 1.0)])
    apply_loras(pipeline, [])
    assert difference(base, draw(pipeline)) == 0
    assert not any(pipeline.get_list_adapters().values())


def test_apply_loras_named_twice_acts_as_the_sum(subject):
    pipeline, path = subject
    apply_loras(pipeline, [LoraWeight(path, 0.75)])
    once = draw(pipeline)
    apply_loras(pipeline, [LoraWeight(path, 0.5), LoraWeight(path, 0.25)])
    assert difference(once, draw(pipeline)) == 0


def test_apply_loras_does_the_same_whatever_ran_before(subject, tmp_path):
    pipeline, path = subject
    apply_loras(pipeline, [LoraWeight(path, 0.7)])
    fresh = draw(pipeline)
    other = tmp_path / "other.safetensors"
    if hasattr(pipeline, "unet"):
        kohya_lora(other, pipeline, [text_part(pipeline, 2), unet_part(pipeline)], seed=1)
    else:
        qwen_lora(other, pipeline, seed=1)
    apply_loras(pipeline, [LoraWeight(other, 1.0), LoraWeight(path, -1.0)])
    assert difference(fresh, draw(pipeline)) > 0
    apply_loras(pipeline, [LoraWeight(path, 0.7)])
    assert difference(fresh, draw(pipeline)) == 0


def test_apply_loras_reads_a_file_once_and_keeps_it_at_strength_zero(qwen, tmp_path):
    path = qwen_lora(tmp_path / "style.safetensors", qwen)
    apply_loras(qwen, [LoraWeight(path, 1.0)])
    first = layer_weights(qwen)
    apply_loras(qwen, [LoraWeight(path, 0.0)])
    apply_loras(qwen, [LoraWeight(path, 0.5)])
    again = layer_weights(qwen)
    assert first
    assert all(again[name] is parameter for name, parameter in first.items())
    apply_loras(qwen, [])


def test_apply_loras_deletes_what_is_not_wanted(qwen, tmp_path):
    one = qwen_lora(tmp_path / "one.safetensors", qwen, seed=1)
    two = qwen_lora(tmp_path / "two.safetensors", qwen, seed=2)
    apply_loras(qwen, [LoraWeight(one, 1.0), LoraWeight(two, 1.0)])
    both = len(layer_weights(qwen))
    apply_loras(qwen, [LoraWeight(two, 1.0)])
    assert len(layer_weights(qwen)) == both / 2
    assert [len(names) for names in qwen.get_list_adapters().values()] == [1]
    apply_loras(qwen, [])


def test_apply_loras_reads_a_changed_file_again(qwen, tmp_path):
    path = qwen_lora(tmp_path / "style.safetensors", qwen, seed=1)
    apply_loras(qwen, [LoraWeight(path, 1.0)])
    before = draw(qwen)
    qwen_lora(path, qwen, seed=2)
    os.utime(path, (1, 1))
    apply_loras(qwen, [LoraWeight(path, 1.0)])
    assert difference(before, draw(qwen)) > 0
    assert [len(names) for names in qwen.get_list_adapters().values()] == [1]
    apply_loras(qwen, [])


@pytest.mark.parametrize("prefix", ["", "diffusion_model.", "model.diffusion_model."])
def test_apply_loras_takes_every_spelling(qwen, tmp_path, prefix):
    apply_loras(qwen, [LoraWeight(qwen_lora(tmp_path / "a.safetensors", qwen), 1.0)])
    expected = draw(qwen)
    other = qwen_lora(tmp_path / "b.safetensors", qwen, prefix=prefix)
    apply_loras(qwen, [LoraWeight(other, 1.0)])
    assert difference(expected, draw(qwen)) == 0
    apply_loras(qwen, [])


def test_apply_loras_says_each_time_that_a_file_fits_in_part(qwen, tmp_path):
    extra = {
        "transformer.elsewhere.to_q.lora_A.weight": torch.zeros(4, 8),
        "transformer.elsewhere.to_q.lora_B.weight": torch.zeros(8, 4),
    }
    path = qwen_lora(tmp_path / "partly.safetensors", qwen, layers=("attn.to_q",), extra=extra)
    blocks = len(qwen.transformer.transformer_blocks)
    sentence = f"The LoRA 'partly' fits {blocks} of its {blocks + 1} layers to this model."
    assert apply_loras(qwen, [LoraWeight(path, 1.0)]) == (sentence,)
    assert apply_loras(qwen, [LoraWeight(path, 0.5)]) == (sentence,)
    apply_loras(qwen, [])


def test_apply_loras_refuses_a_file_that_fits_nowhere_and_stays_usable(qwen, tmp_path):
    base = draw(qwen)
    good = qwen_lora(tmp_path / "good.safetensors", qwen)
    bad = tmp_path / "bad.safetensors"
    save_file({name: tensor[:, :1].contiguous() for name, tensor in load_file(good).items()}, bad)
    with pytest.raises(BadInput, match="bad"):
        apply_loras(qwen, [LoraWeight(good, 1.0), LoraWeight(bad, 1.0)])
    apply_loras(qwen, [])
    assert difference(base, draw(qwen)) == 0


def test_apply_loras_refuses_layers_of_another_size_in_sdxl(sdxl, tmp_path):
    base = draw(sdxl)
    path = kohya_lora(tmp_path / "other.safetensors", sdxl, [unet_part(sdxl)])
    tensors = load_file(path)
    odd = next(name for name in tensors if name.endswith("to_k.lora_down.weight"))
    save_file(tensors | {odd: tensors[odd][:, :-1].contiguous()}, path)
    with pytest.raises(BadInput, match="other"):
        apply_loras(sdxl, [LoraWeight(path, 1.0)])
    assert not any(sdxl.get_list_adapters().values())
    assert difference(base, draw(sdxl)) == 0


def test_apply_loras_leaves_nothing_of_a_file_that_is_refused_half_way(sdxl, tmp_path):
    base = draw(sdxl)
    # diffusers takes no text encoder layers without the output projections among them.
    words = ("lora_te1_text_model", sdxl.text_encoder, ("self_attn.q_proj",))
    path = kohya_lora(tmp_path / "odd.safetensors", sdxl, [unet_part(sdxl), words])
    with pytest.raises(BadInput, match="odd"):
        apply_loras(sdxl, [LoraWeight(path, 1.0)])
    assert not any(sdxl.get_list_adapters().values())
    apply_loras(sdxl, [])
    assert difference(base, draw(sdxl)) == 0


def test_apply_loras_names_a_file_that_is_gone(qwen, tmp_path):
    with pytest.raises(BadInput, match=r"gone\.safetensors"):
        apply_loras(qwen, [LoraWeight(tmp_path / "gone.safetensors", 1.0)])


@pytest.mark.parametrize("number", [1, 2])
def test_apply_loras_changes_each_text_encoder_of_sdxl(sdxl, tmp_path, number):
    base = sdxl.encode_prompt("a red circle", do_classifier_free_guidance=False)[0]
    parts = [unet_part(sdxl), text_part(sdxl, number)]
    path = kohya_lora(tmp_path / "words.safetensors", sdxl, parts)
    assert apply_loras(sdxl, [LoraWeight(path, 1.0)]) == ()
    changed = sdxl.encode_prompt("a red circle", do_classifier_free_guidance=False)[0]
    width = sdxl.text_encoder.config.hidden_size
    sides = (slice(None, width), slice(width, None))
    moved = [not torch.equal(base[..., side], changed[..., side]) for side in sides]
    assert moved == [number == 1, number == 2]
    apply_loras(sdxl, [])


def test_apply_loras_keeps_one_of_two_that_touch_different_models(sdxl, tmp_path):
    words = kohya_lora(
        tmp_path / "words.safetensors", sdxl, [unet_part(sdxl), text_part(sdxl, 1)], seed=1
    )
    shapes = kohya_lora(tmp_path / "shapes.safetensors", sdxl, [unet_part(sdxl)], seed=2)
    apply_loras(sdxl, [LoraWeight(shapes, 1.0)])
    alone = draw(sdxl)
    apply_loras(sdxl, [LoraWeight(words, 1.0), LoraWeight(shapes, 1.0)])
    assert difference(alone, draw(sdxl)) > 0
    apply_loras(sdxl, [LoraWeight(shapes, 1.0)])
    assert difference(alone, draw(sdxl)) == 0
    apply_loras(sdxl, [])
