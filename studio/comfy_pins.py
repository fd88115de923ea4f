"""Which commits of ComfyUI and of the node packs the studio installs, and what they need.

ComfyUI and the packs keep their own licences; they are fetched by the user, never shipped.
"""

from collections.abc import Mapping
from dataclasses import dataclass

GITHUB = "https://github.com"


@dataclass(frozen=True)
class Pin:
    """One repository at one commit.

    `megabytes` is what the commit's files fill on disk. `requirements` are the Python packages
    that it needs beside `requirements-comfy.txt`. `problem` says why it does not load with the
    pinned ComfyUI; empty where all its nodes load.
    """

    repository: str
    """`owner/name` on GitHub."""
    commit: str
    licence: str
    megabytes: int
    version: str = ""
    requirements: tuple[str, ...] = ()
    problem: str = ""

    @property
    def name(self) -> str:
        """The folder's name, as in the repository's address."""
        return self.repository.rpartition("/")[2]


@dataclass(frozen=True)
class Pins:
    """ComfyUI itself and the packs that can be added to it, by name."""

    comfyui: Pin
    packs: Mapping[str, Pin]


# Headless, as it needs no display libraries and two builds of OpenCV cannot live side by side.
_OPENCV = "opencv-python-headless"

_PACKS = (
    Pin(
        "Lightricks/ComfyUI-LTXVideo",
        "aceeae9635f6d493f2893ba3c411a1c36031788a",
        "LTX-2 Community",
        42,
        requirements=(_OPENCV, "timm"),
        problem="it imports 'interleaved_freqs_cis', which ComfyUI v0.33.0 no longer has",
    ),
    # One of its 250 nodes, PatchTritonVAE, needs triton, which comes with a torch for CUDA.
    Pin(
        "kijai/ComfyUI-KJNodes",
        "3f20054214fec9f9234fd3841ae6f1e4287948f6",
        "GPL-3.0",
        3,
        requirements=("aiohttp", "matplotlib", "color-matcher", "mss", _OPENCV),
    ),
    Pin(
        "rgthree/rgthree-comfy",
        "13b4399c00b5ef5a97b1b6800fc1185874740f5d",
        "MIT",
        7,
        requirements=("aiohttp",),
    ),
    Pin(
        "Kosinkadink/ComfyUI-VideoHelperSuite",
        "4ee72c065db22c9d96c2427954dc69e7b908444b",
        "GPL-3.0",
        1,
        requirements=("aiohttp", "imageio-ffmpeg", _OPENCV),
    ),
    Pin(
        "pythongosssss/ComfyUI-Custom-Scripts",
        "609f3afaa74b2f88ef9ce8d939626065e3247469",
        "MIT",
        1,
        requirements=("aiohttp",),
    ),
    Pin(
        "city96/ComfyUI-GGUF",
        "795e45156ece99afbc3efef911e63fcb46e6a20d",
        "Apache-2.0",
        1,
        requirements=("gguf>=0.13", "protobuf"),
    ),
    # Without mediapipe and albumentations, which its list has: the first asks for an old numpy,
    # and only its hand mesh and a training script use them.
    Pin(
        "Fannovel16/comfyui_controlnet_aux",
        "e8b689a513c3e6b63edc44066560ca5919c0576e",
        "Apache-2.0",
        26,
        requirements=(
            _OPENCV,
            "scikit-image",
            "onnxruntime",
            "matplotlib",
            "timm",
            "addict",
            "yapf",
            "yacs",
            "ftfy",
            "importlib_metadata",
        ),
    ),
    Pin(
        "evanspearman/ComfyMath",
        "c01177221c31b8e5fbc062778fc8254aeb541638",
        "Apache-2.0",
        1,
    ),
    Pin(
        "Smirnov75/ComfyUI-mxToolkit",
        "7f7a0e584f12078a1c589645d866ae96bad0cc35",
        "GPL-3.0",
        1,
    ),
    Pin(
        "DoctorDiffusion/ComfyUI-MediaMixer",
        "2bae7b5ea8fc52d8a4d668d62fed76265f4eec2c",
        "CC0-1.0",
        1,
        requirements=("yt-dlp",),
    ),
)

PINS = Pins(
    Pin(
        "comfyanonymous/ComfyUI",
        "2f35f4a08176d993cded35dac3332be4f7287f41",
        "GPL-3.0",
        29,
        version="v0.33.0",
    ),
    {pack.name: pack for pack in _PACKS},
)
"""Each commit is the one that was loaded with ComfyUI v0.33.0 to see whether it works."""

TORCH_COMPANIONS: Mapping[str, tuple[str, str]] = {
    "2.8.0": ("0.23.0", "2.8.0"),
    "2.9.0": ("0.24.0", "2.9.0"),
    "2.9.1": ("0.24.1", "2.9.1"),
    "2.10.0": ("0.25.0", "2.10.0"),
    "2.11.0": ("0.26.0", "2.11.0"),
    "2.12.0": ("0.27.0", "2.11.0"),
    "2.12.1": ("0.27.1", "2.11.0"),
    "2.13.0": ("0.28.0", "2.11.0"),
    "2.14.0": ("0.29.0", "2.11.0"),
    "2.14.1": ("0.29.1", "2.11.0"),
}
"""The torchvision and torchaudio of each torch.

From the `torch` requirement in torchvision's own metadata; torchaudio ended with 2.11.0, which
names no torch version.
"""

SAME_MODULE: Mapping[str, tuple[str, ...]] = {
    "opencv-python-headless": ("opencv-python", "opencv-contrib-python"),
    "onnxruntime": ("onnxruntime-gpu",),
}
"""Packages that bring the same module: where one is installed, the other would break it."""
