"""Qwen-Image and Qwen-Image-Edit in small: real structure, few channels, one set of weights."""

import json
from pathlib import Path
from typing import Any

from diffusers import (
    AutoencoderKLQwenImage,
    FlowMatchEulerDiscreteScheduler,
    QwenImagePipeline,
    QwenImageTransformer2DModel,
)
from transformers import Qwen2_5_VLConfig, Qwen2_5_VLForConditionalGeneration, Qwen2Tokenizer

from studio.demo_init import fill_random, scale
from studio.demo_loras import write_lightning_loras
from studio.demo_tokenizers import qwen_tokenizer
from studio.demo_trained import load_trained

LATENT_CHANNELS = 16
TEXT_WIDTH = 64
LAYERS, HEADS, HEAD_WIDTH = 4, 4, 32
TRAINED = Path(__file__).parent.parent / "assets" / "demo_weights" / "qwen"

# What the real `preprocessor_config.json` says of pictures for the text encoder.
PICTURE_READING = {
    "do_convert_rgb": True,
    "do_resize": True,
    "do_rescale": True,
    "do_normalize": True,
    "image_mean": [0.48145466, 0.4578275, 0.40821073],
    "image_std": [0.26862954, 0.26130258, 0.27577711],
    "min_pixels": 3136,
    "max_pixels": 12845056,
    "patch_size": 14,
    "temporal_patch_size": 2,
    "merge_size": 2,
    "resample": 3,
    "rescale_factor": 1 / 255,
}


def write_qwen_image(folder: Path) -> None:
    """A QwenImagePipeline folder with Lightning LoRAs in `loras/`."""
    _write_qwen(folder, qwen_parts(zero_cond_t=False))


def write_qwen_image_edit(folder: Path) -> None:
    """A QwenImageEditPlusPipeline folder as Qwen-Image-Edit-2511 is, with Lightning LoRAs.

    Qwen2VLProcessor cannot be made without torchvision, so its folder is written by hand and
    the pipeline is saved as the one that has the same other parts.
    """
    components = qwen_parts(zero_cond_t=True)
    _write_qwen(folder, components)
    _write_qwen_processor(folder / "processor", components["tokenizer"])
    index = folder / "model_index.json"
    edit = {
        "_class_name": "QwenImageEditPlusPipeline",
        "processor": ["transformers", "Qwen2VLProcessor"],
    }
    index.write_text(json.dumps(json.loads(index.read_text()) | edit, indent=2))


def _write_qwen(folder: Path, components: dict[str, Any]) -> None:
    QwenImagePipeline(**components).save_pretrained(folder)
    write_lightning_loras(folder / "loras", components["transformer"], TRAINED)


def qwen_parts(zero_cond_t: bool) -> dict[str, Any]:
    """The parts of a pipeline by name, trained where the repository has them."""
    tokenizer = qwen_tokenizer()
    return {
        "tokenizer": tokenizer,
        "text_encoder": qwen_text_encoder(tokenizer),
        "transformer": load_trained(qwen_transformer(zero_cond_t), TRAINED / "transformer"),
        "vae": load_trained(qwen_vae(), TRAINED / "vae"),
        "scheduler": _qwen_scheduler(),
    }


def qwen_text_encoder(tokenizer: Qwen2Tokenizer) -> Qwen2_5_VLForConditionalGeneration:
    """Random for good: the transformer learns to read what it says."""
    encoder = Qwen2_5_VLForConditionalGeneration(_qwen_text_config(tokenizer))
    fill_random(encoder)
    # Words at unit variance, or each drowns in what the layers add to it.
    scale(encoder.model.language_model.embed_tokens.weight, TEXT_WIDTH**0.5)
    # What a random eye says of a picture is noise; the transformer sees it through the VAE.
    scale(encoder.model.visual.merger.mlp[2].weight, 0.0)
    return encoder


def new_qwen_vae() -> AutoencoderKLQwenImage:
    """With PyTorch's first numbers, and statistics that change nothing until they are measured."""
    return AutoencoderKLQwenImage(
        base_dim=16,
        z_dim=LATENT_CHANNELS,
        dim_mult=[1, 2, 4, 4],
        num_res_blocks=1,
        temperal_downsample=[False, True, True],
        latents_mean=[0.0] * LATENT_CHANNELS,
        latents_std=[1.0] * LATENT_CHANNELS,
    )


def qwen_vae() -> AutoencoderKLQwenImage:
    vae = new_qwen_vae()
    fill_random(vae)
    return vae


def _qwen_text_config(tokenizer: Qwen2Tokenizer) -> Qwen2_5_VLConfig:
    number = tokenizer.convert_tokens_to_ids
    text = {
        "vocab_size": len(tokenizer),
        "hidden_size": TEXT_WIDTH,
        "intermediate_size": 2 * TEXT_WIDTH,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 4,
        "rope_parameters": {
            "rope_type": "default",
            "rope_theta": 1e6,
            "mrope_section": [2, 3, 3],
        },
        "bos_token_id": number("<|endoftext|>"),
        "eos_token_id": number("<|im_end|>"),
        "pad_token_id": number("<|endoftext|>"),
    }
    vision = {
        "depth": 2,
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_heads": 2,
        "out_hidden_size": TEXT_WIDTH,
        "fullatt_block_indexes": [1],
        "patch_size": 14,
        "spatial_merge_size": 2,
        "window_size": 112,
    }
    return Qwen2_5_VLConfig(
        text_config=text,
        vision_config=vision,
        image_token_id=number("<|image_pad|>"),
        video_token_id=number("<|video_pad|>"),
        vision_start_token_id=number("<|vision_start|>"),
        vision_end_token_id=number("<|vision_end|>"),
    )


def qwen_transformer(zero_cond_t: bool) -> QwenImageTransformer2DModel:
    """Both families have the same weights; `zero_cond_t` is how Edit-2511 runs them."""
    transformer = QwenImageTransformer2DModel(
        patch_size=2,
        in_channels=4 * LATENT_CHANNELS,
        out_channels=LATENT_CHANNELS,
        num_layers=LAYERS,
        num_attention_heads=HEADS,
        attention_head_dim=HEAD_WIDTH,
        joint_attention_dim=TEXT_WIDTH,
        axes_dims_rope=(8, 12, 12),
        guidance_embeds=False,
        zero_cond_t=zero_cond_t,
    )
    fill_random(transformer)
    return transformer


def _qwen_scheduler() -> FlowMatchEulerDiscreteScheduler:
    return FlowMatchEulerDiscreteScheduler(
        use_dynamic_shifting=True,
        time_shift_type="exponential",
        base_shift=0.5,
        max_shift=0.9,
        base_image_seq_len=256,
        max_image_seq_len=8192,
        shift=1.0,
        shift_terminal=0.02,
    )


def _write_qwen_processor(folder: Path, tokenizer: Qwen2Tokenizer) -> None:
    """The parts of the real `processor/` that reading images needs."""
    tokenizer.save_pretrained(folder)
    preprocessor = {
        "image_processor_type": "Qwen2VLImageProcessor",
        "processor_class": "Qwen2VLProcessor",
        **PICTURE_READING,
    }
    (folder / "preprocessor_config.json").write_text(json.dumps(preprocessor, indent=2))
