import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import (
    DiffusionPipeline,
    LTX2LatentUpsamplePipeline,
    LTX2Pipeline,
    QwenImageEditPlusPipeline,
    QwenImagePipeline,
    StableDiffusionXLPipeline,
)
from diffusers.pipelines.ltx2 import LTX2LatentUpsamplerModel
from diffusers.pipelines.qwenimage import pipeline_qwenimage_edit_plus
from largest_file import largest_file
from PIL import Image
from safetensors import safe_open
from transformers import BatchFeature, Qwen2VLImageProcessorPil

from studio import demo_tokenizers, weights_demo
from studio.errors import MissingWeights
from studio.families import FAMILIES
from studio.home import Home
from studio.weights_demo import demo_lora, ensure_demo, is_whole

LEVELS = 255
MEGABYTE = 1_000_000
WITHOUT_GUIDANCE = {
    "guidance_scale": 1.0,
    "stg_scale": 0.0,
    "modality_scale": 1.0,
    "guidance_rescale": 0.0,
    "audio_guidance_scale": 1.0,
    "audio_stg_scale": 0.0,
    "audio_modality_scale": 1.0,
    "audio_guidance_rescale": 0.0,
    "spatio_temporal_guidance_blocks": None,
}


class ImageReader:
    """What the edit pipeline asks of Qwen2VLProcessor, which itself needs torchvision."""

    def __init__(self, folder: Path) -> None:
        self.images = Qwen2VLImageProcessorPil.from_pretrained(folder / "processor")
        self.tokenizer = demo_tokenizers.Qwen2Tokenizer.from_pretrained(folder / "processor")

    def __call__(self, text, images, padding, return_tensors) -> BatchFeature:
        seen = self.images(images=images, return_tensors=return_tensors)
        counts = (seen["image_grid_thw"].prod(-1) // self.images.merge_size**2).tolist()
        before, *after = text[0].split("<|image_pad|>")
        for count, part in zip(counts, after, strict=True):
            before += "<|image_pad|>" * count + part
        return BatchFeature({**self.tokenizer([before], return_tensors=return_tensors), **seen})


@dataclass(frozen=True)
class Made:
    """Frames [n, height, width, 3] in 0..255; audio [2, samples] where the model makes sound."""

    frames: np.ndarray
    audio: np.ndarray | None = None


def load(pipeline: type[DiffusionPipeline], folder: Path, **parts: object) -> Any:
    loaded = pipeline.from_pretrained(folder, local_files_only=True, **parts)
    loaded.set_progress_bar_config(disable=True)
    return loaded


def load_edit(folder: Path) -> Any:
    pipeline = load(QwenImageEditPlusPipeline, folder, processor=None)
    pipeline.processor = ImageReader(folder)
    return pipeline


def run_sdxl(pipeline, prompt: str, seed: int) -> Made:
    return run_image(pipeline, seed, prompt=prompt, negative_prompt="blurry")


def run_qwen(pipeline, prompt: str, seed: int) -> Made:
    return run_image(pipeline, seed, prompt=prompt, true_cfg_scale=1.0)


def run_edit(pipeline, prompt: str, seed: int) -> Made:
    picture = Image.linear_gradient("L").resize((128, 128)).convert("RGB")
    return run_image(pipeline, seed, prompt=prompt, true_cfg_scale=1.0, image=[picture])


def run_image(pipeline, seed: int, **arguments: object) -> Made:
    made = pipeline(
        **arguments,
        height=128,
        width=128,
        num_inference_steps=2,
        generator=torch.Generator().manual_seed(seed),
        output_type="np",
    )
    return Made(made.images * LEVELS)


def run_ltx(pipeline, prompt: str, seed: int, **arguments: object) -> Made:
    options = {"output_type": "np", **WITHOUT_GUIDANCE, **arguments}
    made = pipeline(
        prompt=prompt,
        height=128,
        width=128,
        num_frames=9,
        num_inference_steps=2,
        max_sequence_length=64,
        generator=torch.Generator().manual_seed(seed),
        **options,
    )
    return Made(made.frames[0] * LEVELS, made.audio[0].numpy())


@dataclass(frozen=True)
class Case:
    load: Callable[[Path], Any]
    run: Callable[..., Made]


CASES = {
    "sdxl": Case(lambda folder: load(StableDiffusionXLPipeline, folder), run_sdxl),
    "qwen-image": Case(lambda folder: load(QwenImagePipeline, folder), run_qwen),
    "qwen-image-edit": Case(load_edit, run_edit),
    "ltx-2.3": Case(lambda folder: load(LTX2Pipeline, folder), run_ltx),
}


@pytest.fixture(scope="module")
def home(demo_home) -> Home:
    for family in FAMILIES:
        ensure_demo(demo_home, family)
    return demo_home


@pytest.fixture(autouse=True)
def small_references(monkeypatch):
    """One megapixel a reference, the pipeline's constant, would cost seconds a test."""
    monkeypatch.setattr(pipeline_qwenimage_edit_plus, "VAE_IMAGE_SIZE", 64 * 64)
    monkeypatch.setattr(pipeline_qwenimage_edit_plus, "CONDITION_IMAGE_SIZE", 112 * 112)


def difference(one: np.ndarray, other: np.ndarray) -> float:
    return float(np.abs(one - other).mean())


def digests(folder: Path) -> dict[str, str]:
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in folder.rglob("*")
        if path.is_file()
    }


def test_importing_weights_demo_leaves_torch_out():
    check = "import sys, studio.weights_demo; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", check], check=False).returncode == 0


@pytest.mark.parametrize("family", FAMILIES)
def test_ensure_demo_builds_a_small_diffusers_folder(home, family):
    folder = ensure_demo(home, family)
    assert folder == home.demo / family
    assert (folder / "model_index.json").is_file()
    assert sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) < 25 * MEGABYTE


@pytest.mark.parametrize("family", FAMILIES)
def test_demo_weights_survive_loading_and_saving(home, family, tmp_path):
    folder = home.demo / family
    for name, part in CASES[family].load(folder).components.items():
        if isinstance(part, torch.nn.Module):
            part.save_pretrained(tmp_path / name)
    saved = {name: digest for name, digest in digests(tmp_path).items() if "safetensors" in name}
    assert len(saved) >= 3
    assert saved.items() <= digests(folder).items()


@pytest.mark.parametrize("family", FAMILIES)
def test_demo_result_follows_seed_and_prompt(home, family):
    case = CASES[family]
    pipeline = case.load(home.demo / family)
    made = case.run(pipeline, "a red circle", 0).frames
    assert difference(made, case.run(pipeline, "a red circle", 0).frames) == 0
    # Trained weights draw much the same from any seed.
    least = 4 if family.startswith("qwen") else 20
    assert difference(made, case.run(pipeline, "a red circle", 1).frames) > least
    assert difference(made, case.run(pipeline, "a blue square on black", 0).frames) > 1


@pytest.mark.parametrize("family", FAMILIES)
def test_demo_picture_uses_the_visible_range(home, family):
    case = CASES[family]
    made = case.run(case.load(home.demo / family), "a red circle", 0).frames
    assert 30 < made.std() < 100
    assert np.mean((made < 1) | (made > LEVELS - 1)) < 0.25


def test_demo_video_moves_and_sounds(home):
    made = run_ltx(load(LTX2Pipeline, home.demo / "ltx-2.3"), "a red circle", 0)
    assert np.abs(np.diff(made.frames, axis=0)).mean(axis=(1, 2, 3)).min() > 2
    assert 0.02 < np.sqrt(np.mean(made.audio**2)) < 0.4
    assert np.mean(np.abs(made.audio) > 0.99) < 0.001
    assert abs(made.audio.mean()) < 0.01


def test_demo_upsampler_doubles_the_latents(home):
    folder = home.demo / "ltx-2.3"
    pipeline = load(LTX2Pipeline, folder)
    latents = pipeline(
        prompt="a red circle",
        height=64,
        width=96,
        num_frames=9,
        num_inference_steps=2,
        max_sequence_length=64,
        output_type="latent",
        **WITHOUT_GUIDANCE,
    ).frames
    upsampler = LTX2LatentUpsamplerModel.from_pretrained(
        folder, subfolder="latent_upsampler", local_files_only=True
    )
    upsample = LTX2LatentUpsamplePipeline(vae=pipeline.vae, latent_upsampler=upsampler)
    upsample.set_progress_bar_config(disable=True)
    larger = upsample(latents=latents, output_type="latent", return_dict=False)[0]
    assert latents.shape == (1, 32, 2, 2, 3)
    assert larger.shape == (1, 32, 2, 4, 6)


@pytest.mark.parametrize(
    ("family", "names"),
    [
        ("qwen-image", ["lightning-4steps", "lightning-8steps"]),
        ("qwen-image-edit", ["lightning-4steps"]),
        ("ltx-2.3", ["distilled", "camera-static", "camera-jib-up", "union-control"]),
    ],
)
def test_demo_loras_change_the_result_and_leave_a_picture(home, family, names):
    case = CASES[family]
    pipeline = case.load(home.demo / family)
    made = [case.run(pipeline, "a red circle", 0).frames]
    for name in names:
        pipeline.load_lora_weights(str(demo_lora(home, family, name)), adapter_name="demo")
        assert pipeline.get_list_adapters() == {"transformer": ["demo"]}
        made.append(case.run(pipeline, "a red circle", 0).frames)
        pipeline.unload_lora_weights()
    assert all(frames.std() > 30 for frames in made)
    differences = [difference(one, other) for one, other in combinations(made, 2)]
    assert 0.3 < min(differences)
    assert max(differences) < 50


def test_demo_control_lora_says_its_reference_size(home):
    with safe_open(demo_lora(home, "ltx-2.3", "union-control"), "pt") as file:
        assert file.metadata() == {"reference_downscale_factor": "2"}


def test_demo_lora_of_another_name_is_missing(home):
    with pytest.raises(MissingWeights, match="no LoRA 'nope'"):
        demo_lora(home, "qwen-image", "nope")


def test_ensure_demo_leaves_a_whole_folder_alone(home):
    mark = home.demo / "sdxl" / "demo.json"
    before = mark.stat().st_mtime_ns
    ensure_demo(home, "sdxl")
    assert mark.stat().st_mtime_ns == before


@pytest.mark.parametrize("family", FAMILIES)
def test_ensure_demo_builds_the_same_bytes_again(home, family, tmp_path):
    torch.manual_seed(1234)
    assert digests(ensure_demo(Home(tmp_path), family)) == digests(home.demo / family)


def truncate(folder: Path) -> None:
    with (folder / "transformer" / "diffusion_pytorch_model.safetensors").open("r+b") as file:
        file.truncate(100)


def remove(folder: Path) -> None:
    (folder / "model_index.json").unlink()


def age(folder: Path) -> None:
    mark = json.loads((folder / "demo.json").read_text())
    (folder / "demo.json").write_text(json.dumps(mark | {"format": 0}))


def unmark(folder: Path) -> None:
    (folder / "demo.json").write_text("{")


@pytest.mark.parametrize("damage", [truncate, remove, age, unmark])
def test_ensure_demo_rebuilds_what_is_not_whole(tmp_path, damage):
    folder = ensure_demo(Home(tmp_path), "qwen-image")
    good = digests(folder)
    damage(folder)
    assert not is_whole(folder)
    assert digests(ensure_demo(Home(tmp_path), "qwen-image")) == good


def test_ensure_demo_clears_what_a_killed_build_left(tmp_path):
    home = Home(tmp_path)
    killed, running = home.demo / ".building-killed", home.demo / ".building-running"
    for workshop in (killed, running):
        (workshop / "new" / "vae").mkdir(parents=True)
    os.utime(killed, (0, 0))
    ensure_demo(home, "qwen-image")
    assert sorted(path.name for path in home.demo.iterdir()) == [".building-running", "qwen-image"]


def test_ensure_demo_is_safe_for_two_at_once(tmp_path):
    home = Home(tmp_path)
    with ThreadPoolExecutor(2) as pool:
        folders = set(pool.map(ensure_demo, [home] * 2, ["qwen-image"] * 2))
    assert folders == {home.demo / "qwen-image"}
    assert is_whole(home.demo / "qwen-image")
    assert [path.name for path in home.demo.iterdir()] == ["qwen-image"]


def test_ensure_demo_says_what_to_do_where_it_cannot_write(tmp_path):
    (tmp_path / "demo").write_text("a file where the folder should be")
    with pytest.raises(MissingWeights, match=r"could not be written to '.*demo'.*free some space"):
        ensure_demo(Home(tmp_path), "qwen-image")


def test_ensure_demo_says_that_the_disk_has_no_room_for_tensors(tmp_path):
    """safetensors says so in a way of its own."""
    with largest_file(20_000), pytest.raises(MissingWeights, match=r"too large.*free some space"):
        ensure_demo(Home(tmp_path), "sdxl")
    assert list((tmp_path / "demo").iterdir()) == []
    assert is_whole(ensure_demo(Home(tmp_path), "sdxl"))


def test_ensure_demo_leaves_nothing_when_a_build_fails(tmp_path, monkeypatch):
    def fail(folder: Path) -> None:
        folder.mkdir()
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(weights_demo, "_writer", lambda family: fail)
    with pytest.raises(MissingWeights, match="No space left"):
        ensure_demo(Home(tmp_path), "sdxl")
    assert list((tmp_path / "demo").iterdir()) == []


@pytest.mark.parametrize("family", ["qwen-image", "qwen-image-edit"])
def test_qwen_system_prompt_has_as_many_tokens_as_the_pipeline_cuts(home, family):
    pipeline = CASES[family].load(home.demo / family)
    before_prompt = pipeline.prompt_template_encode.split("{}")[0]
    numbers = pipeline.tokenizer(before_prompt).input_ids
    assert len(numbers) == pipeline.prompt_template_encode_start_idx
