"""Settings that fill a form again: ours whole, foreign ones as far as they say, forged ones not."""

import json

import pytest
from recipe_samples import A1111_REAL, GRAPH, RECIPE, write_foreign_png, write_our_clip

from studio.errors import BadInput
from studio.fields import LoraChoice
from studio.inputs import store_input
from studio.jobs import JobTable
from studio.modes import MODES
from studio.recipe_read import read_recipe
from studio.restore import restore, wish_from_json, wish_of_file, wish_of_job, wish_to_json

XSS = '<img src=x onerror="window.hacked=1">'


def everything(sha256):
    return True


def nothing(sha256):
    return False


@pytest.fixture
def cat(home, tmp_path):
    picture = tmp_path / f"cat {XSS.replace('/', '')}.png"
    picture.write_bytes(b"a cat")
    return store_input(home, picture)


def job_of(home, mode="i2v", inputs=None, items=(None,), **params):
    table = JobTable(home.database)
    return table.submit("ann", mode, {"prompt": "a cat", **params}, 7, inputs or {}, items)


def test_job_fills_every_control_of_its_mode(home, cat):
    job = job_of(home, inputs={"image": (cat,)}, fps=30, camera="dolly-in", seconds=2.5)
    restored = restore(home, everything, wish_of_job(job, job.items[0]))
    assert restored.mode is MODES["i2v"]
    names = {field.name for field in MODES["i2v"].fields}
    assert {*restored.values, *restored.files} == names
    assert restored.values["seed"] == 7
    assert restored.values["camera"] == "dolly-in"
    assert (restored.values["fps"], restored.values["seconds"]) == (30, 2.5)
    assert restored.values["detailer"] is False
    assert restored.files == {"image": (cat,)}
    assert restored.lost == ()


def test_job_fills_what_the_plan_would_read(home):
    job = job_of(home, "t2v", preset="quality", negative="fog", guidance=4.5, width=512)
    values = restore(home, everything, wish_of_job(job, job.items[0])).values
    assert {name: values[name] for name in ("preset", "negative", "guidance", "width")} == {
        "preset": "quality",
        "negative": "fog",
        "guidance": 4.5,
        "width": 512,
    }


def test_item_of_a_batch_brings_its_own_picture(home, cat, tmp_path):
    other = tmp_path / "dog.png"
    other.write_bytes(b"a dog")
    dog = store_input(home, other)
    job = job_of(home, "edit", {"image": (cat, dog), "reference": (cat,)}, (cat, dog))
    restored = restore(home, everything, wish_of_job(job, job.items[1]))
    assert restored.files == {"image": (dog,), "reference": (cat,)}


def test_inputs_are_handed_only_to_whom_has_brought_them(home, cat):
    wish = wish_of_job(job := job_of(home, inputs={"image": (cat,)}), job.items[0])
    restored = restore(home, nothing, wish)
    assert restored.files == {"image": ()}
    assert restored.lost == (f"Picture: {cat.name} is not among your files; add it again",)


def test_input_that_is_gone_is_said(home, cat):
    wish = wish_of_job(job := job_of(home, inputs={"image": (cat,)}), job.items[0])
    for path in home.inputs.rglob("*.png"):
        path.unlink()
    assert len(restore(home, everything, wish).lost) == 1


def test_loras_and_weights_are_restored_where_they_are_here(home):
    (home.models / "loras").mkdir(parents=True)
    (home.models / "loras" / "ink.safetensors").touch()
    loras = [{"file": "ink", "strength": 0.5}, {"file": "gone.safetensors", "strength": 1}]
    job = job_of(home, "photo", loras=loras, weights="no such weights")
    restored = restore(home, everything, wish_of_job(job, job.items[0]))
    assert restored.values["loras"] == (LoraChoice("ink.safetensors", 0.5),)
    assert restored.weights is None
    assert restored.lost == (
        "LoRA gone.safetensors:1 is not in the LoRA folder",
        "Weights: no such weights are not on this machine",
    )
    here = job_of(home, "photo", weights="demo")
    assert restore(home, everything, wish_of_job(here, here.items[0])).weights == "demo"


# Files


def test_our_clip_restores_its_mode_and_says_what_is_missing(home, tmp_path):
    found = read_recipe(write_our_clip(tmp_path / "clip.mp4"))
    restored = restore(home, everything, wish_of_file(found, "video", "t2v"))
    assert restored.mode is MODES["photo"]
    assert restored.values["prompt"] == RECIPE.params["prompt"]
    assert restored.values["seed"] == RECIPE.seed
    assert restored.values["preset"] == RECIPE.preset
    assert restored.lost == (
        "LoRA ink.safetensors:0.8 is not in the LoRA folder",
        "Input image",
        "Weights: epicrealism-xl are not on this machine",
    )


@pytest.mark.parametrize(
    ("open_mode", "mode"), [("image", "image"), ("", "photo"), ("i2v", "photo"), ("edit", "photo")]
)
def test_a1111_picture_goes_to_a_mode_that_draws_from_text(home, tmp_path, open_mode, mode):
    found = read_recipe(write_foreign_png(tmp_path / "a.png", parameters=A1111_REAL))
    restored = restore(home, everything, wish_of_file(found, "image", open_mode))
    assert restored.mode is MODES[mode]
    assert restored.values["guidance"] == 7
    assert (restored.values["width"], restored.values["height"]) == (512, 768)
    assert set(restored.values) == {"prompt", "negative", "guidance", "seed", "width", "height"}
    assert "Sampler: DPM++ 2M" in restored.lost
    assert "Steps: 20" in restored.lost


def test_comfyui_picture_says_which_values_no_control_takes(home, tmp_path):
    found = read_recipe(write_foreign_png(tmp_path / "c.png", prompt=json.dumps(GRAPH)))
    restored = restore(home, everything, wish_of_file(found, "image"))
    assert restored.values["prompt"] == "a glass bottle"
    assert "seed" not in restored.values
    assert any(one.startswith("Seed must be between 0 and") for one in restored.lost)
    assert "Model: v1-5.safetensors" in restored.lost


def test_comfyui_clips_frames_are_seconds_here(home, tmp_path):
    graph = json.loads(json.dumps(GRAPH))
    graph["5"]["inputs"]["length"] = 97
    found = read_recipe(write_foreign_png(tmp_path / "c.png", prompt=json.dumps(graph)))
    restored = restore(home, everything, wish_of_file(found, "video"))
    assert restored.mode is MODES["t2v"]
    assert (restored.values["seconds"], restored.values["fps"]) == (4.0, 24)


# The way through the browser


def test_wish_is_the_same_after_the_browser(home, cat):
    wish = wish_of_job(job := job_of(home, inputs={"image": (cat,)}), job.items[0])
    assert wish_from_json(json.loads(json.dumps(wish_to_json(wish)))) == wish


@pytest.mark.parametrize(
    "forged",
    [
        {},
        {"mode": "photo", "settings": 5, "inputs": {}, "whole": True, "lost": []},
        {"mode": "photo", "settings": {}, "inputs": [], "whole": True, "lost": []},
        {"mode": "photo", "settings": {}, "inputs": {"image": 5}, "whole": True, "lost": []},
        {"mode": "photo", "settings": {}, "inputs": {}, "whole": True, "lost": 5},
    ],
)
def test_forged_wish_is_refused(forged):
    with pytest.raises(BadInput):
        wish_from_json(forged)


def test_forged_values_are_refused_one_by_one(home):
    settings = {"prompt": {"a": XSS}, "width": [1], "preset": XSS, "loras": [[XSS]], XSS: XSS}
    inputs = {"image": [{"sha256": "../../etc/passwd", "name": "a.png"}], XSS: []}
    data = {"mode": "photo", "settings": settings, "inputs": inputs, "whole": False, "lost": [XSS]}
    restored = restore(home, everything, wish_from_json(data))
    assert set(restored.values) == {"prompt", "loras"}
    assert restored.values["loras"] == ()
    assert restored.files == {}
    assert len(restored.lost) == 7
    i2v = restore(home, everything, wish_from_json({**data, "mode": "i2v"}))
    assert i2v.files == {"image": ()}
    with pytest.raises(BadInput, match="no mode"):
        restore(home, everything, wish_from_json({**data, "mode": "tenth"}))
