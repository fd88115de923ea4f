"""The three image families on the demo weights, through the engine."""

import io
import time
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch
from image_plans import (
    IMAGE_MODES,
    SIDE,
    STEPS,
    draw_pictures,
    guided,
    image_plan,
    lora_for,
    notes,
    pipeline_of,
    run_plan,
    stages,
)
from PIL import Image
from safetensors.torch import load_file, save_file

from studio.diffusers_engine import DiffusersEngine
from studio.errors import BadInput
from studio.events import PreviewReady, StepDone
from studio.plan import Edit


@pytest.fixture(scope="module")
def engine():
    return DiffusersEngine()


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    return draw_pictures(tmp_path_factory.mktemp("pictures"))


@pytest.fixture
def plan_of(demo_home, pictures):
    return partial(image_plan, demo_home, pictures)


@pytest.fixture
def run(engine, tmp_path):
    return partial(run_plan, engine, tmp_path)


@pytest.mark.parametrize("mode", IMAGE_MODES)
def test_engine_makes_a_picture_at_the_demo_defaults_in_seconds(mode, run, plan_of):
    started = time.process_time()
    plan = plan_of(mode, steps=None, width=256, height=256)
    pixels, events = run(plan)
    assert pixels.shape == (256, 256, 3)
    assert pixels.std() > 5
    assert time.process_time() - started < 15
    steps = plan.sampling[0].steps
    assert stages(events) == list(range(len(plan.stages)))
    assert [event for event in events if isinstance(event, StepDone)] == [
        StepDone(number, steps) for number in range(1, steps + 1)
    ]
    previews = [event.jpeg for event in events if isinstance(event, PreviewReady)]
    assert previews
    assert all(Image.open(io.BytesIO(jpeg)).size == (32, 32) for jpeg in previews)
    assert notes(events) == []


def alternatives(mode, plan, pictures, tmp_path):
    """The same plan with one thing changed, by what was changed."""
    others = {
        "seed": replace(plan, seed=2),
        "prompt": replace(plan, prompt="a blue square"),
        "width": replace(plan, width=2 * SIDE),
        "height": replace(plan, height=2 * SIDE),
        "guidance": guided(plan, 3.0),
        "other guidance": guided(plan, 7.0),
        "negative": replace(guided(plan, 3.0), negative="blue"),
        "steps": replace(plan, sampling=(replace(plan.sampling[0], steps=STEPS + 1),)),
        "weak LoRA": replace(plan, loras=(lora_for(tmp_path / "a.safetensors", plan, 0.5),)),
        "LoRA": replace(plan, loras=(lora_for(tmp_path / "b.safetensors", plan, 1.0),)),
    }
    if mode == "edit":
        source, *beside = pictures
        others |= {
            "source": replace(plan, task=Edit(pictures[3], (), SIDE, None)),
            "reference": replace(plan, task=Edit(source, (beside[0],), SIDE, None)),
            "other reference": replace(plan, task=Edit(source, (beside[1],), SIDE, None)),
            "references": replace(plan, task=Edit(source, tuple(beside[:2]), SIDE, None)),
            "longest side": replace(plan, task=Edit(source, (), SIDE // 2, None)),
        }
    return others


@pytest.mark.parametrize("mode", IMAGE_MODES)
def test_engine_gives_equal_pixels_for_equal_plans_only(mode, run, plan_of, pictures, tmp_path):
    plan = plan_of(mode)
    base, _ = run(plan)
    seen = {"base": base.tobytes()}
    for change, other in alternatives(mode, plan, pictures, tmp_path).items():
        pixels = run(other)[0].tobytes()
        assert pixels not in seen.values(), change
        seen[change] = pixels
    assert run(plan)[0].tobytes() == seen["base"]


@pytest.mark.parametrize("mode", ["image", "edit"])
def test_engine_runs_every_preset_of_qwen_differently(mode, run, plan_of):
    made = {
        preset: run(plan_of(mode, preset))[0].tobytes()
        for preset in ("fast", "balanced", "quality")
    }
    assert len(set(made.values())) == 3


@pytest.mark.parametrize("mode", IMAGE_MODES)
def test_engine_does_not_encode_the_same_prompt_again(mode, engine, run, plan_of):
    plan = guided(plan_of(mode, prompt=f"never seen before in {mode}"), 3.0)
    encoder = pipeline_of(engine, run, plan_of(mode)).text_encoder
    calls = []
    hook = encoder.register_forward_hook(lambda *_: calls.append(1))
    run(plan)
    first = len(calls)
    run(replace(plan, seed=2))
    assert first > 0
    assert len(calls) == first
    run(replace(plan, prompt=f"another one in {mode}"))
    hook.remove()
    assert len(calls) > first


def test_engine_encodes_again_for_another_picture_to_edit(engine, run, plan_of, pictures):
    plan = plan_of("edit")
    encoder = pipeline_of(engine, run, plan).text_encoder
    calls = []
    hook = encoder.register_forward_hook(lambda *_: calls.append(1))
    run(replace(plan, task=Edit(pictures[3], (), SIDE, None)))
    hook.remove()
    assert calls


def test_engine_encodes_an_sdxl_prompt_again_under_other_loras(engine, run, plan_of, tmp_path):
    plan = plan_of("photo")
    lora = lora_for(tmp_path / "style.safetensors", plan, 0.5)
    encoder = pipeline_of(engine, run, plan).text_encoder
    calls = []
    hook = encoder.register_forward_hook(lambda *_: calls.append(1))
    counts = []
    for strength in (0.5, 1.0, 0.5):
        run(replace(plan, loras=(replace(lora, strength=strength),)))
        counts.append(len(calls))
    hook.remove()
    assert 0 < counts[0] < counts[1] == counts[2]


def test_engine_says_that_a_lora_fits_in_part(run, plan_of, tmp_path):
    plan = plan_of("image")
    lora = lora_for(tmp_path / "mine.safetensors", plan)
    stray = {
        "transformer.stray.lora_A.weight": torch.zeros(1, 8),
        "transformer.stray.lora_B.weight": torch.zeros(8, 1),
    }
    save_file(load_file(lora.path) | stray, lora.path)
    _, events = run(replace(plan, loras=(lora,)))
    assert len(notes(events)) == 1
    assert "mine" in notes(events)[0]


LONG = "red circle " * 60
"""More than one chunk of CLIP's 75 tokens, less than two."""


def test_engine_reads_the_end_of_a_long_sdxl_prompt(run, plan_of):
    made = [
        run(plan_of("photo", prompt=prompt, negative=negative))[0].tobytes()
        for prompt, negative in (
            (LONG, ""),
            (LONG + "blue", ""),
            (LONG, "blue"),
            ("blue", LONG),
            ("blue", LONG + "square"),
        )
    ]
    assert len(set(made)) == len(made)


def as_the_pipeline_itself(pipeline, plan, **arguments):
    """What a plain call of the loaded pipeline makes of the plan."""
    images = pipeline(
        prompt=plan.prompt,
        negative_prompt=plan.negative,
        num_inference_steps=plan.sampling[0].steps,
        height=plan.height,
        width=plan.width,
        generator=torch.Generator().manual_seed(plan.seed),
        **arguments,
    ).images
    return np.asarray(images[0])


@pytest.mark.parametrize("mode", IMAGE_MODES)
def test_engine_makes_what_the_pipeline_itself_makes(mode, engine, run, plan_of, pictures):
    from studio.diffusers_qwen_edit import reference_areas

    plan = guided(plan_of(mode, negative="a blue square"), 3.0)
    arguments = {"guidance_scale" if mode == "photo" else "true_cfg_scale": 3.0}
    if mode == "edit":
        plan = replace(plan, task=Edit(pictures[0], tuple(pictures[1:3]), 96, None))
        arguments["image"] = [Image.open(path) for path in pictures[:3]]
    pipeline = pipeline_of(engine, run, plan)
    made, _ = run(plan)
    with reference_areas(plan.weights.canvas):
        expected = as_the_pipeline_itself(pipeline, plan, **arguments)
    # One level: the latents' statistics are applied in another order.
    assert np.abs(made.astype(int) - expected).max() <= 1


@pytest.mark.parametrize("size", [(96, 64), (300, 200)])
def test_engine_gives_an_edit_back_in_its_original_size(run, plan_of, pictures, size):
    pixels, _ = run(plan_of("edit", task=Edit(pictures[0], (pictures[1],), SIDE, size)))
    assert pixels.shape == (size[1], size[0], 3)


def test_engine_restores_the_reference_areas_of_the_pipeline(run, plan_of):
    run(plan_of("edit"))
    from diffusers.pipelines.qwenimage import pipeline_qwenimage_edit_plus as edit_plus

    assert edit_plus.VAE_IMAGE_SIZE == 1024 * 1024
    assert edit_plus.CONDITION_IMAGE_SIZE == 384 * 384


def test_engine_shows_references_to_the_edit_at_the_demo_areas(engine, run, plan_of, pictures):
    plan = plan_of("edit", task=Edit(pictures[0], tuple(pictures[1:]), SIDE, None))
    transformer = pipeline_of(engine, run, plan).transformer
    tokens = []
    hook = transformer.register_forward_pre_hook(
        lambda module, args, kwargs: tokens.append(kwargs["hidden_states"].shape[1]),
        with_kwargs=True,
    )
    run(plan)
    hook.remove()
    result, reference = (SIDE // 16) ** 2, 128 * 128 // 16**2
    assert tokens[0] == pytest.approx(result + 4 * reference, rel=0.1)


def test_engine_names_a_picture_that_is_gone(run, plan_of, tmp_path):
    with pytest.raises(BadInput):
        run(plan_of("edit", task=Edit(tmp_path / "gone.png", (), SIDE, None)))
