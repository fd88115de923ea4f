"""The model families: the sizes they were trained on and the adapters that their presets need."""

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Bucket:
    """A size that the weights know from their training."""

    label: str
    width: int
    height: int


@dataclass(frozen=True)
class Canvas:
    """Sizes in pixels for one set of weights. The first bucket is the default."""

    buckets: tuple[Bucket, ...]
    smallest_side: int
    largest_side: int
    longest_side: int
    """Default limit for the longest side of an edited picture."""
    reference_area: int
    """Pixels to which reference pictures are brought for the VAE (Qwen-Image-Edit)."""
    instruction_area: int
    """Pixels to which they are brought for the text encoder (Qwen-Image-Edit)."""

    @property
    def default(self) -> Bucket:
        return self.buckets[0]


@dataclass(frozen=True)
class Adapter:
    """A LoRA of the model makers, named by its file in the LoRA folder."""

    file: str
    reference_downscale: int = 1
    """How much smaller its control clip is given; a file's own metadata wins where it is here."""


@dataclass(frozen=True)
class ModelFile:
    """A file in ComfyUI's model folders; the first of `names` that is there is used."""

    folder: str
    names: tuple[str, ...]


@dataclass(frozen=True)
class Family:
    id: str
    label: str
    multiple: int
    """What the sides of a one-stage result must be multiples of."""
    canvas: Canvas
    demo_canvas: Canvas
    folders: Mapping[str, str]
    """Diffusers folders below `models/diffusers`, by the label shown to the user."""
    checkpoints: bool = False
    """Single files in `models/checkpoints` belong to this family."""
    upsampler: str | None = None
    """Diffusers folder of the x2 latent upsampler below `models/diffusers`."""
    adapters: Mapping[str, Adapter] = field(default_factory=dict)
    comfy_files: Mapping[str, ModelFile] = field(default_factory=dict)
    """What the ComfyUI engine needs, by the role that the graphs know it under."""
    control_models: Mapping[str, str] = field(default_factory=dict)
    """The Hub repositories of what looks at a control clip, by role; all are Apache-2.0."""


# Areas of the reference pictures: constants of diffusers' QwenImageEditPlusPipeline.
_REFERENCE_AREA, _INSTRUCTION_AREA = 1024 * 1024, 384 * 384

# Small enough for two CPU cores; sides are multiples of 128, which every stage count accepts.
_DEMO_CANVAS = Canvas(
    buckets=(
        Bucket("Square 1:1", 256, 256),
        Bucket("Landscape 3:2", 384, 256),
        Bucket("Portrait 2:3", 256, 384),
    ),
    smallest_side=64,
    largest_side=512,
    longest_side=256,
    reference_area=128 * 128,
    instruction_area=112 * 112,
)


def _canvas(buckets: tuple[Bucket, ...], smallest: int, largest: int) -> Canvas:
    return Canvas(
        buckets=buckets,
        smallest_side=smallest,
        largest_side=largest,
        longest_side=1024,
        reference_area=_REFERENCE_AREA,
        instruction_area=_INSTRUCTION_AREA,
    )


# The SDXL paper's multi-aspect buckets, appendix I.
_SDXL_BUCKETS = (
    Bucket("Square 1:1", 1024, 1024),
    Bucket("Landscape 9:7", 1152, 896),
    Bucket("Portrait 7:9", 896, 1152),
    Bucket("Landscape 3:2", 1216, 832),
    Bucket("Portrait 2:3", 832, 1216),
    Bucket("Wide 16:9", 1344, 768),
    Bucket("Tall 9:16", 768, 1344),
)
# The aspect ratios of Qwen-Image's README.
_QWEN_BUCKETS = (
    Bucket("Square 1:1", 1328, 1328),
    Bucket("Wide 16:9", 1664, 928),
    Bucket("Tall 9:16", 928, 1664),
    Bucket("Landscape 4:3", 1472, 1104),
    Bucket("Portrait 3:4", 1104, 1472),
    Bucket("Landscape 3:2", 1584, 1056),
    Bucket("Portrait 2:3", 1056, 1584),
)
# Sizes of Lightricks' pipelines and templates, in multiples of 64 for two stages.
_LTX_BUCKETS = (
    Bucket("Landscape 3:2", 768, 512),
    Bucket("Portrait 2:3", 512, 768),
    Bucket("Square 1:1", 768, 768),
    Bucket("Wide 16:9", 1280, 704),
    Bucket("Tall 9:16", 704, 1280),
    Bucket("Full HD 16:9", 1920, 1088),
)

CONTROL_LORA = "union-control"
"""The adapter that makes a transformer follow a control clip."""

DEPTH_ESTIMATOR, PERSON_DETECTOR, POSE_ESTIMATOR = "depth", "person", "pose"
"""Roles of the models that draw control maps. Both engines use them."""

_CAMERA_MOVES = (
    "static",
    "dolly-in",
    "dolly-out",
    "dolly-left",
    "dolly-right",
    "jib-up",
    "jib-down",
)

SDXL = Family(
    id="sdxl",
    label="SDXL",
    multiple=8,
    canvas=_canvas(_SDXL_BUCKETS, 512, 2048),
    demo_canvas=_DEMO_CANVAS,
    folders={"epiCRealism XL": "epicrealismxl"},
    checkpoints=True,
)

QWEN_IMAGE = Family(
    id="qwen-image",
    label="Qwen-Image",
    multiple=16,
    canvas=_canvas(_QWEN_BUCKETS, 256, 2048),
    demo_canvas=_DEMO_CANVAS,
    folders={"Qwen-Image": "Qwen-Image"},
    adapters={
        "lightning-4steps": Adapter("Qwen-Image-Lightning-4steps-V2.0.safetensors"),
        "lightning-8steps": Adapter("Qwen-Image-Lightning-8steps-V1.1.safetensors"),
    },
)

QWEN_IMAGE_EDIT = Family(
    id="qwen-image-edit",
    label="Qwen-Image-Edit",
    # The makers' advice against zoomed and shifted edits: sides in multiples of 32.
    multiple=32,
    canvas=_canvas((Bucket("Square 1:1", 1024, 1024),), 256, 2048),
    demo_canvas=_DEMO_CANVAS,
    folders={"Qwen-Image-Edit-2509": "Qwen-Image-Edit-2509"},
    adapters={
        "lightning-4steps": Adapter("Qwen-Image-Edit-2509-Lightning-4steps-V1.0-bf16.safetensors"),
        "lightning-8steps": Adapter("Qwen-Image-Edit-2509-Lightning-8steps-V1.0-bf16.safetensors"),
    },
)

LTX = Family(
    id="ltx-2.3",
    label="LTX-2.3",
    multiple=32,
    canvas=_canvas(_LTX_BUCKETS, 256, 1920),
    demo_canvas=_DEMO_CANVAS,
    folders={"LTX-2.3": "LTX-2.3-Diffusers"},
    upsampler="LTX-2.3-spatial-upscaler-x2",
    adapters={
        "distilled": Adapter("ltx-2.3-22b-distilled-lora-384-1.1.safetensors"),
        CONTROL_LORA: Adapter(
            "ltx-2.3-22b-ic-lora-union-control-ref0.5.safetensors", reference_downscale=2
        ),
        "detailer": Adapter("ltx-2-19b-ic-lora-detailer.safetensors"),
        **{
            f"camera-{move}": Adapter(f"ltx-2-19b-lora-camera-control-{move}.safetensors")
            for move in _CAMERA_MOVES
        },
    },
    comfy_files={
        "checkpoint": ModelFile(
            "checkpoints", ("ltx-2.3-22b-dev.safetensors", "ltx-2.3-22b-dev-fp8.safetensors")
        ),
        "text_encoder": ModelFile(
            "text_encoders",
            ("gemma_3_12B_it_fp4_mixed.safetensors", "gemma_3_12B_it.safetensors"),
        ),
        "upscaler": ModelFile(
            "latent_upscale_models", ("ltx-2.3-spatial-upscaler-x2-1.1.safetensors",)
        ),
    },
    control_models={
        DEPTH_ESTIMATOR: "depth-anything/Depth-Anything-V2-Small-hf",
        PERSON_DETECTOR: "PekingU/rtdetr_r50vd_coco_o365",
        POSE_ESTIMATOR: "usyd-community/vitpose-base-simple",
    },
)

FAMILIES: Mapping[str, Family] = {
    family.id: family for family in (SDXL, QWEN_IMAGE, QWEN_IMAGE_EDIT, LTX)
}
