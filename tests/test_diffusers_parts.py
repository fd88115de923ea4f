"""Parts of the engine that need no pipeline: noise levels, previews, kept prompts."""

import re
from dataclasses import replace

import numpy as np
import pytest
import torch
from image_plans import image_plan
from largest_file import largest_file

from studio import diffusers_prompts
from studio.diffusers_prompts import PromptCache
from studio.errors import EngineFailed
from studio.modes import MODES
from studio.torch_latents import load_latents, save_latents
from studio.weights_demo import ensure_demo


def scheduler_of(demo_home, mode, sampling):
    from diffusers import QwenImagePipeline, StableDiffusionXLPipeline

    from studio.diffusers_schedulers import scheduler_for

    base = ensure_demo(demo_home, MODES[mode].family)
    kind = StableDiffusionXLPipeline if mode == "photo" else QwenImagePipeline
    return scheduler_for(sampling, kind.from_pretrained(base).scheduler.config)


@pytest.mark.parametrize("tokens", [256, 6889])
def test_lightning_sigmas_are_those_of_a_fixed_shift_of_three(demo_home, tokens):
    from diffusers.pipelines.qwenimage.pipeline_qwenimage import calculate_shift

    sampling = MODES["image"].presets["balanced"].sampling[0]
    scheduler = scheduler_of(demo_home, "image", sampling)
    names = ("base_image_seq_len", "max_image_seq_len", "base_shift", "max_shift")
    shift = calculate_shift(tokens, *(scheduler.config[name] for name in names))
    plain = np.linspace(1, 1 / 8, 8)
    scheduler.set_timesteps(sigmas=plain, mu=shift)
    expected = 3 * plain / (1 + 2 * plain)
    assert scheduler.sigmas[:-1].numpy() == pytest.approx(expected, abs=1e-6)


def test_karras_sigmas_follow_karras(demo_home):
    sampling = MODES["photo"].presets["balanced"].sampling[0]
    scheduler = scheduler_of(demo_home, "photo", sampling)
    scheduler.set_timesteps(10)
    # SDXL's noise levels, then equation 5 of Karras et al. 2022 with rho 7.
    betas = np.linspace(0.00085**0.5, 0.012**0.5, 1000) ** 2
    levels = ((1 - np.cumprod(1 - betas)) / np.cumprod(1 - betas)) ** 0.5
    low, high = levels[0] ** (1 / 7), levels[-1] ** (1 / 7)
    expected = (high + np.linspace(0, 1, 10) * (low - high)) ** 7
    assert scheduler.sigmas[:-1].numpy() == pytest.approx(expected, rel=1e-3)
    assert scheduler.sigmas[-1] == 0


def test_distilled_sigmas_stay_as_given(demo_home):
    sampling = MODES["t2v"].presets["fast"].sampling[0]
    scheduler = scheduler_of(demo_home, "image", sampling)
    scheduler.set_timesteps(sigmas=list(sampling.sigmas))
    assert scheduler.sigmas[:-1].tolist() == pytest.approx(sampling.sigmas)


def test_clean_estimate_finds_the_end_of_a_straight_flow():
    from studio.diffusers_preview import CleanEstimate

    sigmas = torch.tensor([1.0, 0.75, 0.5, 0.0])
    picture, noise = torch.tensor([0.2, -0.4]), torch.tensor([1.0, 2.0])
    flow = [(1 - sigma) * picture + sigma * noise for sigma in sigmas]
    estimate = CleanEstimate()
    assert torch.equal(estimate.after(0, flow[1], sigmas), flow[1])
    for step in (1, 2):
        assert torch.allclose(estimate.after(step, flow[step + 1], sigmas), picture)


def test_prompt_cache_forgets_what_was_unused_for_longest():
    cache = PromptCache()
    for number in range(33):
        cache.get(number, lambda: (torch.zeros(1), None), "cpu")
        cache.get(1, lambda: (torch.zeros(1), None), "cpu")
    made = []
    for number in (1, 2, 0):
        cache.get(number, lambda number=number: (made.append(number) or torch.ones(1),), "cpu")
    assert made == [0]


def test_prompt_cache_stays_below_its_bytes(monkeypatch):
    monkeypatch.setattr(diffusers_prompts, "MOST_BYTES", 100)
    cache = PromptCache()
    for number in range(3):
        cache.get(number, lambda: (torch.zeros(10),), "cpu")
    made = []
    cache.get(2, lambda: (made.append(2) or torch.ones(10),), "cpu")
    cache.get(0, lambda: (made.append(0) or torch.ones(10),), "cpu")
    assert made == [0]


def test_save_latents_says_that_the_disk_refuses(demo_home, tmp_path):
    plan = image_plan(demo_home, [], "photo")
    with largest_file(1000), pytest.raises(EngineFailed, match=re.escape(str(tmp_path))):
        save_latents(tmp_path, plan, {"latents": torch.zeros(1000)})
    assert list(tmp_path.iterdir()) == []


def test_load_latents_gives_back_what_the_same_plan_saved(demo_home, tmp_path):
    plan = image_plan(demo_home, [], "photo")
    assert load_latents(tmp_path, plan) is None
    latents = {"video": torch.randn(2, 3), "sound": torch.randn(4).to(torch.bfloat16)}
    save_latents(tmp_path, plan, latents)
    found = load_latents(tmp_path, replace(plan, notes=("said",)))
    assert found.keys() == latents.keys()
    assert all(torch.equal(found[name], latents[name]) for name in latents)
    assert load_latents(tmp_path, replace(plan, prompt="other")) is None
