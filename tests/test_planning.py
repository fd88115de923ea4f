"""From a request to a plan: every control changes it, and bad input is refused in a sentence."""

import numpy as np
import pytest
from model_files import put, put_sdxl, variant
from requests_of_modes import Media, another, raw_request, without_notes
from safetensors.numpy import save_file

from studio.errors import BadInput, MissingWeights
from studio.families import LTX
from studio.home import Home
from studio.model_places import target
from studio.modes import MODES
from studio.plan import Clip, Depth, Edges, Edit, Pose
from studio.planning import plan_request
from studio.registry import CONTROL_LORA
from studio.request import read_request, with_seed

MODE_IDS = list(MODES)


@pytest.fixture(scope="session")
def media(tmp_path_factory):
    return Media(tmp_path_factory.mktemp("media"))


# A layer by which LoRAs of each family are known, and its in features.
LORA_LAYERS = {
    "sdxl": ("unet.down_blocks.1.attentions.0.transformer_blocks.0.attn1.to_q", 640),
    "qwen-image": ("transformer_blocks.0.attn.add_q_proj", 3072),
    "qwen-image-edit": ("transformer_blocks.0.attn.add_q_proj", 3072),
    "ltx-2.3": ("diffusion_model.transformer_blocks.0.audio_attn1.to_q", 2048),
}


def lora_factors(family):
    layer, width = LORA_LAYERS[family]
    down, up = np.zeros((4, width), np.float32), np.zeros((4, 4), np.float32)
    return {f"{layer}.lora_A.weight": down, f"{layer}.lora_B.weight": up}


@pytest.fixture(scope="module")
def demo_home(tmp_path_factory):
    """Its demo weights are never built: a plan needs none of their files."""
    return Home(tmp_path_factory.mktemp("planning"))


@pytest.fixture(scope="module")
def loras(demo_home):
    """A LoRA file by mode family, in the home's LoRA folder."""
    folder = demo_home.models / "loras"
    folder.mkdir(parents=True, exist_ok=True)
    for family in LORA_LAYERS:
        save_file(lora_factors(family), folder / f"my {family}.safetensors")
    return {family: f"my {family}" for family in LORA_LAYERS}


def plans(home, mode_id, raw):
    return plan_request(with_seed(read_request(home, mode_id, raw)))


def plan(home, mode_id, raw):
    return plans(home, mode_id, raw)[0]


def acts(field, preset):
    return field.acts({"preset": preset})


def controls():
    for mode in MODES.values():
        for preset in mode.presets:
            for field in mode.fields:
                if field.shown and field.shown.field == "preset" and not acts(field, preset):
                    continue
                yield pytest.param(mode, preset, field, id=f"{mode.id}-{preset}-{field.name}")


@pytest.mark.parametrize(("mode", "preset", "field"), controls())
def test_every_control_that_acts_changes_the_plan(demo_home, media, loras, mode, preset, field):
    raw = raw_request(mode.id, media, preset=preset)
    if field.shown and field.shown.field != "preset":
        raw[field.shown.field] = field.shown.among[0]
    if field.name == "preset":
        values = [one for one in mode.presets if one != preset]
    else:
        values = another(field, media, loras[mode.family])
    made = [plan(demo_home, mode.id, raw)]
    made += [plan(demo_home, mode.id, {**raw, field.name: value}) for value in values]
    bare = [without_notes(one) for one in made]
    for number, one in enumerate(bare):
        assert one not in bare[:number]


UNGUIDED = [
    mode.id
    for mode in MODES.values()
    if any(field.name == "negative" and not acts(field, "fast") for field in mode.fields)
]


@pytest.mark.parametrize("mode_id", UNGUIDED)
def test_a_control_that_does_not_act_is_left_out_and_said(demo_home, media, mode_id):
    raw = raw_request(mode_id, media, preset="fast")
    said = plan(demo_home, mode_id, {**raw, "negative": "green"})
    assert without_notes(said) == without_notes(plan(demo_home, mode_id, raw))
    assert "Negative prompt has no effect" in " ".join(said.notes)


@pytest.mark.parametrize("mode_id", ["t2v", "i2v", "keyframe"])
@pytest.mark.parametrize("fps", [8, 12, 24, 25, 30])
@pytest.mark.parametrize("seconds", [1, 2, 3, 5, 10])
def test_clip_has_the_nearest_8k_plus_1_frames(demo_home, media, mode_id, fps, seconds):
    made = plan(demo_home, mode_id, raw_request(mode_id, media, seconds=seconds, fps=fps))
    assert made.task.frames % 8 == 1
    assert abs(made.task.frames - seconds * fps) <= 4
    assert made.task.seconds == made.task.frames / fps


@pytest.mark.parametrize("mode_id", ["a2v", "lipsync", "style"])
def test_clip_is_as_long_as_its_input_unless_asked(demo_home, media, mode_id):
    made = plan(demo_home, mode_id, raw_request(mode_id, media))
    assert made.task.frames == 25
    longer = plan(demo_home, mode_id, raw_request(mode_id, media, seconds=2))
    assert longer.task.frames == 49


@pytest.mark.parametrize("mode_id", ["t2v", "i2v", "a2v", "lipsync", "keyframe", "style"])
@pytest.mark.parametrize("preset", ["fast", "balanced", "quality"])
def test_clip_sides_fit_every_stage(demo_home, media, mode_id, preset):
    raw = raw_request(mode_id, media, preset=preset, width=300, height=200)
    made = plan(demo_home, mode_id, raw)
    control = made.task.control
    multiple = 32 * 2 ** (len(made.sampling) - 1) * (control.downscale if control else 1)
    assert made.width % multiple == 0 == made.height % multiple
    assert f"{made.width} x {made.height}" in " ".join(made.notes)


def test_size_left_out_follows_the_shape_of_the_input(demo_home, media):
    made = plan(demo_home, "i2v", raw_request("i2v", media))
    assert (made.width, made.height) == (320, 192)
    wide = plan(demo_home, "i2v", raw_request("i2v", media, width=192))
    assert (wide.width, wide.height) == (192, 128)


def test_edit_makes_one_plan_a_picture_and_offers_the_original_size(demo_home, media):
    raw = raw_request("edit", media, original_size=True)
    raw["image"] = [media.path("image", 0), media.path("image", 1)]
    raw["reference"] = [media.path("image", 1)]
    first, second = plans(demo_home, "edit", raw)
    assert isinstance(first.task, Edit)
    assert first.task.original_size == (96, 64) and second.task.original_size == (96, 96)
    assert first.task.source != second.task.source
    assert len(first.task.references) == 1
    assert first.width % 32 == 0 == first.height % 32


def test_keyframe_and_lipsync_plans_hold_what_they_are_given(demo_home, media):
    key = plan(demo_home, "keyframe", raw_request("keyframe", media, last_strength=0.5)).task
    assert isinstance(key, Clip) and key.first.strength == 1.0 and key.last.strength == 0.5
    lips = plan(demo_home, "lipsync", raw_request("lipsync", media)).task
    assert lips.sound.noise_floor == 60.0 and lips.first and not lips.last
    plain = plan(demo_home, "lipsync", raw_request("lipsync", media, noise_floor="none")).task
    assert plain.sound.noise_floor is None


def test_control_map_is_what_was_chosen(demo_home, media):
    def control_map(**more):
        return plan(demo_home, "style", raw_request("style", media, **more)).task.control.map

    folder = demo_home.demo / "ltx-2.3" / "control"
    assert control_map() == Edges(92, 200)
    assert control_map(control="depth") == Depth(folder / "depth")
    assert control_map(control="pose") == Pose(folder / "person", folder / "pose")
    assert control_map(control="given") is None


@pytest.mark.parametrize(
    ("control", "repo"),
    [
        ("depth", "depth-anything/Depth-Anything-V2-Small-hf"),
        ("pose", "PekingU/rtdetr_r50vd_coco_o365"),
        ("pose", "usyd-community/vitpose-base-simple"),
    ],
)
def test_missing_control_model_is_named_with_its_folder(home, media, control, repo):
    """Real weights, empty: only planning looks at them."""
    adapters = [LTX.adapters[name].model for name in (CONTROL_LORA, "distilled")]
    put(home, *variant(LTX, "LTX-2.3").models, *adapters, *LTX.control_models.values())
    save_file(lora_factors("ltx-2.3"), target(home, adapters[0]))
    raw = raw_request("style", media, control=control, engine="diffusers")
    assert not plan(home, "style", raw).weights.demo
    folder = home.models / "control" / repo.split("/")[1]
    (folder / "config.json").unlink()
    with pytest.raises(MissingWeights) as caught:
        plan(home, "style", raw)
    assert f"'{repo}'" in str(caught.value) and f"'{folder}'" in str(caught.value)
    assert plan(home, "style", {**raw, "control": "canny"}).task.control.map == Edges(92, 200)


def test_control_clip_is_as_small_as_its_lora_says(demo_home, media, loras):
    made = plan(demo_home, "style", raw_request("style", media))
    assert made.task.control.downscale == 2
    assert [lora.label for lora in made.loras] == ["union-control"]


BAD = [
    ("t2v", {"prompt": "  "}, "prompt", "Prompt is empty"),
    ("t2v", {"seconds": 31}, "seconds", "between 0.3 and 30 seconds"),
    ("t2v", {"seconds": "soon"}, "seconds", "must be a number"),
    ("t2v", {"seconds": float("nan")}, "seconds", "must be a number"),
    ("t2v", {"fps": 500}, "fps", "between 8 and 50"),
    ("t2v", {"fps": 24.5}, "fps", "whole number"),
    ("t2v", {"width": 8}, "width", "between 64 and 4096"),
    ("t2v", {"width": 2048}, "width", "out of range"),
    ("t2v", {"preset": "best"}, "preset", "choose fast, balanced or quality"),
    ("t2v", {"seed": -1}, "seed", "between 0 and"),
    ("t2v", {"engine": "magic"}, "engine", "no engine called"),
    ("t2v", {"weights": "mine"}, "weights", "no weights called"),
    ("t2v", {"loras": ["nothing.safetensors"]}, "loras", "There is no LoRA"),
    ("t2v", {"loras": ["a:9"]}, "loras", "must be between -2 and 2"),
    ("t2v", {"loras": list("abcde")}, "loras", "at most 4"),
    ("t2v", {"image": "x.png"}, "image", "no control 'image'"),
    ("t2v", {"camera_strength": 9}, "camera_strength", "between 0 and 1.5"),
    ("i2v", {"image": None}, "image", "is missing"),
    ("i2v", {"image": "nowhere.png"}, "image", "Picture: "),
    ("keyframe", {"last": None}, "last", "Last frame is missing"),
    ("a2v", {"audio": []}, "audio", "is missing"),
    ("style", {"edge_low": 200, "edge_high": 100}, "edge_low", "below the high one"),
    ("edit", {"longest_side": 1024}, "longest_side", "at most 128"),
    ("edit", {"reference": ["a", "b", "c", "d"]}, "reference", "at most 3"),
]


@pytest.mark.parametrize(("mode_id", "change", "control", "says"), BAD)
def test_bad_input_is_named_in_a_sentence(demo_home, media, mode_id, change, control, says):
    with pytest.raises(BadInput, match=says) as caught:
        plan(demo_home, mode_id, raw_request(mode_id, media, **change))
    assert caught.value.field == control
    assert str(caught.value).endswith(".")


def test_wrong_kind_of_file_is_refused(demo_home, media):
    for mode_id, control, kind in (
        ("i2v", "image", "audio"),
        ("i2v", "image", "video"),
        ("a2v", "audio", "image"),
        ("style", "video", "audio"),
        ("style", "video", "image"),
    ):
        with pytest.raises(BadInput) as caught:
            plan(demo_home, mode_id, raw_request(mode_id, media, **{control: media.path(kind)}))
        assert caught.value.field == control


def test_lora_of_another_model_is_refused_by_name(demo_home, media, loras):
    raw = raw_request("t2v", media, loras=[loras["qwen-image"]])
    with pytest.raises(BadInput, match="Qwen-Image") as caught:
        plan(demo_home, "t2v", raw)
    assert caught.value.field == "loras"


def test_unknown_mode_is_refused(demo_home):
    with pytest.raises(BadInput, match="no mode 'paint'"):
        read_request(demo_home, "paint", {})


def test_real_weights_come_before_the_demo_and_miss_their_adapters_by_name(home, media):
    folder = home.models / "diffusers" / "Qwen-Image"
    folder.mkdir(parents=True)
    (folder / "model_index.json").write_text("{}")
    with pytest.raises(MissingWeights, match="Lightning-8steps"):
        plan(home, "image", raw_request("image", media))
    quality = plan(home, "image", raw_request("image", media, preset="quality"))
    assert quality.weights.label == "Qwen-Image" and quality.width == 1328
    demo = plan(home, "image", raw_request("image", media, weights="demo"))
    assert demo.weights.demo and demo.width == 128


def test_negative_prompt_left_out_is_the_models_own_and_can_be_emptied(demo_home, media):
    raw = raw_request("t2v", media, preset="quality")
    assert plan(demo_home, "t2v", raw).negative.startswith("worst quality")
    assert plan(demo_home, "t2v", {**raw, "negative": ""}).negative == ""
    fast = plan(demo_home, "t2v", {**raw, "preset": "fast"})
    assert fast.negative == "" and not any("Negative" in note for note in fast.notes)


@pytest.mark.parametrize(("mode_id", "size"), [("t2v", (704, 1280)), ("photo", (768, 1344))])
def test_shape_is_made_at_a_size_that_the_weights_know(home, media, mode_id, size):
    put(home, *variant(LTX, "LTX-2.3").models, LTX.adapters["distilled"].model)
    put_sdxl(home, "mine.safetensors")
    made = plan(home, mode_id, raw_request(mode_id, media, shape="9:16", engine="diffusers"))
    assert (made.width, made.height) == size


def test_shape_that_the_weights_do_not_know_has_their_usual_area(home, media):
    made = plan(home, "t2v", raw_request("t2v", media, shape="9:16"))
    assert made.weights.demo and (made.width, made.height) == (192, 320)
    wide = plan(home, "t2v", raw_request("t2v", media, shape="16:9", width=256))
    assert (wide.width, wide.height) == (256, 128)


@pytest.mark.parametrize(
    ("shape", "note"),
    [
        ("auto", "Picture: 9 % is cut off above and below."),
        ("1:1", "Picture: 33 % is cut off at left and right."),
        ("2:3", "Picture: 55 % is cut off at left and right."),
    ],
)
def test_what_is_cut_off_of_a_picture_is_said(home, media, shape, note):
    """The picture is 96 x 64; as itself it is made at 320 x 192, in multiples of 64."""
    made = plan(home, "i2v", raw_request("i2v", media, shape=shape))
    assert [one for one in made.notes if "cut off" in one] == [note]


def test_input_gives_the_shape_where_none_is_chosen(home, media):
    usual = plan(home, "i2v", raw_request("i2v", media))
    chosen = plan(home, "i2v", raw_request("i2v", media, shape="1:1"))
    assert usual.width > usual.height and chosen.width == chosen.height


def test_seed_is_drawn_once_where_it_is_left_open(home, media):
    raw = raw_request("t2v", media, seed=None)
    seeds = {plan(home, "t2v", raw).seed for _ in range(5)}
    assert len(seeds) == 5


def test_comfyui_goes_first_where_it_and_its_files_are_there(home, media, monkeypatch):
    monkeypatch.setenv("AIO_COMFYUI", str(home.root / "comfy"))
    put(home, *variant(LTX, "LTX-2.3 bf16").models, LTX.adapters["distilled"].model)
    raw = raw_request("t2v", media)
    assert plan(home, "t2v", raw).weights.demo
    (home.root / "comfy").mkdir()
    (home.root / "comfy" / "execution.py").touch()
    made = plan(home, "t2v", raw)
    assert (made.engine, made.weights.label) == ("comfy", "LTX-2.3 bf16")
    assert made.sampling[0].sampler == "euler_ancestral_cfg_pp"
    assert plan(home, "t2v", {**raw, "engine": "diffusers"}).weights.demo
    assert plan(home, "t2v", {**raw, "weights": "demo"}).engine == "diffusers"


def test_engine_that_is_not_installed_says_how_to_install_it(home, media, monkeypatch):
    monkeypatch.setenv("AIO_COMFYUI", str(home.root / "nowhere"))
    with pytest.raises(BadInput, match="comfy install"):
        plan(home, "t2v", raw_request("t2v", media, engine="comfy"))
