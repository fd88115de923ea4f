"""What the engine keeps warm, what it survives and what it says of failures."""

import gc
import shutil
import weakref
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch
from image_plans import (
    IMAGE_MODES,
    STEPS,
    Stop,
    draw_pictures,
    ensure_demo_of,
    guided,
    image_plan,
    lora_for,
    notes,
    pipeline_of,
    pixels_of,
    run_plan,
    stages,
)

from studio.diffusers_engine import DiffusersEngine
from studio.errors import Cancelled, EngineFailed, MissingWeights, OutOfMemory
from studio.events import StepDone
from studio.presets import Sampling


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
def test_engine_lets_cancelled_pass_and_stays_usable(mode, run, plan_of, tmp_path):
    plan = plan_of(mode)
    expected, _ = run(plan)
    heard = []
    with pytest.raises(Cancelled):
        run(plan, emit=lambda event: (heard.append(event), Stop(2)(event)))
    assert [event.done for event in heard if isinstance(event, StepDone)] == [1, 2]
    again, _ = run(plan)
    assert np.array_equal(expected, again)


@pytest.mark.parametrize("mode", IMAGE_MODES)
def test_engine_decodes_kept_latents_without_sampling_again(mode, run, plan_of, tmp_path):
    plan = plan_of(mode)
    scratch = tmp_path / "item"
    first, _ = run(plan, scratch)
    again, events = run(replace(plan, notes=("a note",)), scratch)
    assert np.array_equal(first, again)
    last = len(plan.stages)
    assert stages(events) == [0, last - 2, last - 1]
    _, events = run(replace(plan, seed=2), scratch)
    assert stages(events) == list(range(last))


def test_engine_samples_again_over_a_broken_latents_file(run, plan_of, tmp_path):
    plan = plan_of("image")
    scratch = tmp_path / "item"
    first, _ = run(plan, scratch)
    kept = scratch / "latents.safetensors"
    kept.write_bytes(kept.read_bytes()[:-10])
    again, _ = run(plan, scratch)
    assert np.array_equal(first, again)


def failing(real, times, error):
    """`real`, but its first `times` calls raise."""
    left = [times]

    def call(*args, **kwargs):
        if left[0]:
            left[0] -= 1
            raise error
        return real(*args, **kwargs)

    return call


NO_MEMORY = [
    torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB."),
    RuntimeError("MPS backend out of memory (MPS allocated: 9.0 GB)"),
    MemoryError(),
]


@pytest.mark.parametrize("mode", IMAGE_MODES)
def test_engine_decodes_in_tiles_where_memory_runs_out(mode, engine, run, plan_of, monkeypatch):
    plan = plan_of(mode)
    vae = pipeline_of(engine, run, plan).vae
    whole, _ = run(plan)
    tiled = []
    hook = vae.decoder.register_forward_hook(lambda *_: tiled.append(vae.use_tiling))
    monkeypatch.setattr(vae, "decode", failing(vae.decode, 1, NO_MEMORY[0]))
    pixels, events = run(plan)
    hook.remove()
    assert notes(events) == [
        "Decoded in tiles, as the memory was not enough for the whole at once."
    ]
    # One tile at this size.
    assert np.array_equal(pixels, whole)
    assert tiled == [True]
    assert not vae.use_tiling


@pytest.mark.parametrize("error", NO_MEMORY, ids=["cuda", "mps", "cpu"])
def test_engine_keeps_the_latents_where_tiles_are_too_much_too(
    error, engine, run, plan_of, monkeypatch, tmp_path
):
    plan = plan_of("image")
    whole, _ = run(plan)
    vae = pipeline_of(engine, run, plan).vae
    monkeypatch.setattr(vae, "decode", failing(vae.decode, 2, error))
    scratch = tmp_path / "item"
    with pytest.raises(OutOfMemory) as caught:
        run(plan, scratch)
    assert caught.value.stage == "Decoding"
    again, events = run(plan, scratch)
    assert "Sampling" not in [plan.stages[number].label for number in stages(events)]
    assert np.array_equal(whole, again)


def test_engine_names_the_stage_that_ran_out_of_memory(engine, run, plan_of, monkeypatch):
    plan = plan_of("image")
    transformer = pipeline_of(engine, run, plan).transformer
    whole, _ = run(plan)
    monkeypatch.setattr(transformer, "forward", failing(transformer.forward, 2, NO_MEMORY[0]))
    with pytest.raises(OutOfMemory) as caught:
        run(plan)
    assert caught.value.stage == "Sampling"
    engine.release()
    assert np.array_equal(whole, run(plan)[0])


def test_engine_lets_other_errors_pass(engine, run, plan_of, monkeypatch):
    plan = plan_of("image")
    transformer = pipeline_of(engine, run, plan).transformer
    mistake = RuntimeError("The size of tensor a must match")
    monkeypatch.setattr(transformer, "forward", failing(transformer.forward, 1, mistake))
    with pytest.raises(RuntimeError, match="must match"):
        run(plan)


@pytest.mark.parametrize("mode", ["photo", "image"])
def test_engine_refuses_to_write_a_picture_of_nan(mode, run, plan_of, tmp_path):
    plan = plan_of(mode)
    lora = lora_for(tmp_path / "wild.safetensors", plan, scale=float("nan"))
    scratch = tmp_path / "item"
    with pytest.raises(EngineFailed, match="lower the LoRA strengths"):
        run(replace(plan, loras=(lora,)), scratch)
    assert list(scratch.iterdir()) == []


def test_engine_keeps_one_family_and_lets_go_of_the_last(engine, run, plan_of):
    pipeline = weakref.ref(pipeline_of(engine, run, plan_of("image")))
    run(plan_of("image", seed=5))
    assert pipeline() is engine._warm[1]._pipeline
    run(plan_of("edit"))
    gc.collect()
    assert pipeline() is None


def test_engine_lets_go_of_the_last_family_before_it_loads_another(engine, run, plan_of, tmp_path):
    pipeline = weakref.ref(pipeline_of(engine, run, plan_of("image")))
    broken = real_folder(plan_of("edit"), tmp_path / "mine")
    shutil.rmtree(tmp_path / "mine" / "vae")
    with pytest.raises(MissingWeights):
        run(broken)
    gc.collect()
    assert pipeline() is None


def test_engine_release_lets_go_of_the_weights(engine, run, plan_of):
    pipeline = weakref.ref(pipeline_of(engine, run, plan_of("image")))
    engine.release()
    assert pipeline() is None


def real_folder(plan, folder):
    """The plan's weights as if the user had installed them at `folder`."""
    shutil.copytree(ensure_demo_of(plan), folder)
    return replace(plan, weights=replace(plan.weights, base=folder, demo=False, label="Mine"))


def test_engine_stays_warm_without_reading_the_disk_again(run, plan_of, tmp_path):
    plan = real_folder(plan_of("photo"), tmp_path / "mine")
    first, _ = run(plan)
    shutil.rmtree(tmp_path / "mine")
    again, _ = run(plan)
    assert np.array_equal(first, again)


@pytest.mark.parametrize("mode", IMAGE_MODES)
def test_engine_names_weights_that_are_not_whole(mode, run, plan_of, tmp_path):
    plan = real_folder(plan_of(mode), tmp_path / "mine")
    shutil.rmtree(tmp_path / "mine" / "vae")
    with pytest.raises(MissingWeights, match="'Mine'"):
        run(plan)


@pytest.mark.parametrize("part", ["transformer", "text_encoder"])
def test_engine_names_weights_that_are_cut_off(part, run, plan_of, tmp_path):
    plan = real_folder(plan_of("image"), tmp_path / "mine")
    file = next((tmp_path / "mine" / part).glob("*.safetensors"))
    file.write_bytes(file.read_bytes()[:-100])
    with pytest.raises(MissingWeights, match="'Mine'"):
        run(plan)


def test_engine_names_a_lightning_lora_that_is_missing(run, plan_of, tmp_path):
    plan = real_folder(plan_of("image"), tmp_path / "mine")
    gone = {name: tmp_path / f"{name}.safetensors" for name in plan.weights.adapters}
    with pytest.raises(MissingWeights, match=r"lightning-8steps\.safetensors"):
        run(replace(plan, weights=replace(plan.weights, adapters=gone)))


@pytest.mark.parametrize(
    ("mode", "sampler", "schedule"),
    [("image", "dpmpp_2m", "shifted"), ("image", "dpmpp_2m", "karras"), ("photo", "euler", "dev")],
)
def test_engine_refuses_a_sampling_that_the_weights_do_not_have(
    mode, sampler, schedule, run, plan_of
):
    with pytest.raises(EngineFailed, match=f"'{sampler}' with the schedule '{schedule}'"):
        run(plan_of(mode, sampling=(Sampling(STEPS, sampler, schedule),)))


@pytest.mark.parametrize("mode", IMAGE_MODES)
def test_engine_makes_the_same_where_models_visit_the_device_in_turn(
    mode, run, plan_of, monkeypatch, tmp_path
):
    """What runs on CUDA, with the CPU as the device that is visited."""
    plan = guided(plan_of(mode), 3.0)
    plan = replace(plan, loras=(lora_for(tmp_path / "style.safetensors", plan),))
    expected, _ = run(plan)
    monkeypatch.setenv("AIO_MEMORY", "offload")
    offloaded = DiffusersEngine()
    made = [tmp_path / "first", tmp_path / "stopped", tmp_path / "again"]
    for scratch in made:
        scratch.mkdir()
    first = pixels_of(offloaded.run(plan, lambda event: None, made[0]))
    with pytest.raises(Cancelled):
        offloaded.run(plan, Stop(1), made[1])
    assert np.array_equal(pixels_of(offloaded.run(plan, lambda event: None, made[2])), first)
    # One level: the weights lie otherwise in memory, which changes how sums are rounded.
    assert np.abs(first.astype(int) - expected).max() <= 1
