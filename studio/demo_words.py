"""What trained demo weights know: a small grammar of prompts, in words."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

Rgb = tuple[int, int, int]

COLOURS: Mapping[str, Rgb] = {
    "red": (225, 35, 35),
    "green": (35, 175, 70),
    "blue": (45, 75, 230),
    "yellow": (240, 215, 40),
    "purple": (150, 50, 200),
    "orange": (245, 135, 25),
}
BACKGROUNDS: Mapping[str, Rgb] = {
    "black": (12, 12, 12),
    "white": (245, 245, 245),
    "gray": (128, 128, 128),
    "blue": COLOURS["blue"],
}
SHAPES = ("circle", "square", "triangle")

SYNONYMS: Mapping[str, str] = {
    "ball": "circle",
    "disc": "circle",
    "box": "square",
    "violet": "purple",
    "grey": "gray",
}
"""Other words that were trained for the same things."""

_WORD = re.compile(r"\w+")
_THINGS = (*COLOURS, *BACKGROUNDS, *SHAPES, *SYNONYMS)


@dataclass(frozen=True)
class Grammar:
    """What the trained weights of a mode were told in training."""

    words: frozenset[str]
    examples: tuple[str, ...]

    def knows(self, prompt: str) -> bool:
        """Whether every word of `prompt` was in training; the order is not looked at."""
        return self.words.issuperset(_WORD.findall(prompt.lower()))


GRAMMARS: Mapping[str, Grammar] = {
    "image": Grammar(
        frozenset((*_THINGS, *"a an on photo picture of draw paint background".split())),
        (
            "a red circle on white",
            "a blue square on a gray background",
            "a photo of a yellow triangle on black",
            "draw an orange ball, blue background",
            "a purple box on white",
            "paint a green disc on a gray background",
        ),
    ),
    "edit": Grammar(
        frozenset(
            (
                *_THINGS,
                *"make it a the turn paint change color to recolor into replace with".split(),
                *"background put on".split(),
            )
        ),
        (
            "make it green",
            "turn it into a triangle",
            "make the background black",
            "change the color to purple",
            "replace the circle with a square",
            "put it on a gray background",
        ),
    ),
}
"""By mode; the demo weights of the others are random."""


def demo_note(mode: str, prompt: str) -> str | None:
    """A sentence where the trained demo weights of `mode` cannot know what `prompt` says."""
    grammar = GRAMMARS.get(mode)
    if grammar is None or grammar.knows(prompt):
        return None
    return f"These are demo weights. {what_demo_knows(mode)} Try “{grammar.examples[0]}”."


def what_demo_knows(mode: str) -> str:
    """One sentence for people."""
    if mode not in GRAMMARS:
        return "Those of this mode are random: they show how it works, not what is said."
    shapes, colours, grounds = (_listed(table) for table in (SHAPES, COLOURS, BACKGROUNDS))
    return f"They know one {shapes} in {colours} on {grounds}."


def _listed(words: Iterable[str]) -> str:
    *first, last = words
    return f"{', '.join(first)} or {last}"
