"""The controls that the modes are put together from."""

from collections.abc import Iterable

from studio.families import Bucket
from studio.fields import (
    ChoiceControl,
    LoraControl,
    MediaControl,
    MediaRole,
    NumberControl,
    Option,
    TextControl,
    ToggleControl,
    When,
)
from studio.presets import DEFAULT_PRESET, Presets

LARGEST_SEED = 2**32 - 1
"""The range that A1111, ComfyUI and diffusers share."""

CAMERA_MOVES = {
    "static": "Static",
    "dolly-in": "Dolly in",
    "dolly-out": "Dolly out",
    "dolly-left": "Dolly left",
    "dolly-right": "Dolly right",
    "jib-up": "Jib up",
    "jib-down": "Jib down",
}

QUALITY_ONLY = When("preset", ("quality",))
"""Guidance, and with it the negative prompt, acts only where the preset has any."""

PROMPT = TextControl(
    name="prompt", label="Prompt", required=True, help="What you want to see, in plain words."
)
NEGATIVE = TextControl(
    name="negative", label="Negative prompt", lines=2, help="What you do not want to see."
)
LTX_NEGATIVE = TextControl(
    name="negative",
    label="Negative prompt",
    lines=2,
    # The negative prompt of Lightricks' own examples.
    default="worst quality, inconsistent motion, blurry, jittery, distorted",
    help="What you do not want to see or hear.",
    shown=QUALITY_ONLY,
)
QWEN_NEGATIVE = TextControl(
    name="negative",
    label="Negative prompt",
    lines=2,
    help="What you do not want to see.",
    shown=QUALITY_ONLY,
)
SEED = NumberControl(
    name="seed",
    label="Seed",
    minimum=0,
    maximum=LARGEST_SEED,
    default=None,
    integer=True,
    empty="random",
    help="The same seed and settings give the same result. Empty draws one.",
)
LORAS = LoraControl(name="loras", label="LoRAs", advanced=True, help="Up to four of your own.")


def preset_choice(presets: Presets) -> ChoiceControl:
    options = tuple(Option(one.id, one.label, one.summary) for one in presets.values())
    return ChoiceControl(name="preset", label="Preset", options=options, default=DEFAULT_PRESET)


def _side(name: str, label: str) -> NumberControl:
    return NumberControl(
        name=name,
        label=label,
        minimum=64,
        maximum=4096,
        default=None,
        integer=True,
        step=8,
        unit="pixels",
        empty="by the shape",
        advanced=True,
    )


WIDTH, HEIGHT = _side("width", "Width"), _side("height", "Height")

USUAL_SHAPE = "auto"


def shape(usual: str, buckets: Iterable[Bucket]) -> ChoiceControl:
    """The shapes that a family was trained on; `usual` says what is taken where none is chosen."""
    shapes = {bucket.shape: bucket.label for bucket in reversed(tuple(buckets))}
    options = [Option(value, label) for value, label in reversed(shapes.items())]
    return ChoiceControl(
        name="shape",
        label="Shape",
        options=(Option(USUAL_SHAPE, usual), *options),
        default=USUAL_SHAPE,
        help="At the size that the weights know best.",
    )


def guidance(default: float, shown: When | None = None) -> NumberControl:
    return NumberControl(
        name="guidance",
        label="Guidance",
        minimum=1.1,
        maximum=15,
        default=default,
        step=0.1,
        advanced=True,
        shown=shown,
        help="How strictly the prompt is followed; too much burns colours.",
    )


def strength(
    name: str,
    label: str,
    help: str,
    default: float = 1.0,
    maximum: float = 1.0,
    shown: When | None = None,
) -> NumberControl:
    return NumberControl(
        name=name,
        label=label,
        minimum=0,
        maximum=maximum,
        default=default,
        step=0.05,
        advanced=True,
        help=help,
        shown=shown,
    )


def picture(
    name: str, label: str, role: MediaRole, help: str, strength: str = "image_strength"
) -> MediaControl:
    return MediaControl(
        name=name, label=label, kind="image", role=role, strength=strength, help=help
    )


EDIT_SOURCES = MediaControl(
    name="image",
    label="Pictures",
    kind="image",
    role="source",
    most=50,
    help="Each is edited on its own; one that fails does not stop the others.",
)
EDIT_REFERENCES = MediaControl(
    name="reference",
    label="Reference pictures",
    kind="image",
    role="reference",
    required=False,
    most=3,
    help="Shown to the model beside every picture: “the hat of image 2”.",
)
LONGEST_SIDE = NumberControl(
    name="longest_side",
    label="Longest side",
    minimum=64,
    maximum=2048,
    default=None,
    integer=True,
    step=32,
    unit="pixels",
    empty="the weights' own size",
    help="Larger pictures are made smaller first.",
)
ORIGINAL_SIZE = ToggleControl(
    name="original_size",
    label="Give back the original size",
    help="The result is scaled to the size of your picture.",
)

START_PICTURE = picture("image", "Picture", "first_frame", "The clip's first frame.")
PORTRAIT = picture(
    "image", "Portrait", "first_frame", "The face that speaks; the clip's first frame."
)
STYLE_PICTURE = picture(
    "image", "Style picture", "first_frame", "The clip's first frame, in the look you want."
)
FIRST_PICTURE = picture(
    "first", "First frame", "first_frame", "The clip starts here.", "first_strength"
)
LAST_PICTURE = picture("last", "Last frame", "last_frame", "The clip ends here.", "last_strength")
IMAGE_STRENGTH = strength(
    "image_strength", "Image strength", "How firmly the clip starts on the picture."
)
FIRST_STRENGTH = strength(
    "first_strength", "First frame strength", "How firmly the clip starts on it."
)
LAST_STRENGTH = strength("last_strength", "Last frame strength", "How firmly the clip ends on it.")

SOUND = MediaControl(
    name="audio",
    label="Sound",
    kind="audio",
    role="sound",
    help="Kept as it is in the finished clip.",
)
SOURCE_VIDEO = MediaControl(
    name="video",
    label="Video",
    kind="video",
    role="control",
    strength="control_strength",
    help="Its movement and sound are kept.",
)
FPS = NumberControl(
    name="fps", label="Frames per second", minimum=8, maximum=50, default=24, integer=True
)


def _seconds(default: float | None, empty: str = "") -> NumberControl:
    return NumberControl(
        name="seconds",
        label="Length",
        minimum=0.3,
        maximum=30,
        default=default,
        step=0.1,
        unit="seconds",
        empty=empty,
    )


SECONDS = _seconds(3)


def seconds_of(what: str) -> NumberControl:
    """The clip is as long as its sound or video unless the user says otherwise."""
    return _seconds(None, f"as long as the {what}")


CAMERA = ChoiceControl(
    name="camera",
    label="Camera movement",
    options=(
        Option("none", "None"),
        *(Option(move, label) for move, label in CAMERA_MOVES.items()),
    ),
    default="none",
    advanced=True,
    help="A camera LoRA of the model makers.",
)
CAMERA_STRENGTH = strength(
    "camera_strength",
    "Camera strength",
    "How firmly the camera moves.",
    default=0.8,
    maximum=1.5,
    shown=When("camera", tuple(CAMERA_MOVES)),
)
DETAILER = ToggleControl(
    name="detailer", label="Detailer", advanced=True, help="Adds fine detail with a LoRA."
)
DETAILER_STRENGTH = strength(
    "detailer_strength",
    "Detailer strength",
    "How much detail is added.",
    default=0.5,
    shown=When("detailer", (True,)),
)
LTX_LORAS = (CAMERA, CAMERA_STRENGTH, DETAILER, DETAILER_STRENGTH)
NOISE_FLOOR = ChoiceControl(
    name="noise_floor",
    label="Noise under the speech",
    options=(Option("none", "None"), Option("faint", "Faint"), Option("audible", "Stronger")),
    default="faint",
    advanced=True,
    # Wan2GP issue 1764: digitally clean speech can leave the mouth still.
    help="Only the model hears it: very clean speech can leave the mouth still.",
)
CONTROL = ChoiceControl(
    name="control",
    label="Control",
    options=(
        Option("canny", "Edges", "The outlines of the video are kept."),
        Option("depth", "Depth", "How near everything is is kept, and surfaces become free."),
        Option("pose", "Pose", "How people stand and move is kept, and all else becomes free."),
        Option("given", "As it is", "The video already is an edge, depth or pose map."),
    ),
    default="canny",
)
_EDGE_LIMITS = tuple(
    NumberControl(
        name=name,
        label=label,
        minimum=1,
        maximum=255,
        default=default,
        integer=True,
        advanced=True,
        shown=When("control", ("canny",)),
        help=help,
    )
    # Canny's two limits as in controlnet_aux's preprocessor.
    for name, label, default, help in (
        ("edge_low", "Edges: low limit", 92, "Weak edges above it are kept where they join."),
        ("edge_high", "Edges: high limit", 200, "Edges above it are always kept."),
    )
)
CONTROL_KNOBS = (
    IMAGE_STRENGTH,
    *_EDGE_LIMITS,
    strength("control_strength", "Control strength", "How closely the control video is followed."),
    strength(
        "control_lora_strength",
        "Control LoRA strength",
        "Weight of the union-control LoRA.",
        maximum=1.5,
    ),
)
