"""The examples: each can be run as it stands, and one press fills its form."""

import pytest

from studio.demo_words import demo_note
from studio.examples import DEMO_EXAMPLES, EXAMPLES, FOLDER, examples
from studio.modes import MODES
from studio.page_carry import carried_controls
from studio.planning import plan_item
from studio.request import read_request

DEMO = [(mode_id, one) for mode_id, some in DEMO_EXAMPLES.items() for one in some]


@pytest.mark.parametrize(("mode_id", "example"), DEMO, ids=[f"{m}-{e.prompt}" for m, e in DEMO])
def test_demo_example_runs_as_it_stands(home, mode_id, example):
    files = {control: [str(FOLDER / name)] for control, name in example.files.items()}
    request = read_request(home, mode_id, {"prompt": example.prompt, **files})
    assert plan_item(request, 0).weights.demo


def test_trained_demo_weights_know_their_examples():
    assert [one.prompt for mode_id, one in DEMO if demo_note(mode_id, one.prompt)] == []


def test_every_mode_has_examples_and_every_file_is_used():
    assert set(DEMO_EXAMPLES) == set(EXAMPLES) == set(MODES)
    used = {name for _, one in DEMO for name in one.files.values()}
    assert used == {path.name for path in FOLDER.iterdir()}


def test_real_weights_have_examples_of_their_own():
    assert examples("photo", demo=True) != examples("photo", demo=False)
    assert not any(one.files for some in EXAMPLES.values() for one in some)


def test_controls_are_carried_between_modes_that_mean_the_same():
    carried = {
        mode: {field.name for field in fields} for mode, fields in carried_controls().items()
    }
    assert all({"prompt", "preset", "seed"} <= names for names in carried.values())
    # A length of three seconds would cut a sound that is as long as it is.
    seconds = {
        field.default
        for fields in carried_controls().values()
        for field in fields
        if field.name == "seconds"
    }
    assert seconds == {3, None}
    assert "image" not in carried["i2v"] and "loras" not in carried["photo"]
