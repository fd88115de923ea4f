"""Plans of the image modes on the demo weights, and what becomes of them."""

import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from safetensors.torch import save_file

from studio.errors import Cancelled
from studio.events import Note, StageStarted, StepDone
from studio.home import Home
from studio.modes import DECODE, MODES, SAVE, Stage
from studio.plan import Drawing, Edit, LoraUse, Plan
from studio.presets import Guidance
from studio.weights import installed
from studio.weights_demo import ensure_demo

IMAGE_MODES = ("photo", "image", "edit")
STEPS = 3
SIDE = 64


def draw_pictures(folder):
    """Four pictures of different shapes and contents."""
    paths = []
    for number, size in enumerate([(96, 64), (64, 96), (80, 80), (96, 64)]):
        noise = np.random.RandomState(number).randint(0, 255, (8, 8, 3), dtype=np.uint8)
        path = folder / f"{number}.png"
        Image.fromarray(noise).resize(size, Image.Resampling.NEAREST).save(path)
        paths.append(path)
    return paths


def image_plan(home, pictures, mode_id, preset="balanced", steps=STEPS, **changes):
    """As the studio plans it, with few steps and small sides unless told otherwise."""
    mode = MODES[mode_id]
    sampling = mode.presets[preset].sampling[0]
    plan = Plan(
        mode=mode_id,
        engine="diffusers",
        weights=installed(home, mode.family)[0],
        preset=preset,
        stages=(*mode.stages, Stage("sample1", "Sampling"), DECODE, SAVE),
        prompt="a red circle",
        negative="",
        seed=1,
        width=SIDE,
        height=SIDE,
        sampling=(replace(sampling, steps=steps or sampling.steps),),
        loras=(),
        task=Edit(pictures[0], (), SIDE, None) if mode_id == "edit" else Drawing(),
    )
    return replace(plan, **changes)


def run_plan(engine, folder, plan, scratch=None, emit=lambda event: None):
    """The pixels of the plan's result and the events, from `scratch` or a new folder."""
    if scratch is None:
        scratch = Path(tempfile.mkdtemp(dir=folder))
    scratch.mkdir(exist_ok=True)
    events = []

    def hear(event):
        events.append(event)
        emit(event)

    path = engine.run(plan, hear, scratch)
    assert path.parent == scratch
    return pixels_of(path), events


def pixels_of(path):
    with Image.open(path) as picture:
        return np.asarray(picture)


def stages(events):
    return [event.index for event in events if isinstance(event, StageStarted)]


def notes(events):
    return [event.text for event in events if isinstance(event, Note)]


class Stop:
    """Cancels at the given step."""

    def __init__(self, step):
        self.step = step

    def __call__(self, event):
        if isinstance(event, StepDone) and event.done == self.step:
            raise Cancelled("stopped")


def guided(plan, scale):
    sampling = plan.sampling[0]
    return replace(plan, sampling=(replace(sampling, guidance=Guidance(scale=scale)),))


def ensure_demo_of(plan):

    return ensure_demo(Home(plan.weights.base.parent.parent), plan.weights.family)


def lora_for(path, plan, strength=1.0, scale=1.0):
    """A LoRA of random factors for every attention value of the plan's denoiser."""
    from diffusers import QwenImageTransformer2DModel, UNet2DConditionModel

    classes = {"unet": UNet2DConditionModel, "transformer": QwenImageTransformer2DModel}
    base = ensure_demo_of(plan)
    part = "unet" if (base / "unet").is_dir() else "transformer"
    model = classes[part].from_pretrained(base / part)
    noise = torch.Generator().manual_seed(0)
    tensors = {}
    for name, module in model.named_modules():
        if name.endswith("to_v"):
            down = torch.randn(4, module.in_features, generator=noise)
            up = torch.randn(module.out_features, 4, generator=noise)
            tensors[f"{part}.{name}.lora_A.weight"] = down / module.in_features**0.5
            tensors[f"{part}.{name}.lora_B.weight"] = up * scale
    save_file(tensors, path)
    return LoraUse(path.stem, path, strength)


def pipeline_of(engine, run, plan):
    """The pipeline that the engine holds for the plan's weights."""
    run(plan)
    return engine._warm[1]._pipeline
