"""Recipes in files that the studio did not make: A1111, ComfyUI, and forged ones."""

import json
import struct
import zlib
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from recipe_samples import (
    A1111_REAL,
    GRAPH,
    RECIPE,
    any_json,
    png_with_chunk,
    write_clip,
    write_foreign_png,
    write_our_clip,
    write_picture,
)

from studio.errors import BadInput
from studio.recipe import MAX_TEXT_BYTES
from studio.recipe_a1111 import a1111_settings
from studio.recipe_comfy import comfy_settings
from studio.recipe_mp4 import mp4_texts
from studio.recipe_png import png_texts
from studio.recipe_read import read_recipe
from studio.recipe_text import XMP_KEY

# A1111's files


def test_read_recipe_understands_a1111(tmp_path):
    found = read_recipe(write_foreign_png(tmp_path / "a.png", parameters=A1111_REAL))
    assert (found.source, found.recipe) == ("a1111", None)
    assert found.settings == {
        "prompt": 'masterpiece, (detail:1.2), "neon, city": rain\n'
        "second line, with commas: and colons",
        "negative": '(worst quality:2), "quoted, text"\nmore: of it',
        "steps": 20,
        "guidance": 7.0,
        "seed": 965400086,
        "width": 512,
        "height": 768,
    }
    assert found.lost == (
        "LoRA add_detail:0.6",
        "Sampler: DPM++ 2M",
        "Schedule type: Karras",
        "Model: v1-5-pruned-emaonly",
        "Denoising strength: 0.7",
        "Hires upscale: 2",
        'Hires prompt: sharp, very: "crisp"',
    )


def test_read_recipe_understands_a1111_beyond_latin(tmp_path):
    text = "猫, \U0001f431\nSteps: 5, Sampler: Euler, Seed: 1, Size: 64x64"
    found = read_recipe(write_foreign_png(tmp_path / "a.png", parameters=text))
    assert found.settings["prompt"] == "猫, \U0001f431"


def test_a1111_settings_keep_values_that_are_not_numbers_apart():
    recovered, lost = a1111_settings("x\nSteps: many, Seed: 12, Size: wide, CFG scale: nan")
    assert recovered == {"prompt": "x", "seed": 12}
    assert lost == ["Steps: many", "Size: wide", "CFG scale: nan"]


@pytest.mark.parametrize(
    "text", ["", "just a prompt, nothing else", '{"sui_image_params": {"a": 1}}']
)
def test_a1111_settings_need_a_line_of_settings(text):
    assert a1111_settings(text) is None


def test_a1111_settings_pass_over_a_line_too_long_to_be_real():
    line = "\nSteps: 1, Seed: 2, Size: 1x1, "
    assert a1111_settings(line + "x" * 2**15) is not None
    assert a1111_settings(line + "x" * 2**16) is None


@pytest.mark.timeout(20)
@pytest.mark.parametrize("piece", ["a", " x", "ab: ", 'ab: "\\', 'ab: "\\\\', "<lora:", "ab: 1,"])
def test_a1111_settings_take_hostile_text_in_linear_time(piece):
    a1111_settings(piece * (MAX_TEXT_BYTES // len(piece)))
    a1111_settings(piece * (60_000 // len(piece)))
    a1111_settings(piece * 1_000_000 + "\nSteps: 1, Seed: 2, Size: 1x1")


@settings(deadline=None)
@given(st.text())
def test_a1111_settings_never_raise(text):
    a1111_settings(text)
    a1111_settings(text + "\nSteps: 1, Seed: 2, Size: " + text)


# ComfyUI's files


def test_read_recipe_understands_comfyui(tmp_path):
    text = json.dumps({**GRAPH, "11": {"inputs": {}, "is_changed": [float("nan")]}})
    path = write_foreign_png(tmp_path / "c.png", prompt=text, workflow='{"nodes": []}')
    found = read_recipe(path)
    assert (found.source, found.recipe) == ("comfyui", None)
    assert found.settings == {
        "prompt": "a glass bottle",
        "negative": "text, watermark",
        "seed": 156680208700286,
        "steps": 20,
        "guidance": 8.0,
        "width": 768,
        "height": 512,
    }
    assert found.lost == (
        "Sampler: euler",
        "Scheduler: normal",
        "LoRA ink.safetensors:0.8",
        "Model: v1-5.safetensors",
    )


@pytest.mark.parametrize(
    "tags, flags",
    [
        ({"prompt": json.dumps(GRAPH), "workflow": "{}"}, "use_metadata_tags"),
        ({"comment": json.dumps({"prompt": json.dumps(GRAPH), "workflow": {}})}, "faststart"),
    ],
    ids=["SaveVideo", "VideoHelperSuite"],
)
def test_read_recipe_understands_comfyui_videos(tmp_path, tags, flags):
    found = read_recipe(write_clip(tmp_path / "c.mp4", tags, flags))
    assert found.source == "comfyui"
    assert (found.settings["prompt"], found.settings["width"]) == ("a glass bottle", 768)


LTX_GRAPH = {
    "1": {"class_type": "UNETLoader", "inputs": {"unet_name": "ltx-2.3.safetensors"}},
    "2": {"class_type": "PrimitiveStringMultiline", "inputs": {"value": "a sailing ship"}},
    "3": {"class_type": "CLIPTextEncode", "inputs": {"text": ["2", 0], "clip": ["1", 0]}},
    "4": {"class_type": "ConditioningZeroOut", "inputs": {"conditioning": ["3", 0]}},
    "5": {
        "class_type": "LTXVConditioning",
        "inputs": {"positive": ["3", 0], "negative": ["4", 0], "frame_rate": 24.0},
    },
    "6": {
        "class_type": "CFGGuider",
        "inputs": {"model": ["1", 0], "positive": ["5", 0], "negative": ["5", 1], "cfg": 1},
    },
    "7": {"class_type": "PrimitiveInt", "inputs": {"value": 640}},
    "8": {
        "class_type": "EmptyLTXVLatentVideo",
        "inputs": {"width": ["7", 0], "height": 384, "length": 97, "batch_size": 1},
    },
    "9": {"class_type": "RandomNoise", "inputs": {"noise_seed": 42}},
    "10": {"class_type": "KSamplerSelect", "inputs": {"sampler_name": "euler_ancestral"}},
    "11": {"class_type": "BasicScheduler", "inputs": {"steps": 8, "scheduler": "simple"}},
    "13": {"class_type": "LTXVLatentUpsampler", "inputs": {"samples": ["14", 0]}},
    "12": {
        "class_type": "SamplerCustomAdvanced",
        "inputs": {"noise": ["15", 0], "guider": ["6", 0], "latent_image": ["13", 0]},
    },
    "14": {
        "class_type": "SamplerCustomAdvanced",
        "inputs": {
            "noise": ["9", 0],
            "guider": ["6", 0],
            "sampler": ["10", 0],
            "sigmas": ["11", 0],
            "latent_image": ["8", 0],
        },
    },
    "15": {"class_type": "RandomNoise", "inputs": {"noise_seed": 99}},
}


def test_comfy_settings_follow_guiders_primitives_and_stages():
    recovered, lost = comfy_settings(LTX_GRAPH)
    assert recovered == {
        "prompt": "a sailing ship",
        "seed": 42,
        "steps": 8,
        "guidance": 1,
        "width": 640,
        "height": 384,
        "frames": 97,
    }
    assert lost == [
        "Sampler: euler_ancestral",
        "Scheduler: simple",
        "Model: ltx-2.3.safetensors",
        "1 more sampling stage",
    ]


def test_comfy_settings_end_on_graphs_that_run_in_circles():
    circle = {
        "1": {
            "class_type": "KSampler",
            "inputs": {"seed": ["2", 0], "positive": ["3", 0], "latent_image": ["1", 0]},
        },
        "2": {"class_type": "PrimitiveInt", "inputs": {"value": ["2", 0]}},
        "3": {"class_type": "Reroute", "inputs": {"conditioning": ["3", 0]}},
    }
    assert comfy_settings(circle) == ({}, [])


comfy_values = st.recursive(
    st.none() | st.booleans() | st.integers(0, 5) | st.text("13", max_size=1) | st.floats(0, 2),
    lambda inner: st.lists(inner, max_size=2),
    max_leaves=3,
)
comfy_inputs = st.dictionaries(
    st.sampled_from(["seed", "positive", "latent_image", "model", "guider", "text", "width"]),
    comfy_values,
)
comfy_nodes = st.fixed_dictionaries(
    {"class_type": st.sampled_from(["KSampler", "CLIPTextEncode", "Other"]), "inputs": comfy_inputs}
)


@settings(deadline=None)
@given(st.dictionaries(st.text("123", max_size=1), comfy_nodes | any_json, max_size=4) | any_json)
def test_comfy_settings_never_raise(graph):
    comfy_settings(graph)


@pytest.mark.timeout(20)
def test_comfy_settings_take_a_vast_graph_in_linear_time():
    node = {"class_type": "KSampler", "inputs": {}}
    graph = {
        str(one): {**node, "inputs": {"latent_image": [str(one + 1), 0], "seed": [str(one), 0]}}
        for one in range(4_999)
    }
    assert comfy_settings(graph) is not None
    node = {"class_type": "KSampler", "inputs": {"latent_image": ["0", 0]}}
    assert comfy_settings({str(one): node for one in range(5_001)}) is None


def test_comfy_settings_take_the_size_of_the_latents_not_of_the_text_encoder():
    sized = {"width": 4096, "height": 4096}
    graph = {
        "1": {"class_type": "CLIPTextEncodeSDXL", "inputs": {**sized, "text_g": "a hill"}},
        "2": {"class_type": "EmptyLatentImage", "inputs": {"width": 1024, "height": 640}},
        "3": {"class_type": "LatentFlip", "inputs": {"samples": ["2", 0]}},
        "4": {"class_type": "KSampler", "inputs": {"positive": ["1", 0], "latent_image": ["3", 0]}},
    }
    assert comfy_settings(graph)[0] == {"prompt": "a hill", "width": 1024, "height": 640}


# Files that are not what they say


@pytest.mark.parametrize(
    "chunks", [{}, {"Software": "paint"}, {"prompt": "a cat"}, {"comment": "{x"}]
)
def test_read_recipe_refuses_a_picture_without_one(tmp_path, chunks):
    with pytest.raises(BadInput):
        read_recipe(write_foreign_png(tmp_path / "x.png", **chunks))


def test_read_recipe_says_that_there_is_none(tmp_path):
    with pytest.raises(BadInput, match=r"'x\.png' carries no recipe"):
        read_recipe(write_foreign_png(tmp_path / "x.png"))
    with pytest.raises(BadInput, match=r"'x\.mp4' carries no recipe"):
        read_recipe(write_clip(tmp_path / "x.mp4", {"title": "holiday"}))


@pytest.mark.parametrize("content", [b"", b"GIF89a", b"\xff\xd8\xff\xe0 not a png", b"x" * 100])
def test_read_recipe_refuses_other_kinds_of_file(tmp_path, content):
    path = tmp_path / "x.png"
    path.write_bytes(content)
    with pytest.raises(BadInput, match="neither a PNG picture nor an MP4 video"):
        read_recipe(path)


def test_read_recipe_says_that_a_file_is_gone(tmp_path):
    with pytest.raises(BadInput, match="no longer there"):
        read_recipe(tmp_path / "gone.png")


def test_png_texts_do_not_expand_a_zip_bomb(tmp_path):
    bomb = zlib.compress(b"0" * (100 * 1024**2))
    for kind, body in ((b"zTXt", b"parameters\0\0" + bomb), (b"iTXt", b"prompt\0\1\0\0\0" + bomb)):
        with pytest.raises(BadInput, match="far too large"):
            png_texts(png_with_chunk(tmp_path / "x.png", kind, body))


def test_png_texts_refuse_a_vast_text_and_pass_over_others(tmp_path):
    vast = b"\0" + b"0" * (MAX_TEXT_BYTES + 1)
    with pytest.raises(BadInput, match="far too large"):
        png_texts(png_with_chunk(tmp_path / "x.png", b"tEXt", b"aio_studio" + vast))
    assert png_texts(png_with_chunk(tmp_path / "x.png", b"tEXt", b"workflow" + vast)) == {}


def test_png_texts_read_compressed_and_translated_chunks(tmp_path):
    packed = zlib.compress("größe".encode("latin-1"))
    path = png_with_chunk(tmp_path / "x.png", b"zTXt", b"parameters\0\0" + packed)
    assert png_texts(path) == {"parameters": "größe"}
    packed = zlib.compress("猫".encode())
    path = png_with_chunk(tmp_path / "x.png", b"iTXt", b"prompt\0\1\0ja\0key\0" + packed)
    assert png_texts(path) == {"prompt": "猫"}


def test_png_texts_see_a_flipped_bit(tmp_path):
    path = write_picture(tmp_path / "x.png")
    path.write_bytes(path.read_bytes().replace(b"epicrealism", b"epicrealisn"))
    with pytest.raises(BadInput, match="damaged"):
        png_texts(path)


def test_png_texts_are_found_behind_the_pixels(tmp_path):
    path = write_foreign_png(tmp_path / "x.png", parameters=A1111_REAL)
    whole = path.read_bytes()
    start = whole.index(b"tEXt") - 4
    end = start + 12 + int.from_bytes(whole[start : start + 4], "big")
    path.write_bytes(whole[:start] + whole[end:-12] + whole[start:end] + whole[-12:])
    assert read_recipe(path).source == "a1111"


def test_mp4_texts_refuse_a_vast_tag(tmp_path):
    path = write_clip(tmp_path / "x.mp4", {"aio_studio": "0" * (MAX_TEXT_BYTES + 1)})
    with pytest.raises(BadInput, match="far too large"):
        mp4_texts(path)
    path = write_clip(tmp_path / "x.mp4", {"workflow": "0" * (MAX_TEXT_BYTES + 1), "prompt": "p"})
    assert mp4_texts(path) == {"prompt": "p"}


def test_mp4_texts_stop_in_an_endless_row_of_boxes(tmp_path):
    path = write_our_clip(tmp_path / "x.mp4")
    whole = path.read_bytes()
    row = struct.pack(">I4s", 8, b"free")
    path.write_bytes(row * 99_000 + whole)
    assert set(mp4_texts(path)) == {"aio_studio", "parameters", "comment", XMP_KEY}
    path.write_bytes(row * 100_000 + whole)
    assert mp4_texts(path) == {}


def test_png_texts_stop_in_an_endless_row_of_chunks(tmp_path):
    whole = write_picture(tmp_path / "x.png").read_bytes()
    path = tmp_path / "endless.png"
    path.write_bytes(whole[:33] + struct.pack(">I4sI", 0, b"vpAg", 0) * 100_000 + whole[33:])
    assert png_texts(path) == {}


@pytest.mark.parametrize("write", [write_picture, write_our_clip])
def test_read_recipe_of_a_cut_or_garbled_file_raises_only_bad_input(tmp_path, write):
    whole = write(tmp_path / "x", replace(RECIPE, graph=GRAPH)).read_bytes()
    path = tmp_path / "broken"
    random = np.random.default_rng(0)
    for _ in range(300):
        broken = bytearray(whole[: random.integers(8, len(whole))])
        for place in random.integers(8, len(broken) + 1, 6) - 1:
            broken[place] = random.integers(0, 256)
        path.write_bytes(broken)
        try:
            read_recipe(path)
        except BadInput as refused:
            assert str(refused)
