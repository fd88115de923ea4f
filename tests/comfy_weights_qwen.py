"""Qwen-Image in a few megabytes of random numbers, in the files that ComfyUI's own loaders read.

ComfyUI reads the number of layers from the files and has most widths written down: `shrink` changes
those. Call it after ComfyUI was started: the modules are its own.
"""

import importlib

import torch
from comfy_weights import comfy_ops, random_weights
from safetensors.torch import save_file

WIDTH = 64
TEXT = {"hidden_size": WIDTH, "intermediate_size": 128, "num_hidden_layers": 2}
# ComfyUI knows the 7B model by its 4 x 128 keys.
HEADS = {"num_attention_heads": 4, "num_key_value_heads": 4}
VISION = {"hidden_size": WIDTH, "intermediate_size": 128, "num_heads": 2, "num_layers": 2}
TRANSFORMER = {"num_attention_heads": 2, "joint_attention_dim": WIDTH}

VARIANTS = {"2511": {"default_ref_method": "index_timestep_zero"}}
VARIANTS |= {"layered": {"use_additional_t_cond": True}}
"""What the file of a transformer also holds where its name has this part."""


def shrink(patch, side):
    """Small widths for all Qwen-Images, as long as pytest's `patch` lasts.

    And small pictures: the nodes that edit have a megapixel written down.
    """
    llama = importlib.import_module("comfy.text_encoders.llama")
    vision = importlib.import_module("comfy.text_encoders.qwen_vl")
    their_config, their_tower = llama.Qwen25_7BVLI_Config, vision.Qwen2VLVisionTransformer

    def config(**values):
        return their_config(**{**TEXT, **HEADS, **values})

    def tower(**options):
        return their_tower(**{**options, **VISION})

    patch.setattr(llama, "Qwen25_7BVLI_Config", config)
    patch.setattr(vision, "Qwen2VLVisionTransformer", tower)
    pictures = importlib.import_module("comfy.utils")
    their_scale = pictures.common_upscale

    def scale(samples, width, height, *options):
        return their_scale(samples, min(width, side), min(height, side), *options)

    patch.setattr(pictures, "common_upscale", scale)
    models = importlib.import_module("comfy.supported_models")
    patch.setattr(models.QwenImage, "unet_extra_config", TRANSFORMER)


def write_transformer(path):
    module = importlib.import_module("comfy.ldm.qwen_image.model")
    more = next((one for part, one in VARIANTS.items() if part in path.name), {})
    model = module.QwenImageTransformer2DModel(
        num_layers=2, **TRANSFORMER, **more, operations=comfy_ops()
    )
    _write(path, model, 20)


def write_text_encoder(path):
    module = importlib.import_module("comfy.text_encoders.llama")
    _write(path, module.Qwen25_7BVLI({}, torch.float32, "cpu", comfy_ops()), 21)


def write_vae(path):
    module = importlib.import_module("comfy.ldm.wan.vae")
    channels = 4 if "layered" in path.name else 3
    model = module.WanVAE(
        dim=8,
        z_dim=16,
        temperal_downsample=[False, True, True],
        image_channels=channels,
        conv_out_channels=channels,
    )
    _write(path, model, 22)


def write_lora(path, rank=4):
    numbers, width = torch.Generator().manual_seed(23), TRANSFORMER["num_attention_heads"] * 128
    layer = "diffusion_model.transformer_blocks.0.attn.to_q"
    parts = {"lora_A": (rank, width), "lora_B": (width, rank)}
    tensors = {
        f"{layer}.{part}.weight": torch.randn(shape, generator=numbers) * 0.05
        for part, shape in parts.items()
    }
    save_file(tensors, path)


def _write(path, model, seed):
    save_file(random_weights(model.state_dict(), seed), path)
