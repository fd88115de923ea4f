"""What to try in each mode: one press fills its form."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

FOLDER = Path(__file__).parents[1] / "assets" / "examples"


@dataclass(frozen=True)
class Example:
    """A prompt, and the file in `FOLDER` for each media control that needs one."""

    prompt: str
    files: Mapping[str, str] = field(default_factory=dict)


DEMO_EXAMPLES: Mapping[str, tuple[Example, ...]] = {
    "photo": (
        Example("a red circle on white"),
        Example("a blue square on black"),
        Example("a green triangle on a gray background"),
    ),
    "image": (
        Example("a yellow circle on black"),
        Example("a purple square on white"),
        Example("an orange triangle on blue"),
    ),
    "edit": (
        Example("make it green", {"image": "red-circle.png"}),
        Example("change the background to black", {"image": "red-circle.png"}),
    ),
    "t2v": (
        Example("a red circle moving left on white"),
        Example("a blue square moving up on black"),
    ),
    "i2v": (Example("a red circle moving right on white", {"image": "red-circle.png"}),),
    "a2v": (Example("a yellow circle on black", {"audio": "swells.wav"}),),
    "lipsync": (
        Example("a red circle on white", {"image": "red-circle.png", "audio": "swells.wav"}),
    ),
    "keyframe": (
        Example(
            "a red circle moving right on white",
            {"first": "red-circle.png", "last": "red-circle-right.png"},
        ),
    ),
    "style": (
        Example(
            "a blue square moving right on white",
            {"video": "circle-moves.mp4", "image": "blue-square.png"},
        ),
    ),
}
"""For demo weights, which know coloured shapes. The files are drawn by `tools/draw_examples.py`."""

EXAMPLES: Mapping[str, tuple[Example, ...]] = {
    "photo": (
        Example("Portrait of an old fisherman, weathered face, soft window light, 85mm"),
        Example("A mountain lake at dawn, mist over the water, reflections, wide angle"),
    ),
    "image": (
        Example('A shop window at night with a neon sign that says "Open late", rain outside'),
        Example('A hand-drawn poster with the title "Summer Fair" and a hot-air balloon'),
    ),
    "edit": (
        Example("Make it winter, with snow on the ground"),
        Example("Replace the background with plain white"),
    ),
    "t2v": (
        Example("A slow dolly through a pine forest at dawn, mist between the trees, birdsong"),
        Example("Waves break on black rocks in slow motion, spray in the evening sun"),
    ),
    "i2v": (Example("The camera comes slowly closer, and hair and leaves move in the wind"),),
    "a2v": (Example("A drummer on a small stage, the lights follow the beat"),),
    "lipsync": (Example("A person talks to the camera, calm, with small movements of the head"),),
    "keyframe": (Example("One continuous shot in which summer turns into winter"),),
    "style": (Example("An oil painting that has come alive, thick strokes, warm light"),),
}
"""For the real weights. What they start from is the user's own."""


def examples(mode_id: str, demo: bool) -> tuple[Example, ...]:
    """What the mode's weights can show."""
    return (DEMO_EXAMPLES if demo else EXAMPLES).get(mode_id, ())
