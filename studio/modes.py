"""The nine modes as data. One declaration drives the form, the flags, the API and the recipe."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from studio import mode_controls as controls
from studio.families import FAMILIES
from studio.fields import ChoiceControl, Field, MediaControl, NumberControl, TextControl
from studio.presets import (
    LTX_PRESETS,
    LTX_STYLE_PRESETS,
    QWEN_PRESETS,
    SDXL_PRESETS,
    Presets,
)


@dataclass(frozen=True)
class Stage:
    """A part of the run that the user sees by name."""

    id: str
    label: str


@dataclass(frozen=True)
class Mode:
    id: str
    tag: str
    label: str
    does: str
    makes: Literal["image", "video"]
    family: str
    engines: tuple[str, ...]
    """In order: the first that is installed and has the weights runs the mode."""
    fields: tuple[Field, ...]
    presets: Presets
    stages: tuple[Stage, ...]
    """What happens before the sampler; sampling, decoding and saving follow in every mode."""
    gpu_seconds: float
    """What a ZeroGPU is asked for, for the preset "fast" at the usual size. Those of t2v, lipsync
    and style are the video document's base durations; the others are set beside them and **not
    measured**."""
    batch: str | None = None
    """The media field whose every file is made into a result of its own."""

    @property
    def media(self) -> tuple[MediaControl, ...]:
        return tuple(field for field in self.fields if isinstance(field, MediaControl))


LOAD = Stage("load", "Loading weights")
ENCODE = Stage("encode", "Reading the prompt")
UPSCALE = Stage("upscale", "Upscaling")
DECODE = Stage("decode", "Decoding")
SAVE = Stage("save", "Saving")


def _reading(what: str) -> Stage:
    return Stage("condition", f"Reading {what}")


_SIZE = (controls.WIDTH, controls.HEIGHT)


def _shape(family: str, usual: str = "Usual") -> ChoiceControl:
    return controls.shape(usual, FAMILIES[family].canvas.buckets)


def _image_mode(
    id: str,
    label: str,
    does: str,
    *,
    family: str,
    presets: Presets,
    negative: TextControl,
    guidance: NumberControl,
    gpu_seconds: float,
) -> Mode:
    """A mode that draws a picture from text alone."""
    return Mode(
        id=id,
        tag=id.upper(),
        label=label,
        does=does,
        makes="image",
        family=family,
        engines=("diffusers",),
        fields=(
            controls.PROMPT,
            controls.preset_choice(presets),
            negative,
            _shape(family),
            controls.SEED,
            *_SIZE,
            guidance,
            controls.LORAS,
        ),
        presets=presets,
        stages=(LOAD, ENCODE),
        gpu_seconds=gpu_seconds,
    )


_EDIT = Mode(
    id="edit",
    tag="EDIT",
    label="Edit",
    does="Changes one or many pictures as you say, with Qwen-Image-Edit",
    makes="image",
    family="qwen-image-edit",
    engines=("diffusers",),
    fields=(
        controls.EDIT_SOURCES,
        controls.EDIT_REFERENCES,
        controls.PROMPT,
        controls.preset_choice(QWEN_PRESETS),
        controls.QWEN_NEGATIVE,
        controls.SEED,
        controls.LONGEST_SIDE,
        controls.ORIGINAL_SIZE,
        controls.guidance(4.0, controls.QUALITY_ONLY),
        controls.LORAS,
    ),
    presets=QWEN_PRESETS,
    stages=(LOAD, ENCODE, _reading("the picture")),
    gpu_seconds=60,
    batch="image",
)


def _clip_mode(
    id: str,
    tag: str,
    label: str,
    does: str,
    *,
    gpu_seconds: float,
    engines: tuple[str, ...] = ("comfy", "diffusers"),
    inputs: tuple[Field, ...] = (),
    knobs: tuple[Field, ...] = (),
    seconds: NumberControl = controls.SECONDS,
    presets: Presets = LTX_PRESETS,
    reading: tuple[Stage, ...] = (),
    usual: str = "Usual",
) -> Mode:
    """A mode that makes a clip with sound: `inputs` stand first in the form, `knobs` last.

    For the engine `comfy` it needs its graph in `workflows`.
    """
    return Mode(
        id=id,
        tag=tag,
        label=label,
        does=does,
        makes="video",
        family="ltx-2.3",
        engines=engines,
        fields=(
            *inputs,
            controls.PROMPT,
            controls.preset_choice(presets),
            controls.LTX_NEGATIVE,
            _shape("ltx-2.3", usual),
            seconds,
            controls.FPS,
            controls.SEED,
            *_SIZE,
            *knobs,
            controls.guidance(3.0, controls.QUALITY_ONLY),
            *controls.LTX_LORAS,
            controls.LORAS,
        ),
        presets=presets,
        stages=(LOAD, ENCODE, *reading),
        gpu_seconds=gpu_seconds,
    )


_MODES = (
    _image_mode(
        "photo",
        "Photo",
        "Text to a photographic picture, with SDXL",
        family="sdxl",
        presets=SDXL_PRESETS,
        negative=controls.NEGATIVE,
        guidance=controls.guidance(5.0),
        gpu_seconds=15,
    ),
    _image_mode(
        "image",
        "Image",
        "Text to a picture, good at writing in it, with Qwen-Image",
        family="qwen-image",
        presets=QWEN_PRESETS,
        negative=controls.QWEN_NEGATIVE,
        guidance=controls.guidance(4.0, controls.QUALITY_ONLY),
        gpu_seconds=45,
    ),
    _EDIT,
    _clip_mode("t2v", "T2V", "Text → Video", "Text to a clip with sound", gpu_seconds=90),
    _clip_mode(
        "i2v",
        "I2V",
        "Image → Video",
        "A picture starts to move",
        gpu_seconds=90,
        inputs=(controls.START_PICTURE,),
        usual="As the picture",
        knobs=(controls.IMAGE_STRENGTH,),
        reading=(_reading("the picture"),),
    ),
    _clip_mode(
        "a2v",
        "A2V",
        "Audio → Video",
        "A clip to your sound, which is kept",
        gpu_seconds=120,
        inputs=(controls.SOUND,),
        seconds=controls.seconds_of("sound"),
        reading=(_reading("the sound"),),
    ),
    _clip_mode(
        "lipsync",
        "LIPSYNC",
        "Lipsync",
        "A portrait speaks your recording",
        gpu_seconds=240,
        inputs=(controls.PORTRAIT, controls.SOUND),
        usual="As the portrait",
        knobs=(controls.IMAGE_STRENGTH, controls.NOISE_FLOOR),
        seconds=controls.seconds_of("sound"),
        reading=(_reading("picture and sound"),),
    ),
    _clip_mode(
        "keyframe",
        "KEY",
        "Keyframe → Video",
        "From a first picture to a last one",
        gpu_seconds=120,
        inputs=(controls.FIRST_PICTURE, controls.LAST_PICTURE),
        usual="As the first frame",
        knobs=(controls.FIRST_STRENGTH, controls.LAST_STRENGTH),
        reading=(_reading("the pictures"),),
    ),
    _clip_mode(
        "style",
        "STYLE",
        "Style Transfer",
        "A video drawn anew in the style of a picture",
        gpu_seconds=360,
        inputs=(controls.SOURCE_VIDEO, controls.STYLE_PICTURE, controls.CONTROL),
        usual="As the video",
        knobs=controls.CONTROL_KNOBS,
        seconds=controls.seconds_of("video"),
        presets=LTX_STYLE_PRESETS,
        reading=(_reading("the video"),),
    ),
)

MODES: Mapping[str, Mode] = {mode.id: mode for mode in _MODES}
