"""What is said of scenes and of edits, in the words that `studio.demo_words` lists."""

import random
import zlib

from demo.shapes import Scenes

from studio.demo_words import BACKGROUNDS, COLOURS, SHAPES, SYNONYMS

OPENINGS = ("{a} ", "{a} ", "", "a photo of {a} ", "a picture of {a} ", "draw {a} ", "paint {a} ")
ENDINGS = (" on {ground}", " on {ground}", " on a {ground} background", ", {ground} background")
# Of captions that say nothing of the background.
UNSAID = 0.08
SYNONYM_SHARE = 0.25

RECOLOUR = (
    "make it {new}",
    "make it {new}",
    "make the {shape} {new}",
    "turn the {shape} {new}",
    "paint it {new}",
    "change the color to {new}",
    "recolor it to {new}",
)
RESHAPE = (
    "make it a {new}",
    "turn it into a {new}",
    "change the {shape} to a {new}",
    "replace the {shape} with a {new}",
)
REGROUND = (
    "make the background {new}",
    "make the background {new}",
    "change the background to {new}",
    "put it on {new}",
    "put it on a {new} background",
)
# One of so many captions is never trained on.
HELD_OUT_OF = 5

_OTHER_WORDS = {
    word: tuple(other for other, meant in SYNONYMS.items() if meant == word)
    for word in SYNONYMS.values()
}


def caption(scenes: Scenes, number: int, words: random.Random) -> str:
    """One of many ways to say what the `number`-th scene shows."""
    colour = _said(list(COLOURS)[int(scenes.colour[number])], words)
    shape = _said(SHAPES[int(scenes.shape[number])], words)
    ground = _said(list(BACKGROUNDS)[int(scenes.background[number])], words)
    article = "an" if colour[0] in "aeiou" else "a"
    opening = words.choice(OPENINGS).format(a=article)
    ending = "" if words.random() < UNSAID else words.choice(ENDINGS).format(ground=ground)
    return f"{opening}{colour} {shape}{ending}"


def instruction(before: Scenes, after: Scenes, number: int, words: random.Random) -> str:
    """One of many ways to ask for the one thing in which the two scenes differ."""
    shape = _said(SHAPES[int(before.shape[number])], words)
    for name, ways, table in (
        ("colour", RECOLOUR, tuple(COLOURS)),
        ("shape", RESHAPE, SHAPES),
        ("background", REGROUND, tuple(BACKGROUNDS)),
    ):
        new = int(getattr(after, name)[number])
        if new != int(getattr(before, name)[number]):
            return words.choice(ways).format(shape=shape, new=_said(table[new], words))
    raise ValueError("The two scenes are the same.")


def label(scenes: Scenes, number: int) -> str:
    """The same words for all scenes that show the same, wherever and however large."""
    colour, shape = list(COLOURS)[int(scenes.colour[number])], SHAPES[int(scenes.shape[number])]
    return f"{colour} {shape} on {list(BACKGROUNDS)[int(scenes.background[number])]}"


def held_out(text: str, before: str = "") -> bool:
    """Whether a caption, or an instruction for the scene `before`, is kept for the scores."""
    text = f"{text}|{before}"
    return zlib.crc32(text.encode()) % HELD_OUT_OF == 0


def _said(word: str, words: random.Random) -> str:
    others = _OTHER_WORDS.get(word)
    return words.choice(others) if others and words.random() < SYNONYM_SHARE else word
