"""The declarations of the nine modes hold together."""

import subprocess
import sys

import pytest

from studio.families import FAMILIES
from studio.fields import MediaControl
from studio.mode_listing import mode_as_json
from studio.modes import MODES

NINE = ["photo", "image", "edit", "t2v", "i2v", "a2v", "lipsync", "keyframe", "style"]


def test_modes_are_the_nine_in_order():
    assert list(MODES) == NINE


@pytest.mark.parametrize("module", ["studio", "studio.modes", "studio.planning", "studio.studio"])
def test_importing_loads_neither_torch_nor_gradio(module):
    heavy = "{'torch', 'gradio', 'diffusers'}"
    code = f"import sys, {module}; sys.exit(bool({heavy} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize("mode", MODES.values(), ids=NINE)
def test_mode_names_every_control_once_and_only_known_ones(mode):
    names = [field.name for field in mode.fields]
    assert len(names) == len(set(names))
    for field in mode.fields:
        assert field.label and field.name.isidentifier()
        if field.shown:
            assert field.shown.field in names
        if isinstance(field, MediaControl) and field.strength and field.role != "source":
            assert field.strength in names


@pytest.mark.parametrize("mode", MODES.values(), ids=NINE)
def test_mode_offers_the_three_presets_with_registered_adapters(mode):
    assert list(mode.presets) == ["fast", "balanced", "quality"]
    adapters = FAMILIES[mode.family].adapters
    for preset in mode.presets.values():
        assert preset.summary.endswith(".")
        for sampling in preset.sampling:
            assert all(adapter.name in adapters for adapter in sampling.adapters)
            assert sampling.sigmas is None or len(sampling.sigmas) == sampling.steps


def test_presets_are_the_published_recipes():
    video = MODES["t2v"].presets
    assert [one.steps for one in video["fast"].sampling] == [8, 3]
    assert video["fast"].sampling[0].sigmas == (
        1.0, 0.99375, 0.9875, 0.98125, 0.975, 0.909375, 0.725, 0.421875
    )  # fmt: skip
    assert video["balanced"].sampling[1].sigmas == (0.85, 0.725, 0.4219)
    assert [one.steps for one in video["quality"].sampling] == [30, 3]
    assert [len(one.sampling) for one in MODES["style"].presets.values()] == [1, 2, 2]
    assert [one.sampling[0].steps for one in MODES["image"].presets.values()] == [4, 8, 40]
    assert [one.sampling[0].steps for one in MODES["photo"].presets.values()] == [20, 30, 40]


@pytest.mark.parametrize("family", FAMILIES.values(), ids=list(FAMILIES))
def test_buckets_are_sizes_that_the_family_makes(family):
    multiple = 64 if family.id == "ltx-2.3" else family.multiple
    for canvas in (family.canvas, family.demo_canvas):
        for bucket in canvas.buckets:
            for side in (bucket.width, bucket.height):
                assert side % multiple == 0
                assert canvas.smallest_side <= side <= canvas.largest_side


@pytest.mark.parametrize("mode", MODES.values(), ids=NINE)
def test_listing_says_every_control_with_its_flag(mode):
    listed = mode_as_json(mode)
    assert [field["name"] for field in listed["fields"]] == [field.name for field in mode.fields]
    assert all(field["flag"].startswith("--") for field in listed["fields"])
