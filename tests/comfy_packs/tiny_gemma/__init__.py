"""A node pack for tests only: lets a Gemma 3 of any size load.

ComfyUI reads every size of LTX-2.3 from the files, but has those of its text encoder, 12 billion
numbers, written down. Here they come from the metadata of the file that TINY_GEMMA names.
"""

import dataclasses
import json
import os

from comfy.text_encoders import llama
from safetensors import safe_open

NODE_CLASS_MAPPINGS = {}

TheirConfig = llama.Gemma3_12B_Config


class TinyConfig(TheirConfig):
    vision_config = {  # noqa: RUF012
        "num_channels": 3,
        "hidden_act": "gelu_pytorch_tanh",
        "hidden_size": 32,
        "image_size": 896,
        "intermediate_size": 32,
        "model_type": "siglip_vision_model",
        "num_attention_heads": 2,
        "num_hidden_layers": 1,
        "patch_size": 14,
    }

    def __init__(self, **values):
        known = {field.name for field in dataclasses.fields(TheirConfig)}
        with safe_open(os.environ["TINY_GEMMA"], "pt") as file:
            sizes = json.loads(file.metadata()["tiny_gemma"])
        super().__init__(**{name: sizes[name] for name in known & set(sizes)}, **values)


llama.Gemma3_12B_Config = TinyConfig
