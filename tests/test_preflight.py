"""What a mode would run with, what is missing of it, and how it goes into the memory."""

import json
import subprocess
import sys

import pytest
from model_files import put, put_sdxl, variant

from studio.doctor import examine
from studio.errors import BadInput, FetchFailed
from studio.families import LTX, QWEN_IMAGE, SDXL
from studio.fitting import GIB, Machine
from studio.machine_watch import MachineWatch, read_here
from studio.modes import MODES
from studio.preflight import has_room, preflight
from studio.preflight_summary import preflight_as_json, preflight_as_text, preflight_sentence

LARGE = Machine("cuda", 80 * GIB, 78 * GIB, 128 * GIB, 64 * GIB)
PHOTO, IMAGE, T2V, STYLE = (MODES[name] for name in ("photo", "image", "t2v", "style"))
EPIC = variant(SDXL, "epiCRealism XL")
QWEN = variant(QWEN_IMAGE, "Qwen-Image")
LTX_SPLIT = variant(LTX, "LTX-2.3 split")


def names(found):
    return [need.model.name for need in found]


def test_without_weights_the_demo_runs_and_the_real_ones_are_told(home):
    found = preflight(home, PHOTO, {}, LARGE)
    assert (found.weights.demo, found.weights.engine) == (True, "diffusers")
    assert found.variant.label == "epiCRealism XL"
    assert names(found.missing) == ["epicrealismxl"]
    assert found.gigabytes_missing == pytest.approx(6.9)
    assert found.licences == {EPIC.models[0].licence: EPIC.models[0].page}
    # The real model at its own size, not the demo's.
    assert found.fit.startswith("Needs 8 of 84 GB")


def test_memory_is_not_told_before_it_is_known(home):
    assert preflight(home, PHOTO, {}).fit == ""


def test_weights_that_are_here_need_nothing(home):
    put(home, EPIC.models[0])
    found = preflight(home, PHOTO, {"width": "2048", "height": "2048", "prompt": ""}, LARGE)
    assert (found.weights.label, found.missing, found.licences) == ("epiCRealism XL", (), {})
    # Four times the pixels want more than the usual size does.
    usual = preflight(home, PHOTO, {}, LARGE).fit
    assert int(found.fit.split()[1]) > int(usual.split()[1])


def test_demo_that_is_wanted_needs_nothing(home):
    put(home, EPIC.models[0])
    found = preflight(home, PHOTO, {"weights": "demo"}, LARGE)
    assert (found.weights.demo, found.missing, found.fit) == (True, (), "")


def test_file_of_the_users_own_needs_nothing_else(home):
    put_sdxl(home, "my photos.safetensors")
    found = preflight(home, PHOTO, {"weights": "my photos"}, LARGE)
    assert (found.variant, found.needs) == (None, ())
    assert found.fit.startswith("Needs ")


@pytest.mark.parametrize(("preset", "missing"), [("quality", 0), ("fast", 1)])
def test_preset_decides_what_is_missing_of_real_weights(home, preset, missing):
    put(home, QWEN.models[0])
    found = preflight(home, IMAGE, {"preset": preset}, LARGE)
    assert (found.weights.label, len(found.missing)) == ("Qwen-Image", missing)
    # What the plan wants is not here, and is no reason to say nothing.
    assert found.fit.startswith("Needs ")


def test_controls_of_the_style_mode_decide_what_is_missing(home):
    pose, edges = (preflight(home, STYLE, {"control": one}) for one in ("pose", "canny"))
    assert set(names(pose.missing)) - set(names(edges.missing)) == {
        "rtdetr_r50vd_coco_o365",
        "vitpose-base-simple",
    }


def test_file_that_does_as_well_is_not_fetched_again(home, comfyui_here):
    other = [choices[-1] for choices in LTX_SPLIT.parts.values()]
    put(home, *other)
    found = preflight(home, T2V, {"preset": "quality"}, LARGE)
    assert (found.weights.label, found.weights.engine) == ("LTX-2.3 split", "comfy")
    parts = {model.name for choices in LTX_SPLIT.parts.values() for model in choices}
    assert not parts & set(names(found.missing))
    # By the files that are here: 16 bits of what is there in 8 bits too.
    gigabytes = sum(model.gigabytes for model in other)
    assert found.fit.startswith(f"{gigabytes:.0f} GB of weights")


def test_damaged_file_counts_as_missing(home, comfyui_here):
    put(home, *LTX_SPLIT.models)
    put(home, LTX_SPLIT.models[0]).write_bytes(b"")
    found = preflight(home, T2V, {"preset": "quality", "weights": "demo"})
    (damaged,) = [need for need in found.missing if need.damaged]
    assert damaged.model == LTX_SPLIT.models[0]
    assert found.variant.label == "LTX-2.3 split"


def test_forced_engine_counts_where_it_can(home, comfyui_here):
    assert preflight(home, T2V, {}).variant.engine == "comfy"
    assert preflight(home, T2V, {}, engine="diffusers").variant.engine == "diffusers"
    assert preflight(home, PHOTO, {}, engine="comfy").variant.engine == "diffusers"


def test_unknown_weights_are_refused(home):
    with pytest.raises(BadInput, match="There are no weights called 'gone'"):
        preflight(home, PHOTO, {"weights": "gone"})


def test_room_is_what_a_download_asks_for():
    assert has_room(0, 0) and has_room(10, 12)
    assert not has_room(10, 10.5)


def test_disk_that_cannot_be_used_is_told(home, monkeypatch):
    def refuse(folder):
        raise OSError(5, "Input/output error")

    monkeypatch.setattr("studio.weights_hub.disk.free_bytes", refuse)
    with pytest.raises(FetchFailed, match="Input/output error"):
        preflight(home, PHOTO, {})


def test_summary_says_it_in_words_and_as_json(home):
    found = preflight(home, PHOTO, {}, LARGE)
    text = preflight_as_text(found)
    assert text.startswith("Runs on demo weights with diffusers.\nepiCRealism XL, for diffusers")
    assert "missing  diffusers/epicrealismxl (6.9 GB," in text
    assert f"6.9 GB to fetch; {found.free_gigabytes:.0f} GB of disk are free." in text
    assert text.endswith(f"Memory: {found.fit}")
    told = json.loads(json.dumps(preflight_as_json(found)))
    assert (told["variant"], told["missing_gigabytes"], told["demo"]) == (
        "epiCRealism XL",
        pytest.approx(6.9),
        True,
    )
    assert "6.9 GB to fetch with 'python -m studio fetch photo'." in preflight_sentence(found)


def test_doctor_says_it_of_every_mode(home):
    said = {check.name: check.sentence for check in examine(home).checks}
    for mode in MODES.values():
        assert said[f"mode {mode.id}"].startswith("Runs on demo weights")
        assert f"fetch {mode.id}'" in said[f"mode {mode.id}"]


def dry_run(home, *arguments):
    command = [sys.executable, "-m", "studio", *arguments, "--dry-run", "--home", str(home.root)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_dry_run_tells_of_it(home):
    text = dry_run(home, "photo", "--prompt", "a cat").stdout
    assert "Runs on demo weights with diffusers.\nepiCRealism XL" in text
    plan = json.loads(dry_run(home, "photo", "--prompt", "a cat", "--json").stdout)
    assert plan["preflight"]["missing_gigabytes"] == pytest.approx(6.9)
    assert plan["preflight"]["memory"]


def test_dry_run_of_what_cannot_run_yet_says_what_is_missing(home):
    put(home, QWEN.models[0])
    done = dry_run(home, "image", "--prompt", "a cat", "--preset", "fast")
    assert done.returncode == 2
    assert "missing  loras/Qwen-Image-Lightning-4steps-V2.0.safetensors (0.85 GB" in done.stdout
    assert done.stderr.startswith("The LoRA 'Qwen-Image-Lightning-4steps")


def test_memory_is_read_in_a_process_of_its_own():
    watch = MachineWatch().start()
    assert watch.wait(60)
    here = read_here()
    assert (watch.machine.device, watch.machine.ram_total) == (here.device, here.ram_total)


def test_memory_that_cannot_be_read_stays_unknown(monkeypatch):
    monkeypatch.setattr(sys, "executable", "/no/such/python")
    watch = MachineWatch().start()
    assert watch.wait(10)
    assert watch.machine is None


@pytest.fixture
def comfyui_here(tmp_path, monkeypatch):
    """A folder that looks like an installed ComfyUI."""
    place = tmp_path / "comfyui"
    place.mkdir()
    (place / "execution.py").touch()
    monkeypatch.setenv("AIO_COMFYUI", str(place))
