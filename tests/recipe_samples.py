"""A recipe, and files that carry one: ours, A1111's and ComfyUI's."""

import re
import struct
import zlib
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from hypothesis import strategies as st
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from studio.recipe import InputRecord, LoraRecord, Recipe
from studio.recipe_mp4 import add_xmp, mp4_tags
from studio.recipe_png import write_png

GRAPH = {
    "3": {
        "class_type": "KSampler",
        "inputs": {
            "seed": 156680208700286,
            "steps": 20,
            "cfg": 8.0,
            "sampler_name": "euler",
            "scheduler": "normal",
            "denoise": 1.0,
            "model": ["10", 0],
            "positive": ["6", 0],
            "negative": ["7", 0],
            "latent_image": ["5", 0],
        },
    },
    "4": {"class_type": "CheckpointLoaderSimple", "inputs": {"ckpt_name": "v1-5.safetensors"}},
    "5": {"class_type": "EmptyLatentImage", "inputs": {"width": 768, "height": 512}},
    "6": {"class_type": "CLIPTextEncode", "inputs": {"text": "a glass bottle", "clip": ["4", 1]}},
    "7": {"class_type": "CLIPTextEncode", "inputs": {"text": "text, watermark", "clip": ["4", 1]}},
    "8": {"class_type": "VAEDecode", "inputs": {"samples": ["3", 0], "vae": ["4", 2]}},
    "9": {"class_type": "SaveImage", "inputs": {"images": ["8", 0], "filename_prefix": "C"}},
    "10": {
        "class_type": "LoraLoader",
        "inputs": {"model": ["4", 0], "lora_name": "ink.safetensors", "strength_model": 0.8},
    },
}

RECIPE = Recipe(
    mode="photo",
    engine="diffusers",
    family="sdxl",
    weights="epicrealism-xl",
    demo=False,
    preset="fast",
    params={
        "prompt": 'un café, "deux" tasses: 日本 🎬\nNegative prompt? no',
        "negative": "blurry",
        "guidance": 5.0,
        "loras": [{"file": "ink.safetensors", "strength": 0.8}],
        "seed": None,
    },
    seed=4294967295,
    width=1024,
    height=768,
    frames=1,
    fps=None,
    sampling=({"steps": 20, "sampler": "dpmpp_2m", "sigmas": None, "guidance": {"scale": 5.0}},),
    loras=(LoraRecord("ink", 0.8, "0123456789abcdef" * 4), LoraRecord("unread", 1)),
    inputs=(InputRecord("image", "mon chat.png", "ab" * 32),),
    timings={"load": 1.25, "sample": 12},
    created="2026-09-01T12:00:00+00:00",
    studio="0.1.0",
    edited=False,
    notes=("One note.",),
)

A1111_REAL = """\
masterpiece, (detail:1.2), "neon, city": rain <lora:add_detail:0.6>
second line, with commas: and colons
Negative prompt: (worst quality:2), "quoted, text"
more: of it
Steps: 20, Sampler: DPM++ 2M, Schedule type: Karras, CFG scale: 7, Seed: 965400086, \
Size: 512x768, Model hash: 6ce0161689, Model: v1-5-pruned-emaonly, Denoising strength: 0.7, \
Hires upscale: 2, Hires prompt: "sharp, very: \\"crisp\\"", \
Lora hashes: "add_detail: 7c6bad76eb54", Version: v1.10.1"""


def write_picture(path: Path, recipe: Recipe = RECIPE) -> Path:
    write_png(Image.new("RGB", (8, 6), "teal"), path, recipe)
    return path


def write_clip(
    path: Path, tags: dict[str, str], flags: str = "use_metadata_tags+faststart"
) -> Path:
    with av.open(str(path), "w", format="mp4", options={"movflags": flags}) as container:
        container.metadata.update(tags)
        stream = container.add_stream("libx264", rate=Fraction(24))
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for shade in range(5):
            picture = np.full((48, 64, 3), shade * 40, np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture)))
        container.mux(stream.encode())
    return path


def write_our_clip(path: Path, recipe: Recipe = RECIPE) -> Path:
    write_clip(path, mp4_tags(recipe))
    add_xmp(path, recipe)
    return path


def write_foreign_png(path: Path, **chunks: str) -> Path:
    info = PngInfo()
    for key, text in chunks.items():
        info.add_text(key, text)
    Image.new("RGB", (8, 8)).save(path, pnginfo=info)
    return path


def png_with_chunk(path: Path, kind: bytes, body: bytes) -> Path:
    Image.new("RGB", (8, 8)).save(path)
    whole = path.read_bytes()
    chunk = struct.pack(">I", len(body)) + kind + body
    path.write_bytes(whole[:33] + chunk + struct.pack(">I", zlib.crc32(kind + body)) + whole[33:])
    return path


any_text = st.text(st.characters(exclude_categories=()), max_size=40).filter(
    # Two halves side by side are one character as soon as they are written.
    lambda text: not re.search("[\ud800-\udbff][\udc00-\udfff]", text)
)
any_json = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | any_text,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(any_text, inner, max_size=3),
    max_leaves=8,
)
