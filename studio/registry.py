"""Every model that the studio knows: where the Hub has it, and where it lies below `models`.

Sizes are gigabytes (10^9 bytes) as the makers and the official ComfyUI templates give them; the Hub
says the exact ones when a download starts. Folders are ComfyUI's, and `diffusers` and `control` for
models of several files.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from studio.hub_file import HubFile

LTX_LICENCE = "LTX-2 Community Licence"
GEMMA_LICENCE = "Gemma Terms of Use"
APACHE = "Apache-2.0"
RAIL = "CreativeML Open RAIL++-M"


@dataclass(frozen=True)
class ModelFile:
    """One file, below `models` as `folder/name`."""

    folder: str
    name: str
    source: HubFile
    gigabytes: float

    @property
    def licence(self) -> str:
        return self.source.licence

    @property
    def page(self) -> str:
        return self.source.page


@dataclass(frozen=True)
class ModelFolder:
    """A model in the layout of diffusers or transformers, below `models` as `folder/name`."""

    folder: str
    name: str
    repo: str
    gigabytes: float
    licence: str
    revision: str = "main"
    gated: bool = False
    leave_out: tuple[str, ...] = ()
    """Patterns of files that the studio never loads."""
    parts: tuple[str, ...] = ()
    """The folders in it that are wanted, where it is not all of them."""

    @property
    def page(self) -> str:
        return f"https://huggingface.co/{self.repo}"

    @property
    def index(self) -> str:
        """The file without which the folder is no model."""
        if self.parts:
            return f"{self.parts[0]}/config.json"
        return "model_index.json" if self.folder == "diffusers" else "config.json"


Model = ModelFile | ModelFolder


@dataclass(frozen=True)
class Adapter:
    """A LoRA of the model makers."""

    model: ModelFile
    reference_downscale: int = 1
    """How much smaller its control clip is given; a file's own metadata wins where it is here."""

    @property
    def file(self) -> str:
        """Its name in the LoRA folder."""
        return self.model.name


@dataclass(frozen=True)
class Variant:
    """A complete set of weights of a family for one engine."""

    label: str
    engine: str
    parts: Mapping[str, tuple[Model, ...]]
    """By the role that the engine knows them under. The first of a role is what `fetch` brings;
    any of the others does as well."""
    adapters: Mapping[str, Adapter]

    @property
    def models(self) -> tuple[Model, ...]:
        """What `fetch` brings, adapters left out."""
        return tuple(choices[0] for choices in self.parts.values())


_SPARE = ("*.bin", "*.ckpt", "*.gguf", "*.onnx", "*.msgpack", "*.h5", "*.pt", "*.pth")
"""The weights a second time in other formats, as many repositories have them."""


def _file(
    folder: str, repo: str, path: str, gigabytes: float, licence: str, gated: bool = False
) -> ModelFile:
    source = HubFile(repo, path, licence=licence, gated=gated)
    return ModelFile(folder, source.name, source, gigabytes)


def _lora(repo: str, path: str, gigabytes: float, licence: str) -> ModelFile:
    return _file("loras", repo, path, gigabytes, licence)


def _folder(name: str, repo: str, gigabytes: float, licence: str) -> ModelFolder:
    # Some repositories have the whole model as one file beside the folders, too.
    spare = (*_SPARE, "/*.safetensors")
    return ModelFolder("diffusers", name, repo, gigabytes, licence, leave_out=spare)


# SDXL

SDXL_VARIANTS = (
    Variant(
        "epiCRealism XL",
        "diffusers",
        {"pipeline": (_folder("epicrealismxl", "glides/epicrealismxl", 6.9, RAIL),)},
        {},
    ),
)

# Qwen-Image and Qwen-Image-Edit


def _qwen_lightning(path: str, repo: str = "lightx2v/Qwen-Image-Lightning") -> Adapter:
    return Adapter(_lora(repo, path, 0.85, APACHE))


QWEN_IMAGE_VARIANTS = (
    Variant(
        "Qwen-Image",
        "diffusers",
        {"pipeline": (_folder("Qwen-Image", "Qwen/Qwen-Image", 57.7, APACHE),)},
        {
            "lightning-4steps": _qwen_lightning("Qwen-Image-Lightning-4steps-V2.0.safetensors"),
            "lightning-8steps": _qwen_lightning("Qwen-Image-Lightning-8steps-V1.1.safetensors"),
        },
    ),
    Variant(
        "Qwen-Image-2512",
        "diffusers",
        {"pipeline": (_folder("Qwen-Image-2512", "Qwen/Qwen-Image-2512", 57.7, APACHE),)},
        # Its makers have published no LoRA for eight steps.
        {
            "lightning-4steps": _qwen_lightning(
                "Qwen-Image-2512-Lightning-4steps-V1.0-bf16.safetensors",
                "lightx2v/Qwen-Image-2512-Lightning",
            ),
        },
    ),
)

_EDIT_2509 = "Qwen-Image-Edit-2509/Qwen-Image-Edit-2509-Lightning-{}steps-V1.0-bf16.safetensors"

QWEN_EDIT_VARIANTS = (
    Variant(
        "Qwen-Image-Edit-2509",
        "diffusers",
        {"pipeline": (_folder("Qwen-Image-Edit-2509", "Qwen/Qwen-Image-Edit-2509", 57.7, APACHE),)},
        {f"lightning-{steps}steps": _qwen_lightning(_EDIT_2509.format(steps)) for steps in (4, 8)},
    ),
    Variant(
        "Qwen-Image-Edit-2511",
        "diffusers",
        {"pipeline": (_folder("Qwen-Image-Edit-2511", "Qwen/Qwen-Image-Edit-2511", 57.7, APACHE),)},
        {
            "lightning-4steps": _qwen_lightning(
                "Qwen-Image-Edit-2511-Lightning-4steps-V1.0-bf16.safetensors",
                "lightx2v/Qwen-Image-Edit-2511-Lightning",
            ),
        },
    ),
)

# LTX-2.3

CONTROL_LORA = "union-control"
"""The adapter that makes a transformer follow a control clip."""

_CAMERA_MOVES = {
    "Static": 2.0,
    "Dolly-In": 0.31,
    "Dolly-Out": 0.31,
    "Dolly-Left": 0.31,
    "Dolly-Right": 0.31,
    "Jib-Up": 2.0,
    "Jib-Down": 2.0,
}
"""And gigabytes. They were trained for LTX-2 19B; their makers list them for 2.3 too."""


def _camera(move: str, gigabytes: float) -> Adapter:
    file = f"ltx-2-19b-lora-camera-control-{move.lower()}.safetensors"
    repo = f"Lightricks/LTX-2-19b-LoRA-Camera-Control-{move}"
    return Adapter(_lora(repo, file, gigabytes, LTX_LICENCE))


LTX_ADAPTERS: Mapping[str, Adapter] = {
    "distilled": Adapter(
        _lora(
            "Lightricks/LTX-2.3",
            "ltx-2.3-22b-distilled-lora-384-1.1.safetensors",
            7.6,
            LTX_LICENCE,
        )
    ),
    CONTROL_LORA: Adapter(
        _lora(
            "Lightricks/LTX-2.3-22b-IC-LoRA-Union-Control",
            "ltx-2.3-22b-ic-lora-union-control-ref0.5.safetensors",
            0.65,
            LTX_LICENCE,
        ),
        reference_downscale=2,
    ),
    "detailer": Adapter(
        _lora(
            "Lightricks/LTX-2-19b-IC-LoRA-Detailer",
            "ltx-2-19b-ic-lora-detailer.safetensors",
            2.6,
            LTX_LICENCE,
        )
    ),
    **{
        f"camera-{move.lower()}": _camera(move, gigabytes)
        for move, gigabytes in _CAMERA_MOVES.items()
    },
}

_LTX_DEV = _file(
    "checkpoints", "Lightricks/LTX-2.3", "ltx-2.3-22b-dev.safetensors", 46.1, LTX_LICENCE
)
_LTX_DEV_FP8 = _file(
    "checkpoints", "Lightricks/LTX-2.3-fp8", "ltx-2.3-22b-dev-fp8.safetensors", 29.1, LTX_LICENCE
)
_COMFY_GEMMA = "split_files/text_encoders/gemma_3_12B_it{}.safetensors"
_GEMMA_FP4 = _file(
    "text_encoders", "Comfy-Org/ltx-2", _COMFY_GEMMA.format("_fp4_mixed"), 9.45, GEMMA_LICENCE
)
_GEMMA = _file("text_encoders", "Comfy-Org/ltx-2", _COMFY_GEMMA.format(""), 24.4, GEMMA_LICENCE)
_LTX_UPSCALER = _file(
    "latent_upscale_models",
    "Lightricks/LTX-2.3",
    "ltx-2.3-spatial-upscaler-x2-1.1.safetensors",
    1.0,
    LTX_LICENCE,
)


def _kijai(folder: str, path: str, gigabytes: float) -> ModelFile:
    return _file(folder, "Kijai/LTX2.3_comfy", path, gigabytes, LTX_LICENCE)


_LTX_SPLIT = {
    "text_projection": (
        _kijai("text_encoders", "text_encoders/ltx-2.3_text_projection_bf16.safetensors", 2.31),
    ),
    "video_vae": (_kijai("vae", "vae/LTX23_video_vae_bf16.safetensors", 1.45),),
    "audio_vae": (_kijai("vae", "vae/LTX23_audio_vae_bf16.safetensors", 0.37),),
}
_LTX_TRANSFORMER = "diffusion_models/ltx-2.3-22b-dev_transformer_only_{}.safetensors"

_LTX_FOLDER = _folder("LTX-2.3-Diffusers", "diffusers/LTX-2.3-Diffusers", 71.0, LTX_LICENCE)
_LTX_TEXT_ENCODER = ModelFolder(
    "diffusers",
    "LTX-2.3-text-encoder",
    _LTX_FOLDER.repo,
    24.4,
    GEMMA_LICENCE,
    leave_out=_SPARE,
    parts=("text_encoder", "tokenizer"),
)

LTX_VARIANTS = (
    Variant(
        "LTX-2.3 fp8",
        "comfy",
        {
            "checkpoint": (_LTX_DEV_FP8,),
            "text_encoder": (_GEMMA_FP4, _GEMMA),
            "upscaler": (_LTX_UPSCALER,),
        },
        LTX_ADAPTERS,
    ),
    Variant(
        "LTX-2.3 bf16",
        "comfy",
        {
            "checkpoint": (_LTX_DEV,),
            "text_encoder": (_GEMMA, _GEMMA_FP4),
            "upscaler": (_LTX_UPSCALER,),
        },
        LTX_ADAPTERS,
    ),
    Variant(
        "LTX-2.3 split",
        "comfy",
        {
            "transformer": tuple(
                _kijai("diffusion_models", _LTX_TRANSFORMER.format(kind), gigabytes)
                for kind, gigabytes in (("fp8_scaled", 25.0), ("bf16", 39.0))
            ),
            "text_encoder": (_GEMMA_FP4, _GEMMA),
            **_LTX_SPLIT,
            "upscaler": (_LTX_UPSCALER,),
        },
        LTX_ADAPTERS,
    ),
    Variant(
        "LTX-2.3",
        "diffusers",
        {
            "pipeline": (_LTX_FOLDER,),
            "upsampler": (_LTX_UPSCALER,),
        },
        LTX_ADAPTERS,
    ),
    Variant(
        "LTX-2.3 one file",
        "diffusers",
        {
            "checkpoint": (_LTX_DEV, _LTX_DEV_FP8),
            "text_encoder": (_LTX_TEXT_ENCODER, _LTX_FOLDER),
            "upsampler": (_LTX_UPSCALER,),
        },
        LTX_ADAPTERS,
    ),
)

DEPTH_ESTIMATOR, PERSON_DETECTOR, POSE_ESTIMATOR = "depth", "person", "pose"
"""Roles of the models that draw control maps. Both engines use them."""


def _control(repo: str, gigabytes: float) -> ModelFolder:
    return ModelFolder("control", repo.partition("/")[2], repo, gigabytes, APACHE, leave_out=_SPARE)


CONTROL_MODELS: Mapping[str, ModelFolder] = {
    DEPTH_ESTIMATOR: _control("depth-anything/Depth-Anything-V2-Small-hf", 0.1),
    PERSON_DETECTOR: _control("PekingU/rtdetr_r50vd_coco_o365", 0.17),
    POSE_ESTIMATOR: _control("usyd-community/vitpose-base-simple", 0.34),
}
