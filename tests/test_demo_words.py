"""Demo weights say what they know, where a prompt asks for more."""

import pytest
from requests_of_modes import raw_request

from studio.demo_words import GRAMMARS, demo_note, what_demo_knows
from studio.modes import MODES
from studio.planning import plan_request
from studio.request import read_request

KNOWS = "circle, square or triangle in red, green, blue, yellow, purple or orange"


@pytest.mark.parametrize("mode", GRAMMARS)
def test_examples_are_known(mode):
    assert len(GRAMMARS[mode].examples) >= 6
    assert [demo_note(mode, example) for example in GRAMMARS[mode].examples] == [None] * 6


@pytest.mark.parametrize(
    ("mode", "prompt"),
    [
        ("image", "a cat on white"),
        ("image", "3 red circles"),
        ("image", "красный круг"),
        ("image", "make it green"),
        ("edit", "make it bigger"),
    ],
)
def test_other_prompts_are_answered_with_what_the_weights_know(mode, prompt):
    said = demo_note(mode, prompt)
    assert KNOWS in said and f"Try “{GRAMMARS[mode].examples[0]}”." in said


def test_case_and_punctuation_do_not_matter():
    assert demo_note("image", "A red ball, BLUE background!") is None


@pytest.mark.parametrize("mode", [mode for mode in MODES if mode not in GRAMMARS])
def test_modes_with_random_weights_say_so(mode):
    assert demo_note(mode, "a cat") is None
    assert "random" in what_demo_knows(mode)


def test_the_plan_of_a_prompt_beyond_the_grammar_says_what_is_known(home, media):
    def notes(prompt):
        raw = raw_request("image", media, prompt=prompt)
        return plan_request(read_request(home, "image", raw))[0].notes

    assert notes("a red circle on white") == ()
    assert any(KNOWS in note for note in notes("a cat on a sofa"))
