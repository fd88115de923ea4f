"""Recipes: JSON and A1111 text, PNG and MP4 files written and read back."""

import json
import re
import xml.etree.ElementTree as ElementTree
from dataclasses import replace

import av
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from recipe_samples import (
    GRAPH,
    RECIPE,
    any_json,
    any_text,
    write_clip,
    write_our_clip,
    write_picture,
)

from studio.errors import BadInput, EngineFailed
from studio.recipe import (
    MAX_TEXT_BYTES,
    from_json,
    parse_json,
    to_json,
)
from studio.recipe_a1111 import a1111_settings
from studio.recipe_mp4 import XMP_UUID, add_xmp, mp4_tags, mp4_texts
from studio.recipe_png import png_texts
from studio.recipe_read import read_recipe, verify_recipe
from studio.recipe_text import XMP_KEY, a1111_text


def digital_source_type(packet: str) -> str:
    root = ElementTree.fromstring(re.sub(r"<\?xpacket.*?\?>", "", packet))
    name = "{http://iptc.org/std/Iptc4xmpExt/2008-02-29/}DigitalSourceType"
    return next(node.attrib[name] for node in root.iter() if name in node.attrib)


def read_texts(path):
    return png_texts(path) if path.suffix == ".png" else mp4_texts(path)


# JSON


@settings(deadline=None)
@given(prompt=any_text, params=st.dictionaries(any_text, any_json, max_size=4))
def test_json_round_trip_keeps_any_text_and_value(prompt, params):
    recipe = replace(RECIPE, params={**params, "prompt": prompt}, notes=(prompt,))
    assert from_json(to_json(recipe)) == recipe
    assert to_json(recipe).isascii()


def test_from_json_ignores_what_a_future_version_adds():
    future = {**json.loads(to_json(RECIPE)), "version": 7, "weather": {"sun": 1}}
    assert from_json(json.dumps(future)) == replace(RECIPE, version=7)


def test_from_json_fills_what_is_absent():
    recipe = from_json('{"version": 1, "mode": "photo", "params": {}, "seed": 3}')
    assert (recipe.mode, recipe.seed, recipe.loras, recipe.fps) == ("photo", 3, (), None)


@pytest.mark.parametrize(
    "change",
    [
        {"seed": "7"},
        {"seed": True},
        {"seed": 10**40},
        {"width": 1.5},
        {"params": []},
        {"sampling": [1]},
        {"loras": [{"name": "x"}]},
        {"inputs": {}},
        {"timings": {"load": "long"}},
        {"fps": "24"},
        {"notes": [None]},
        {"graph": "nodes"},
    ],
)
def test_from_json_refuses_a_field_of_the_wrong_kind(change):
    with pytest.raises(BadInput, match="damaged"):
        from_json(json.dumps({**json.loads(to_json(RECIPE)), **change}))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "null",
        "[]",
        "{}",
        '{"mode": "photo"}',
        "not json",
        "[" * 500_000,
        '{"a":' * 900 + "1" + "}" * 900,
        "1" * 20_000,
        " " * (MAX_TEXT_BYTES + 1),
    ],
)
def test_from_json_refuses_garbage(text):
    with pytest.raises(BadInput):
        from_json(text)


@pytest.mark.parametrize(
    "text", ["[" * 65 + "]" * 65, "[" * 500_000, str(2**64), "[1, -" + "9" * 300 + "]"]
)
def test_parse_json_refuses_what_is_too_deep_or_too_large(text):
    assert parse_json("[" * 63 + "]" * 63)
    with pytest.raises(BadInput, match="damaged"):
        parse_json(text)


def test_parse_json_turns_numbers_without_a_value_into_none():
    assert parse_json("[NaN, Infinity, 1e999, 2.5]") == [None, None, None, 2.5]


def test_to_json_refuses_a_number_that_json_cannot_say():
    with pytest.raises(ValueError, match="JSON"):
        to_json(replace(RECIPE, timings={"load": float("nan")}))


# The A1111 text


def test_a1111_text_says_the_settings():
    text = a1111_text(replace(RECIPE, params={"prompt": "a cat", "negative": "a dog"}))
    assert text == (
        "a cat\nNegative prompt: a dog\n"
        "Steps: 20, Sampler: dpmpp_2m, CFG scale: 5, Seed: 4294967295, Size: 1024x768, "
        'Model: epicrealism-xl, Lora hashes: "ink: 0123456789", Version: AIO Studio 0.1.0'
    )


@pytest.mark.parametrize("weights", ['"quoted"', "a, b: c", 'a "b", c', "line\nbreak", "plain"])
def test_a1111_text_quotes_names_that_would_be_cut(weights):
    _, lost = a1111_settings(a1111_text(replace(RECIPE, weights=weights)))
    assert f"Model: {weights}" in lost


def test_a1111_text_names_demo_weights():
    assert "Model: demo epicrealism-xl," in a1111_text(replace(RECIPE, demo=True))


def test_a1111_text_leaves_out_what_is_not_there():
    bare = replace(RECIPE, params={}, sampling=(), loras=(), weights="")
    line = "\nSeed: 4294967295, Size: 1024x768, Version: AIO Studio 0.1.0"
    assert a1111_text(bare) == line


def test_a1111_text_is_read_back_by_the_a1111_reader():
    prompt = 'a "red, blue" cat: big\nand, two: lines'
    recipe = replace(
        RECIPE, weights='odd, "name": x', params={"prompt": prompt, "negative": "no, dogs: x"}
    )
    recovered, lost = a1111_settings(a1111_text(recipe))
    assert recovered == {
        "prompt": prompt,
        "negative": "no, dogs: x",
        "steps": 20,
        "guidance": 5.0,
        "seed": 4294967295,
        "width": 1024,
        "height": 768,
    }
    assert 'Model: odd, "name": x' in lost


# Round trips through files


@pytest.mark.parametrize("write", [write_picture, write_our_clip])
@pytest.mark.parametrize("graph", [None, GRAPH])
def test_read_recipe_restores_our_own_files(tmp_path, write, graph):
    recipe = replace(RECIPE, graph=graph)
    path = write(tmp_path / "made", recipe)
    verify_recipe(path, recipe)
    found = read_recipe(path)
    assert (found.source, found.recipe, found.lost) == ("aio-studio", recipe, ())
    assert found.settings == {**recipe.params, "seed": recipe.seed}


@settings(max_examples=25, deadline=None)
@given(prompt=any_text)
def test_write_png_keeps_any_prompt(tmp_path_factory, prompt):
    path = tmp_path_factory.mktemp("any") / "x.png"
    recipe = replace(RECIPE, params={"prompt": prompt, "negative": prompt})
    verify_recipe(write_picture(path, recipe), recipe)


@pytest.mark.parametrize("prompt", ["nul \0 and half \ud83d", "\u2028\r\n\ttab", "ÿ" * 3000])
def test_mp4_keeps_awkward_prompts(tmp_path, prompt):
    recipe = replace(RECIPE, params={"prompt": prompt})
    verify_recipe(write_our_clip(tmp_path / "x.mp4", recipe), recipe)


def test_png_chunks_are_seen_by_pillow(tmp_path):
    with Image.open(write_picture(tmp_path / "x.png", replace(RECIPE, graph=GRAPH))) as image:
        image.load()
        assert image.text["parameters"] == a1111_text(RECIPE)
        assert from_json(image.text["aio_studio"]).seed == RECIPE.seed
        assert json.loads(image.text["prompt"]) == GRAPH
        assert "DigitalSourceType" in image.text[XMP_KEY]


def test_mp4_tags_are_seen_by_pyav(tmp_path):
    recipe = replace(RECIPE, graph=GRAPH, demo=True)
    with av.open(str(write_our_clip(tmp_path / "x.mp4", recipe))) as container:
        tags = dict(container.metadata)
        shown = [frame.to_ndarray(format="rgb24").mean() for frame in container.decode(video=0)]
    assert tags["parameters"] == a1111_text(recipe)
    assert from_json(tags["aio_studio"]) == recipe
    assert json.loads(tags["prompt"]) == GRAPH
    assert tags["comment"] == "Made by AI with AIO Studio 0.1.0 (demo weights)"
    assert len(shown) == 5
    assert shown == sorted(shown)


def test_texts_go_on_after_a_nul(tmp_path):
    recipe = replace(RECIPE, params={"prompt": "before\0after \ud83d end"})
    for path in (write_picture(tmp_path / "x.png", recipe), write_our_clip(tmp_path / "x", recipe)):
        assert read_texts(path)["parameters"].startswith("before\ufffdafter ? end\nSteps: 20")


def test_mp4_starts_fast_and_ends_with_the_xmp_box(tmp_path):
    whole = write_our_clip(tmp_path / "x.mp4").read_bytes()
    assert whole.index(b"moov") < whole.index(b"mdat")
    start = whole.rindex(b"uuid" + XMP_UUID) - 4
    assert start + int.from_bytes(whole[start : start + 4], "big") == len(whole)


@pytest.mark.parametrize("write, texts", [(write_picture, png_texts), (write_our_clip, mp4_texts)])
@pytest.mark.parametrize(
    "edited, kind",
    [(False, "trainedAlgorithmicMedia"), (True, "compositeWithTrainedAlgorithmicMedia")],
)
def test_ai_mark_names_the_source_type(tmp_path, write, texts, edited, kind):
    packet = texts(write(tmp_path / "x", replace(RECIPE, edited=edited)))[XMP_KEY]
    uri = "http://cv.iptc.org/newscodes/digitalsourcetype/" + kind
    assert digital_source_type(packet) == uri


def test_add_xmp_refuses_a_file_that_is_not_whole(tmp_path):
    path = write_clip(tmp_path / "x.mp4", mp4_tags(RECIPE))
    path.write_bytes(path.read_bytes()[:-10])
    with pytest.raises(EngineFailed, match="not a whole MP4"):
        add_xmp(path, RECIPE)


def test_write_png_says_that_the_folder_is_gone(tmp_path):
    with pytest.raises(EngineFailed, match="no longer there"):
        write_picture(tmp_path / "gone" / "x.png")


@pytest.mark.parametrize("write", [write_picture, write_our_clip])
def test_verify_recipe_sees_another_recipe(tmp_path, write):
    path = write(tmp_path / "x")
    with pytest.raises(EngineFailed, match="could not be read back"):
        verify_recipe(path, replace(RECIPE, seed=1))


def test_verify_recipe_sees_a_missing_ai_mark(tmp_path):
    path = write_clip(tmp_path / "x.mp4", mp4_tags(RECIPE))
    with pytest.raises(EngineFailed, match="could not be read back"):
        verify_recipe(path, RECIPE)


def test_verify_recipe_sees_a_file_without_tags(tmp_path):
    path = write_clip(tmp_path / "x.mp4", mp4_tags(RECIPE), "faststart")
    add_xmp(path, RECIPE)
    with pytest.raises(EngineFailed, match="could not be read back"):
        verify_recipe(path, RECIPE)


def test_verify_recipe_sees_a_missing_file(tmp_path):
    with pytest.raises(EngineFailed, match="could not be read back"):
        verify_recipe(tmp_path / "x.png", RECIPE)
