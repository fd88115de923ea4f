"""What the trained demo weights make is what was asked for, seen by its pixels."""

import re
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

sys.path.insert(0, str(Path(__file__).parent.parent / "tools"))

from demo.colour_lora import GREEN, NAME
from demo.judging import look_at
from demo.scoring import Trial, edit_trials, image_trials, mean_scores
from demo.shapes import Scenes, paint
from demo.sheets import to_image
from demo.through_studio import StudioMaker
from PIL import Image

from studio.demo_qwen import TRAINED
from studio.demo_words import BACKGROUNDS, COLOURS, GRAMMARS, SHAPES, SYNONYMS
from studio.diffusers_engine import DiffusersEngine
from studio.planning import plan_request
from studio.request import read_request

SEED = 9
RED_TO_GREEN = TRAINED / f"{NAME}.safetensors"
RED, CIRCLE, WHITE = list(COLOURS).index("red"), SHAPES.index("circle"), 1


@pytest.fixture(scope="module")
def maker(demo_home):
    makers = {}

    def make(mode: str, preset: str) -> StudioMaker:
        if (mode, preset) not in makers:
            makers.clear()  # one engine at a time holds weights
            makers[mode, preset] = StudioMaker(demo_home, mode, preset)
        return makers[mode, preset]

    return make


@pytest.mark.parametrize(("preset", "count"), [("balanced", 12), ("fast", 12)])
def test_pictures_show_what_held_out_prompts_say(maker, preset, count):
    trials, make = image_trials(count, SEED), maker("image", preset)
    scores = mean_scores(trials, [make(trial) for trial in trials])
    assert scores["colour"] >= 0.9 and scores["background"] >= 0.9 and scores["shape"] >= 0.7


@pytest.mark.parametrize(("preset", "count"), [("balanced", 12), ("fast", 8)])
def test_edits_change_what_was_asked_and_leave_the_rest(maker, preset, count):
    trials, make = edit_trials(count, SEED), maker("edit", preset)
    scores = mean_scores(trials, [make(trial) for trial in trials])
    assert scores["asked"] >= 0.75 and scores["kept"] >= 0.9


def test_another_seed_makes_another_picture_and_the_same_one_the_same(maker):
    make = maker("image", "fast")
    scene = Scenes(*(torch.tensor([value]) for value in (RED, WHITE, CIRCLE, 0.5, 0.5, 0.25)))
    first, again, other = (
        make(Trial("a red circle on white", seed, (128, 128), scene)) for seed in (1, 1, 2)
    )
    assert torch.equal(first, again)
    assert (first - other).abs().mean() > 0.005
    assert look_at(first).colour == look_at(other).colour == RED


def test_a_lora_changes_its_colour_the_more_the_stronger_and_leaves_the_others(maker):
    make = maker("image", "fast")
    scene = Scenes(*(torch.tensor([value]) for value in (RED, WHITE, CIRCLE, 0.5, 0.5, 0.25)))
    asked = [f"a {{}} {shape} on {ground}" for shape in SHAPES for ground in ("white", "gray")]

    def greens(colour: str, strength: float) -> int:
        make.loras = (f"{RED_TO_GREEN}:{strength}",)
        made = [make(Trial(one.format(colour), 4, (128, 128), scene)) for one in asked]
        make.loras = ()
        return [look_at(one).colour for one in made].count(GREEN)

    turned = [greens("red", strength) for strength in (0, 0.5, 1)]
    assert turned[0] == 0 and turned[-1] == len(asked)
    assert 0 < turned[1] < len(asked), "some prompts turn earlier than others"
    assert greens("yellow", 1) == 0


def test_every_example_of_a_prompt_is_obeyed(maker):
    scene = Scenes(*(torch.zeros(1) for _ in range(6)))
    for number, prompt in enumerate(GRAMMARS["image"].examples):
        made = look_at(maker("image", "balanced")(Trial(prompt, number, (128, 128), scene)))
        said = [SYNONYMS.get(word, word) for word in re.findall(r"\w+", prompt)]
        assert list(COLOURS)[made.colour] == next(word for word in said if word in COLOURS)
        assert list(BACKGROUNDS)[made.background] in said[1:]
        assert SHAPES[made.shape] in said


def test_two_pictures_in_one_job_each_get_their_own_edit(demo_home, tmp_path):
    sources = []
    for number, (colour, shape) in enumerate([("red", 0), ("purple", 1)]):
        values = (list(COLOURS).index(colour), number, shape, 0.4, 0.5, 0.25)
        picture = paint(Scenes(*(torch.tensor([value]) for value in values)), (128, 128))[0]
        sources.append(tmp_path / f"{number}.png")
        to_image(picture).save(sources[-1])
    raw = {"prompt": "make it green", "seed": 3, "image": [str(one) for one in sources]}
    engine, seen = DiffusersEngine(), []
    for plan in plan_request(read_request(demo_home, "edit", raw)):
        with Image.open(engine.run(plan, lambda event: None, tmp_path)) as image:
            levels = torch.from_numpy(np.asarray(image, dtype=np.float32) / 127.5 - 1)
        seen.append(look_at(levels.permute(2, 0, 1)))
    green = list(COLOURS).index("green")
    assert [one.colour for one in seen] == [green, green]
    assert [one.background for one in seen] == [0, 1]
