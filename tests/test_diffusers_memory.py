"""Every rung of the memory ladder with tiny weights, and the way down when memory runs out."""

import logging
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch
from clip_runs import SHORT, TINY, ClipRuns, Fault, frames_of
from image_plans import (
    IMAGE_MODES,
    guided,
    image_plan,
    lora_for,
    notes,
    run_plan,
    stages,
)
from PIL import Image

from studio import diffusers_ladder
from studio.diffusers_engine import DiffusersEngine
from studio.diffusers_ladder import Ladder
from studio.diffusers_loras import _lora_layers
from studio.diffusers_memory import STORAGE, Placement
from studio.errors import BadInput, OutOfMemory
from studio.fitting import EIGHT_BIT, GIB, GROUP, LADDER, OFFLOAD, RESIDENT, Machine
from studio.torch_device import Device, best_device

CPU = Device("cpu", torch.float32)
FULL = torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB.")
RUNGS = [rung.id for rung in LADDER]


@pytest.fixture(scope="module")
def clips(demo_home, tmp_path_factory):
    return ClipRuns(demo_home, tmp_path_factory.mktemp("clips"))


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    path = tmp_path_factory.mktemp("pictures") / "one.png"
    noise = np.random.default_rng(0).integers(0, 255, (64, 96, 3), dtype=np.uint8)
    Image.fromarray(noise).save(path)
    return [path]


@pytest.fixture
def plan_of(demo_home, pictures):
    return partial(image_plan, demo_home, pictures, steps=2)


@pytest.fixture
def engine_on(monkeypatch):
    """An engine with what AIO_MEMORY and AIO_ATTENTION say."""

    def make(memory="auto", attention="auto"):
        monkeypatch.setenv("AIO_MEMORY", memory)
        monkeypatch.setenv("AIO_ATTENTION", attention)
        return DiffusersEngine()

    return make


def placement_of(engine):
    return engine._warm[1].placement


def distance(one, other):
    return np.abs(one.astype(int) - other.astype(int)).mean()


# Each rung


@pytest.mark.parametrize("mode", IMAGE_MODES)
def test_a_lora_of_the_second_job_acts_on_every_rung(mode, engine_on, plan_of, tmp_path):
    plan = guided(plan_of(mode), 1.0)
    lora = lora_for(tmp_path / "style.safetensors", plan, scale=3.0)
    plans = [plan, *(replace(plan, loras=(replace(lora, strength=one),)) for one in (1.0, 0.0))]
    made, engine = [], engine_on()
    for rung in LADDER:
        engine._ladder._asked = rung
        made.append([run_plan(engine, tmp_path, one)[0] for one in plans])
        without, strong, off = made[-1]
        assert distance(strong, without) > 1
        assert np.array_equal(off, without)
        assert placement_of(engine).rung == rung
    for resident, offload, eight, group in zip(*made, strict=True):
        # One level: the weights lie otherwise in memory, which changes how sums are rounded.
        assert np.abs(resident.astype(int) - offload).max() <= 1
        assert np.array_equal(eight, group)
        assert 0 < distance(eight, resident)
    # The LoRA itself is not rounded: what it changes stays nearly what it was.
    full, _, rounded, _ = ((strong.astype(int) - without).flat for without, strong, _ in made)
    assert np.corrcoef(full, rounded)[0, 1] > 0.6


def test_a_clip_and_its_lora_come_out_on_every_rung(clips):
    camera = [clips.lora("camera-jib-up")]
    plain = clips.plan("i2v")
    moved, still = (clips.plan("i2v", loras=loras) for loras in (camera, ()))
    made = {}
    for rung in LADDER:
        clips.runner.placement.fit(rung)
        frames = [frames_of(clips.make(plan)) for plan in (plain, moved, still)]
        made[rung] = frames
        assert not np.array_equal(frames[1], frames[0])
        assert np.array_equal(frames[2], frames[0])
    for number in range(2):
        assert distance(made[RESIDENT][number], made[OFFLOAD][number]) < 0.1
        assert np.array_equal(made[EIGHT_BIT][number], made[GROUP][number])
        assert 0 < distance(made[RESIDENT][number], made[EIGHT_BIT][number])


def test_eight_bits_are_those_of_the_denoiser_and_of_a_larger_text_encoder(clips):
    clips.runner.placement.fit(GROUP)
    pipeline = clips.runner._pipeline
    for model in (pipeline.transformer, pipeline.text_encoder):
        dtypes = {parameter.dtype for parameter in model.parameters()}
        assert dtypes == {STORAGE, torch.float32}
        # By this the pipeline rounds what the model gives.
        assert model.dtype == torch.float32
    for model in (pipeline.vae, pipeline.connectors, pipeline.audio_vae, pipeline.vocoder):
        assert STORAGE not in {parameter.dtype for parameter in model.parameters()}
    clips.make(clips.plan("i2v", loras=[clips.lora("camera-jib-up")], **TINY))
    layers = list(_lora_layers(pipeline))
    assert layers
    loras = {one.dtype for layer in layers for one in layer.lora_A.parameters()}
    assert loras == {torch.float32}


def test_placement_reaches_what_is_below_and_what_was_not_rounded():
    placement = Placement.__new__(Placement)
    reached = {}
    for rung in (None, *LADDER):
        placement.rung = rung
        reached[rung] = [one for one in LADDER if placement.reaches(one)]
    assert reached == {
        None: list(LADDER),
        RESIDENT: list(LADDER),
        OFFLOAD: list(LADDER),
        EIGHT_BIT: [EIGHT_BIT, GROUP],
        GROUP: [GROUP],
    }


class Visitor(torch.nn.Module):
    """Remembers where it was sent."""

    def __init__(self):
        super().__init__()
        self.sent = []

    def to(self, device):
        self.sent.append(device)


@pytest.mark.parametrize("rung", LADDER, ids=RUNGS)
def test_a_model_beside_the_pipeline_leaves_unless_all_stay(rung):
    placement = Placement.__new__(Placement)
    placement.rung, placement._device = rung, Device("the device", torch.float32)
    model = Visitor()
    with placement.visiting(model):
        pass
    assert model.sent == (["the device"] if rung == RESIDENT else ["the device", "cpu"])


# When memory runs out


def denoiser_fault(engine, run, times):
    run()
    # In its first part, so that the hook which tells of sampling comes before.
    return Fault(next(placement_of(engine).denoiser.children()), FULL, times)


def test_engine_goes_one_rung_down_and_says_so(engine_on, plan_of, tmp_path):
    plan = plan_of("image")
    engine = engine_on()
    run = partial(run_plan, engine, tmp_path, plan)
    whole, events = run()
    assert notes(events) == []
    with denoiser_fault(engine, run, times=1):
        pixels, events = run()
    assert notes(events) == ["Ran with 8-bit weights, as the memory was not enough for full ones."]
    assert [one for one in stages(events) if one == 0] == [0, 0]
    eight, _ = run_plan(engine_on("8bit"), tmp_path, plan)
    assert np.array_equal(pixels, eight)
    # The next job does not try in vain, and says the same.
    again, events = run()
    assert np.array_equal(again, eight)
    assert notes(events) == [EIGHT_BIT.note]
    engine.release()
    assert np.array_equal(run()[0], whole)


@pytest.mark.parametrize(("memory", "below"), [("offload", EIGHT_BIT), ("8bit", None)])
def test_engine_goes_down_from_a_rung_that_was_asked_for(
    memory, below, engine_on, plan_of, tmp_path
):
    engine = engine_on(memory)
    run = partial(run_plan, engine, tmp_path, plan_of("image"))
    with denoiser_fault(engine, run, times=1):
        if below is None:
            with pytest.raises(OutOfMemory):
                run()
        else:
            assert notes(run()[1]) == [below.note]


def test_engine_tells_of_the_memory_after_the_second_failure(engine_on, plan_of, tmp_path):
    engine = engine_on()
    run = partial(run_plan, engine, tmp_path, plan_of("photo"))
    with denoiser_fault(engine, run, times=2), pytest.raises(OutOfMemory) as caught:
        run()
    assert caught.value.stage == "Sampling"
    assert run()[0].std() > 0


def test_engine_starts_anew_after_blocks_ran_out_of_memory(engine_on, plan_of, tmp_path):
    engine = engine_on("group")
    run = partial(run_plan, engine, tmp_path, plan_of("image"))
    first, events = run()
    assert notes(events) == ["Ran with 8-bit weights, moved in block by block, as AIO_MEMORY asks."]
    with denoiser_fault(engine, run, times=1), pytest.raises(OutOfMemory):
        run()
    assert engine._warm is None
    assert np.array_equal(run()[0], first)


def test_a_stage_that_is_done_is_not_sampled_again(clips, tmp_path):
    plan = clips.plan("lipsync", seed=11)
    runs = ClipRuns.__new__(ClipRuns)
    runs.runner = type(clips.runner)(clips.weights, CPU)
    undisturbed = frames_of(runs.make(plan, scratch=tmp_path / "a"))
    with runs.denoiser_calls() as calls:
        scratch = tmp_path / "b"
        upsampler = runs.runner._upsampler
        with Fault(upsampler, FULL), pytest.raises(torch.OutOfMemoryError):
            runs.make(plan, scratch=scratch)
        assert len(calls) == SHORT[0].step_count
        frames = frames_of(runs.make(plan, scratch=scratch))
        assert len(calls) == sum(one.step_count for one in SHORT)
    assert np.array_equal(frames, undisturbed)


def test_engine_keeps_the_first_stage_when_it_goes_down(engine_on, clips, tmp_path):
    plan = clips.plan("t2v")
    engine = engine_on()
    engine.run(plan, lambda event: None, tmp_path)
    (tmp_path / "again").mkdir()
    events = []
    with Fault(engine._warm[1]._upsampler, FULL):
        engine.run(replace(plan, seed=8), events.append, tmp_path / "again")
    assert notes(events) == [EIGHT_BIT.note]
    started = [plan.stages[number].id for number in stages(events)]
    assert started.count("sample1") == 1
    assert started[-4:] == ["upscale", "sample2", "decode", "save"]


# Which rung


def machine_of(vram, ram=128):
    return Machine("cuda", vram * GIB, vram * GIB, ram * GIB, ram * GIB)


@pytest.fixture
def real_plan(plan_of):
    """A plan as for the published SDXL: about 8 GiB when all is on the device."""
    plan = plan_of("photo")
    return replace(plan, weights=replace(plan.weights, demo=False), width=1024, height=1024)


def test_ladder_climbs_only_where_there_is_room_to_spare(real_plan, monkeypatch):
    ladder = Ladder(Device("cuda", torch.bfloat16), "")

    def chosen(vram, held):
        monkeypatch.setattr(diffusers_ladder, "read_machine", lambda device: machine_of(vram))
        return ladder.choose(real_plan, held)

    assert chosen(24, None) == RESIDENT
    assert chosen(9, None) == RESIDENT
    assert chosen(9, OFFLOAD) == OFFLOAD
    assert chosen(9, EIGHT_BIT) == OFFLOAD
    assert chosen(24, EIGHT_BIT) == RESIDENT
    assert chosen(7, RESIDENT) == OFFLOAD
    assert ladder.down(real_plan, RESIDENT) == OFFLOAD
    assert chosen(24, RESIDENT) == OFFLOAD
    assert chosen(5, OFFLOAD) == EIGHT_BIT
    elsewhere = replace(real_plan.weights, base=real_plan.weights.base / "other")
    monkeypatch.setattr(diffusers_ladder, "read_machine", lambda device: machine_of(24))
    assert ladder.choose(replace(real_plan, weights=elsewhere), None) == RESIDENT
    ladder.forget()
    assert chosen(24, OFFLOAD) == RESIDENT


def test_ladder_reads_this_machine():
    from studio.torch_machine import read_machine

    machine = read_machine(CPU)
    assert 0 < machine.ram_free <= machine.ram_total
    assert (machine.vram_free, machine.weight_bytes) == (machine.ram_free, 4)


def test_engine_refuses_settings_that_it_does_not_know(engine_on):
    with pytest.raises(BadInput, match="AIO_MEMORY cannot be 'much'"):
        engine_on("much")
    with pytest.raises(BadInput, match=r"AIO_ATTENTION cannot be 'fast': .*'auto'.*sage"):
        engine_on(attention="fast")


# Attention


def test_attention_that_is_missing_falls_back_to_native(engine_on, plan_of, tmp_path, caplog):
    plan = plan_of("image")
    native, _ = run_plan(engine_on(), tmp_path, plan)
    with caplog.at_level(logging.WARNING):
        pixels, _ = run_plan(engine_on(attention="flash"), tmp_path, plan)
    assert np.array_equal(pixels, native)
    assert "Attention 'flash' cannot be had" in caplog.text


def test_attention_that_is_there_is_used(engine_on, plan_of, tmp_path):
    engine = engine_on(attention="_native_math")
    run_plan(engine, tmp_path, plan_of("image"))
    blocks = placement_of(engine).denoiser.transformer_blocks
    assert {block.attn.processor._attention_backend.value for block in blocks} == {"_native_math"}


def test_attention_that_the_model_refuses_falls_back_to_native(engine_on, clips, tmp_path, caplog):
    plan = clips.plan("t2v", **TINY)
    made = []
    with caplog.at_level(logging.WARNING):
        for attention in ("auto", "_native_flash"):
            scratch = tmp_path / attention
            scratch.mkdir()
            made.append(frames_of(engine_on(attention=attention).run(plan, print, scratch)))
    assert np.array_equal(*made)
    assert "Attention '_native_flash' failed" in caplog.text


# With a GPU


@pytest.mark.gpu
@pytest.mark.parametrize("mode", IMAGE_MODES)
def test_every_rung_makes_the_picture_on_a_gpu(mode, engine_on, plan_of, tmp_path):
    plan = guided(plan_of(mode), 3.0)
    lora = lora_for(tmp_path / "style.safetensors", plan, scale=3.0)
    with_lora = replace(plan, loras=(lora,))
    for rung in RUNGS:
        engine = engine_on(rung)
        without, strong, again = (
            run_plan(engine, tmp_path, one)[0] for one in (plan, with_lora, plan)
        )
        assert distance(strong, without) > 1
        assert np.array_equal(again, without)
        engine.release()


@pytest.mark.gpu
def test_every_rung_makes_the_clip_on_a_gpu(engine_on, clips, tmp_path):
    plans = clips.plan("lipsync"), clips.plan("style", loras=[clips.lora("camera-jib-up")])
    for rung in RUNGS:
        engine = engine_on(rung)
        for number, plan in enumerate(plans):
            scratch = tmp_path / f"{rung}{number}"
            scratch.mkdir()
            assert frames_of(engine.run(plan, lambda event: None, scratch)).std() > 5
        engine.release()


@pytest.mark.gpu
def test_models_leave_the_gpu_after_the_job(engine_on, clips, tmp_path):
    engine = engine_on("offload")
    engine.run(clips.plan("t2v"), lambda event: None, tmp_path)
    models = placement_of(engine)._models().values()
    assert {one.device.type for model in models for one in model.parameters()} == {"cpu"}
    assert best_device().name == "cuda"
