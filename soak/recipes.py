"""Mutated recipes: what a file that is dropped on the page says of how it was made.

    make soak ARGS="recipes --seed 5 --files 6000"

Ours, ComfyUI's and A1111's, each with some of its values or characters changed. Such a file fills a
form as far as it can, on the way that the page's script carries it, or is refused in a sentence.
"""

import json
import random
from collections.abc import Callable, Mapping
from pathlib import Path

from recipe_samples import A1111_REAL, GRAPH, RECIPE, write_foreign_png

from soak.answers import Answers, answer, tally
from soak.graphs import mutated
from studio.home import Home
from studio.modes import MODES
from studio.recipe import to_json
from studio.recipe_read import read_recipe
from studio.recipe_text import A1111_KEY, COMFY_KEY, STUDIO_KEY
from studio.restore import restore, wish_from_json, wish_of_file, wish_to_json


def campaign(folder: Path, seed: int, count: int) -> Answers:
    """`count` files, of the three kinds in turn."""
    chance, home = random.Random(seed), Home(folder / "home")
    kinds = tuple(KINDS)
    answers = []
    for number in range(count):
        kind = kinds[number % len(kinds)]
        path = write_foreign_png(folder / "dropped.png", **{kind: KINDS[kind](chance)})
        mode = chance.choice(("", "x", *MODES))
        answers.append(answer(lambda path=path, mode=mode: _restore(home, path, mode)))
    return tally(answers)


def _restore(home: Home, path: Path, mode: str) -> None:
    wish = wish_of_file(read_recipe(path), "image", mode)
    carried = json.loads(json.dumps(wish_to_json(wish)))
    restore(home, lambda sha256: True, wish_from_json(carried))


def _ours(chance: random.Random) -> str:
    return _cut(json.dumps(mutated(json.loads(to_json(RECIPE)), chance)), chance)


def _comfyui(chance: random.Random) -> str:
    return _cut(json.dumps(mutated(GRAPH, chance)), chance)


def _a1111(chance: random.Random) -> str:
    """Parts are moved, doubled, removed, or made of something else."""
    text = A1111_REAL
    for _ in range(chance.randrange(1, 6)):
        start = chance.randrange(len(text))
        end = start + chance.randrange(40)
        part = chance.choice(("", text[start:end] * 2, "Steps: ", ": ", '"', "<lora:", "9" * 5000))
        text = text[:start] + part + text[end:]
    return _cut(text, chance)


def _cut(text: str, chance: random.Random) -> str:
    return text[: chance.randrange(len(text))] if chance.random() < 0.1 else text


KINDS: Mapping[str, Callable[[random.Random], str]] = {
    STUDIO_KEY: _ours,
    COMFY_KEY: _comfyui,
    A1111_KEY: _a1111,
}
