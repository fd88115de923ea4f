"""The graphs of the ComfyUI engine, without a ComfyUI: what plans make of them."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from comfy_recorded import CLIP_MODES, node, problems
from model_files import put, variant
from requests_of_modes import Media, another, raw_request
from safetensors.numpy import save_file

from studio.comfy_graph import RESULT_CLASS
from studio.comfy_graphs import LATENTS, RESULT, SOUND, WORKFLOWS, bind
from studio.comfy_inputs import ENCODER_BLOCK, ENCODER_RATE, write_inputs
from studio.diffusers_setup import prepare_libraries
from studio.errors import BadInput, EngineFailed
from studio.families import LTX
from studio.home import Home
from studio.jobs import JobTable
from studio.media_sound import load_sound
from studio.model_places import target
from studio.modes import MODES
from studio.plan import Anchor, ControlClip, LoraUse
from studio.planning import plan_request
from studio.presets import STG_BLOCK, Guidance
from studio.progress import Progress
from studio.request import read_request
from studio.submission import submit
from studio.weights_demo import ensure_demo

PRESETS = ("fast", "balanced", "quality")
SMALL = {"width": 256, "height": 256, "seconds": 0.7}


@pytest.fixture(scope="module")
def home(tmp_path_factory, demo_home):
    """A home where the ComfyUI engine looks installed and all of its files are there, empty.

    What draws control maps is no part of ComfyUI and runs: it is the demo's.
    """
    home = Home(tmp_path_factory.mktemp("comfy graphs"))
    engine = home.root / "comfyui" / "execution.py"
    engine.parent.mkdir(parents=True)
    engine.touch()
    for label in ("LTX-2.3 fp8", "LTX-2.3 split"):
        put(home, *variant(LTX, label).models)
    prepare_libraries()
    for role, model in LTX.control_models.items():
        shutil.copytree(ensure_demo(demo_home, LTX.id) / "control" / role, target(home, model))
    for adapter in LTX.adapters.values():
        write_lora(home.models / "loras" / adapter.file, adapter.reference_downscale)
    write_lora(home.models / "loras" / "mine" / "boats.safetensors")
    write_lora(home.root / "elsewhere" / "far away.safetensors")
    return home


def write_lora(path, downscale=1):
    path.parent.mkdir(parents=True, exist_ok=True)
    layer = "diffusion_model.transformer_blocks.0.audio_to_video_attn.to_q"
    tensors = {
        f"{layer}.lora_A.weight": np.zeros((2, 8), np.float32),
        f"{layer}.lora_B.weight": np.zeros((8, 2), np.float32),
    }
    save_file(tensors, path, {"reference_downscale_factor": str(downscale)})


@pytest.fixture(scope="module")
def media(tmp_path_factory):
    return Media(tmp_path_factory.mktemp("media"))


@pytest.fixture
def plan(home, media, monkeypatch):
    monkeypatch.delenv("AIO_COMFYUI", raising=False)

    def make(mode, **more):
        raw = {**raw_request(mode, media), **SMALL, "engine": "comfy", **more}
        (made,) = plan_request(read_request(home, mode, raw))
        return made

    return make


def silent(plan):
    return Progress(plan, lambda event: None)


def bound(plan):
    return bind(plan, "job", lambda kind, path: path.name)


def chain(graph, link):
    """Titles from a model's link back to the checkpoint."""
    titles = []
    while True:
        title = graph.title(link[0])
        titles.append(title)
        if title == "Checkpoint":
            return titles
        link = graph.inputs(title)["model"]


# Bound


@pytest.mark.parametrize("mode", CLIP_MODES)
def test_split_files_are_read_by_loaders_of_their_own(plan, mode):
    graph = bound(plan(mode, weights="LTX-2.3 split"))
    assert not problems(graph)
    assert graph.reachable(RESULT) == set(graph.nodes)
    assert node(graph, "Checkpoint")["class_type"] == "UNETLoader"
    decoder = graph.inputs("Decode picture")["vae"]
    assert graph.title(decoder[0]) == "Video VAE"


@pytest.mark.parametrize("preset", PRESETS)
@pytest.mark.parametrize("mode", CLIP_MODES)
def test_bound_graph_fits_the_recorded_nodes_and_needs_all_of_them(plan, mode, preset):
    graph = bound(plan(mode, preset=preset))
    assert not problems(graph)
    assert graph.reachable(RESULT) == set(graph.nodes)
    assert node(graph, RESULT)["class_type"] == RESULT_CLASS


@pytest.mark.parametrize("preset", PRESETS)
@pytest.mark.parametrize("mode", CLIP_MODES)
def test_every_difference_of_plans_changes_the_graph_or_its_inputs(
    plan, media, mode, preset, tmp_path
):
    usual = {"preset": preset, "camera": "static", "detailer": True}
    first = plan(mode, **usual)
    for field in MODES[mode].fields:
        for value in another(field, media, "mine/boats.safetensors"):
            value = 320 if field.name == "height" else value
            try:
                other = plan(mode, **{**usual, field.name: value})
            except BadInput:
                continue
            if replace(other, notes=(), preset="") == replace(first, notes=(), preset=""):
                continue
            if bound(other).nodes == bound(first).nodes:
                names = [tmp_path / f"{field.name} {number}" for number in range(2)]
                for made, folder in zip((first, other), names, strict=True):
                    write_inputs(made, made.task, folder, silent(made))
                assert contents(names[0]) != contents(names[1]), (field.name, value)
                for folder in names:
                    for file in folder.iterdir():
                        file.unlink()
                    folder.rmdir()


def contents(folder):
    return {file.name: file.read_bytes() for file in sorted(folder.iterdir())}


@pytest.mark.parametrize("mode", CLIP_MODES)
def test_bound_graph_holds_no_path_and_no_name_of_the_users_files(plan, home, media, mode):
    text = json.dumps(bound(plan(mode)).nodes)
    assert str(home.root) not in text
    for files in media.files.values():
        assert not any(file.name in text for file in files)


@pytest.mark.parametrize("mode", CLIP_MODES)
def test_two_stages_work_at_half_the_size_then_at_the_whole(plan, mode):
    graph = bound(plan(mode, width=512, height=256))
    size = graph.inputs("Size and length")
    assert (size["width"], size["height"], size["length"]) == (256, 128, 17)
    assert graph.title(graph.inputs(LATENTS)["picture"][0]).endswith(", stage 2")


def test_style_fast_has_one_stage_at_the_whole_size(plan):
    graph = bound(plan("style", preset="fast"))
    assert graph.inputs("Size and length")["width"] == 256
    titles = {graph.title(one) for one in graph.nodes}
    assert "Upscaler" not in titles and not any("stage 2" in title for title in titles)
    # Without its guides, or the clip would end with them.
    crop = graph.inputs(LATENTS)["picture"]
    assert (graph.title(crop[0]), crop[1]) == ("Take guides off, stage 1", 2)


def test_keyframes_hold_both_ends_in_both_stages_and_decode_without_them(plan):
    graph = bound(plan("keyframe"))
    for stage in ("stage 1", "stage 2"):
        first = graph.inputs(f"Start on first picture, {stage}")
        last = graph.inputs(f"End on last picture, {stage}")
        assert (first["frame_idx"], last["frame_idx"]) == (0, -1)
        positive = graph.inputs(f"Guider, {stage}")["positive"]
        assert positive == [graph.id(f"End on last picture, {stage}"), 0]
    for source, slot in (graph.inputs("Upscale")["samples"], graph.inputs(LATENTS)["picture"]):
        assert graph.title(source).startswith("Take guides off") and slot == 2


@pytest.mark.parametrize("mode", ["a2v", "lipsync"])
def test_given_sound_is_frozen_in_both_stages_and_not_decoded(plan, mode):
    graph = bound(plan(mode))
    for stage in ("stage 1", "stage 2"):
        sound = graph.inputs(f"Picture and sound, {stage}")["audio_latent"]
        assert graph.title(sound[0]) == "Frozen sound"
    assert graph.inputs("Nothing to change")["value"] == 0.0
    assert "audio" not in graph.inputs(RESULT)


def test_sound_is_written_so_that_comfyui_cuts_nothing_off_its_beginning(plan, media, tmp_path):
    made = plan("a2v")
    write_inputs(made, made.task, tmp_path / "inputs", silent(made))
    heard = load_sound(tmp_path / "inputs" / SOUND)
    assert heard.rate == ENCODER_RATE and heard.samples.shape[1] % ENCODER_BLOCK == 0
    assert heard.seconds >= made.task.seconds
    given = load_sound(Path(media.path("audio")), ENCODER_RATE, 2)
    count = int(made.task.seconds * ENCODER_RATE) - 1
    assert np.abs(heard.samples[:, :count] - given.samples[:, :count]).max() < 0.01


@pytest.mark.parametrize("mode", ["a2v", "lipsync"])
def test_given_sound_is_cut_to_the_clips_length(plan, mode):
    graph = bound(plan(mode))
    assert graph.inputs("Sound length")["frames_number"] == 18
    for stage in ("stage 1", "stage 2"):
        room = graph.inputs(f"Picture and sound, {stage}")["video_latent"][0]
        assert graph.title(graph.nodes[room]["inputs"]["audio_latent"][0]) == "Sound length"


def test_made_sound_is_handed_over(plan):
    graph = bound(plan("t2v"))
    assert graph.title(graph.inputs(RESULT)["audio"][0]) == "Decode sound"


@pytest.mark.parametrize("mode", CLIP_MODES)
def test_sampled_latents_are_decoded_without_a_sampler(plan, mode):
    graph = bind(plan(mode), "job", lambda kind, path: path.name, sampled=True)
    titles = {graph.title(one) for one in graph.nodes}
    assert not problems(graph) and "Decode picture" in titles
    assert not any(title.startswith(("Sample,", "Guider", "Prompt")) for title in titles)


def test_long_clips_keep_within_the_sound_nodes_limit(plan):
    graph = bound(plan("t2v", seconds=30, fps=50))
    sound = graph.inputs("Sound length")
    assert (sound["frames_number"], sound["frame_rate"]) == (749, 25.0)


def test_quality_guides_the_first_stage_and_distils_the_second(plan):
    graph = bound(plan("t2v", preset="quality"))
    guider = node(graph, "Guider, stage 1")
    assert guider["class_type"] == "LTXVDualCFGGuider"
    assert (guider["inputs"]["video_cfg"], guider["inputs"]["audio_cfg"]) == (3.0, 7.0)
    assert chain(graph, guider["inputs"]["model"]) == [
        "Contrast, stage 1",
        "Picture and sound guidance, stage 1",
        "Spatio-temporal guidance, stage 1",
        "Checkpoint",
    ]
    assert graph.inputs("Spatio-temporal guidance, stage 1")["blocks"] == str(STG_BLOCK)
    schedule = node(graph, "Noise levels, stage 1")
    assert schedule["class_type"] == "LTXVScheduler" and schedule["inputs"]["steps"] == 30
    assert chain(graph, graph.inputs("Guider, stage 2")["model"]) == ["LoRA, stage 2", "Checkpoint"]


def test_balanced_uses_the_templates_samplers_and_half_the_distilled_lora(plan):
    graph = bound(plan("t2v"))
    samplers = [graph.inputs(f"Sampler, stage {n}")["sampler_name"] for n in (1, 2)]
    assert samplers == ["euler_ancestral_cfg_pp", "euler_cfg_pp"]
    assert graph.inputs("LoRA, stage 1")["strength_model"] == 0.5
    assert graph.inputs("Noise levels, stage 2")["sigmas"] == "0.85, 0.725, 0.4219, 0"


def test_loras_form_a_chain_in_their_order(plan, home):
    made = plan("t2v")
    mine = [LoraUse(name, home.models / "loras" / name, 0.5) for name in ("a", "b")]
    graph = bound(replace(made, loras=(*mine, LoraUse("off", home.models / "off", 0.0))))
    titles = chain(graph, graph.inputs("Guider, stage 1")["model"])
    names = [graph.inputs(title)["lora_name"] for title in titles[:-1]]
    assert names == ["b", "a", LTX.adapters["distilled"].file]


def test_control_lora_acts_once_and_where_its_clip_is_seen(plan):
    graph = bound(plan("style", control_lora_strength=0.8))
    file = LTX.adapters["union-control"].file
    for stage, expected in (("stage 1", 1), ("stage 2", 0)):
        titles = chain(graph, graph.inputs(f"Guider, {stage}")["model"])
        names = [graph.inputs(title).get("lora_name") for title in titles]
        assert names.count(file) == expected
    assert graph.inputs("Control LoRA")["strength_model"] == 0.8


@pytest.mark.parametrize("mode", ["i2v", "lipsync", "keyframe", "style"])
def test_anchors_of_strength_nought_are_left_out(plan, media, mode):
    made = plan(mode)
    off = Anchor(Path(media.path("image")), 0.0)
    clip = replace(made.task, first=off, last=off if made.task.last else None)
    titles = {one["_meta"]["title"] for one in bound(replace(made, task=clip)).nodes.values()}
    assert not {title for title in titles if "picture," in title.lower() and "stage" in title} - {
        "Picture and sound, stage 1",
        "Picture and sound, stage 2",
    }


def test_control_of_strength_nought_is_left_out(plan, media):
    made = plan("style")
    off = ControlClip(Path(media.path("video")), None, 0.0, 2)
    graph = bound(replace(made, task=replace(made.task, control=off)))
    assert "Control video" not in graph and not problems(graph)


def test_one_guided_stream_is_enough_for_the_guider(plan):
    made = plan("t2v", preset="fast")
    guided = replace(made.sampling[0], sound_guidance=Guidance(scale=2.0))
    graph = bound(replace(made, sampling=(guided, made.sampling[1])))
    assert node(graph, "Guider, stage 1")["inputs"]["audio_cfg"] == 2.0
    assert node(graph, "Guider, stage 2")["class_type"] == "CFGGuider"


# The users' own graphs


def test_missing_title_is_said_in_a_sentence(plan, tmp_path):
    nodes = json.loads((WORKFLOWS / "t2v.json").read_text())
    for one in nodes.values():
        if one["_meta"]["title"] == "Prompt":
            one["_meta"]["title"] = "Words"
    (tmp_path / "t2v.json").write_text(json.dumps(nodes))
    with pytest.raises(EngineFailed, match="no node called 'Prompt'"):
        bind(plan("t2v"), "job", lambda kind, path: path.name, tmp_path)


def test_own_graph_that_cannot_run_is_refused_before_its_job_is_queued(home, media, monkeypatch):
    monkeypatch.delenv("AIO_COMFYUI", raising=False)
    own = home.root / "workflows" / "t2v.json"
    own.parent.mkdir()
    table, raw = JobTable(home.database), {**raw_request("t2v", media), **SMALL, "engine": "comfy"}
    try:
        graph = json.loads((WORKFLOWS / "t2v.json").read_text())
        own.write_text(json.dumps(graph))
        assert submit(table, home, "ann", "t2v", raw).state == "queued"
        graph["1"]["_meta"]["title"] = "Model"
        own.write_text(json.dumps(graph))
        with pytest.raises(EngineFailed, match="'t2v' has no node called 'Checkpoint'"):
            submit(table, home, "ann", "t2v", raw)
        assert len(table.list_for("ann")) == 1
    finally:
        own.unlink()
