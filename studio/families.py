"""The model families, one entry each: sizes, weights, memory, and what runs them."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from studio import registry
from studio.fitting import Needs, Shape, Work, needs_for
from studio.registry import Adapter, ModelFolder, Variant


@dataclass(frozen=True)
class Bucket:
    """A size that the weights know from their training."""

    label: str
    """Ends in the shape: "Wide 16:9"."""
    width: int
    height: int

    @property
    def shape(self) -> str:
        """Width to height, as "16:9"."""
        return self.label.rpartition(" ")[2]


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
class Family:
    id: str
    label: str
    multiple: int
    """What the sides of a one-stage result must be multiples of."""
    canvas: Canvas
    demo_canvas: Canvas
    variants: tuple[Variant, ...]
    """The sets of weights that the studio knows, the preferred first."""
    needs: Needs
    """Its largest weights: parameters of the published configurations, counted with diffusers
    0.42.1 on torch's meta device."""
    shape: Shape
    runner: str
    """A `studio.diffusers_engine.FamilyRunner`, as module:class; imported when first needed."""
    demo: str
    """What writes its demo weights into a new folder, as module:function."""
    loras: tuple[str, ...]
    """LoRAs that fit, by keys of `studio.weights_lora.LABELS`."""
    checkpoints: bool = False
    """The user's own single files in `checkpoints` run too."""
    control_models: Mapping[str, ModelFolder] = field(default_factory=dict)
    """What draws control maps of a clip, by role."""

    def needs_for(self, work: Work) -> Needs:
        """An estimate of the memory that a result asks for, in bytes."""
        return needs_for(self.needs, self.shape, work)

    def variants_of(self, engine: str) -> tuple[Variant, ...]:
        return tuple(one for one in self.variants if one.engine == engine)

    @property
    def adapters(self) -> Mapping[str, Adapter]:
        """Every LoRA of the model makers by its name, as the preferred variant has it."""
        return {
            name: adapter
            for one in reversed(self.variants)
            for name, adapter in one.adapters.items()
        }

    @property
    def upscales(self) -> bool:
        """Whether clips are made in two stages."""
        return any("upsampler" in one.parts for one in self.variants)


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

# The sizes that tools/train_demo.py trains.
_DEMO_DRAWING_CANVAS = Canvas(
    buckets=(
        Bucket("Square 1:1", 128, 128),
        Bucket("Wide 16:9", 176, 96),
        Bucket("Tall 9:16", 96, 176),
        Bucket("Landscape 4:3", 144, 112),
        Bucket("Portrait 3:4", 112, 144),
        Bucket("Landscape 3:2", 144, 96),
        Bucket("Portrait 2:3", 96, 144),
    ),
    smallest_side=96,
    largest_side=176,
    longest_side=128,
    reference_area=128 * 128,
    # Its text encoder is blind: what it is shown costs time and tells nothing.
    instruction_area=56 * 56,
)
_DEMO_EDIT_CANVAS = replace(
    _DEMO_DRAWING_CANVAS,
    buckets=(Bucket("Square 1:1", 128, 128),),
    smallest_side=64,
    largest_side=128,
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

_QWEN_NEEDS = Needs.in_gib(denoiser=38.1, text_encoder=15.4, vae=0.2, blocks=60)
_QWEN_SHAPE = Shape(cell=16, frames=1, width=3072)

SDXL = Family(
    id="sdxl",
    label="SDXL",
    multiple=8,
    canvas=_canvas(_SDXL_BUCKETS, 512, 2048),
    demo_canvas=_DEMO_CANVAS,
    variants=registry.SDXL_VARIANTS,
    needs=Needs.in_gib(denoiser=4.8, text_encoder=1.5, vae=0.2, blocks=4),
    # The UNet's first level has 320 channels, and keeps as much again for its way up.
    shape=Shape(cell=8, frames=1, width=640),
    runner="studio.diffusers_sdxl:SdxlRunner",
    demo="studio.demo_sdxl:write_sdxl",
    loras=("sdxl",),
    checkpoints=True,
)

QWEN_IMAGE = Family(
    id="qwen-image",
    label="Qwen-Image",
    multiple=16,
    canvas=_canvas(_QWEN_BUCKETS, 256, 2048),
    demo_canvas=_DEMO_DRAWING_CANVAS,
    variants=registry.QWEN_IMAGE_VARIANTS,
    needs=_QWEN_NEEDS,
    shape=_QWEN_SHAPE,
    runner="studio.diffusers_qwen:QwenImageRunner",
    demo="studio.demo_qwen:write_qwen_image",
    loras=("qwen-image",),
)

QWEN_IMAGE_EDIT = Family(
    id="qwen-image-edit",
    label="Qwen-Image-Edit",
    # The makers' advice against zoomed and shifted edits: sides in multiples of 32.
    multiple=32,
    canvas=_canvas((Bucket("Square 1:1", 1024, 1024),), 256, 2048),
    demo_canvas=_DEMO_EDIT_CANVAS,
    variants=registry.QWEN_EDIT_VARIANTS,
    needs=_QWEN_NEEDS,
    shape=_QWEN_SHAPE,
    runner="studio.diffusers_qwen_edit:QwenEditRunner",
    demo="studio.demo_qwen:write_qwen_image_edit",
    # It has Qwen-Image's transformer.
    loras=("qwen-image",),
)

LTX = Family(
    id="ltx-2.3",
    label="LTX-2.3",
    multiple=32,
    canvas=_canvas(_LTX_BUCKETS, 256, 1920),
    demo_canvas=_DEMO_CANVAS,
    variants=registry.LTX_VARIANTS,
    # Gemma's number includes a head that its weights share with its embeddings: at most 1.9 GiB
    # less.
    needs=Needs.in_gib(denoiser=35.4, text_encoder=24.6, vae=1.7, rest=6.8, blocks=48),
    shape=Shape(cell=32, frames=8, width=4096),
    runner="studio.diffusers_video:LtxRunner",
    demo="studio.demo_video:write_ltx",
    # Lightricks lists the LoRAs of LTX-2 19B on the LTX-2.3 page: they load, how well they work is
    # for the user to judge.
    loras=("ltx-2.3", "ltx-2", "ltx-2-19b"),
    control_models=registry.CONTROL_MODELS,
)

_FAMILIES = (
    SDXL,
    QWEN_IMAGE,
    QWEN_IMAGE_EDIT,
    LTX,
)

FAMILIES: Mapping[str, Family] = {family.id: family for family in _FAMILIES}
