"""Tiny random SDXL, Qwen-Image and Qwen-Image-Edit pipelines: real structure, few channels."""

import json
from pathlib import Path
from typing import Any

from diffusers import (
    AutoencoderKL,
    AutoencoderKLQwenImage,
    EulerDiscreteScheduler,
    FlowMatchEulerDiscreteScheduler,
    QwenImagePipeline,
    QwenImageTransformer2DModel,
    StableDiffusionXLPipeline,
    UNet2DConditionModel,
)
from transformers import (
    CLIPTextConfig,
    CLIPTextModel,
    CLIPTextModelWithProjection,
    CLIPTokenizer,
    Qwen2_5_VLConfig,
    Qwen2_5_VLForConditionalGeneration,
    Qwen2Tokenizer,
)

from studio.demo_init import fill_random, scale
from studio.demo_loras import write_lightning_loras
from studio.demo_tokenizers import clip_tokenizer, qwen_tokenizer

# CLIP-L and CLIP-G must differ in width: from_single_file tells them apart by it.
CLIP_WIDTHS = (32, 48)
SDXL_TIME_CHANNELS = 8
QWEN_TEXT_WIDTH = 32

# Measured on 128-pixel pictures: the range is used and under a tenth of the values clip.
QWEN_PICTURE_GAIN = 1.5
# A prompt's few tokens drown among the picture's in joint attention: without this gain on their
# values, another prompt changed a random picture by half a level of 255; with it by 3 and more.
QWEN_PROMPT_GAIN = 8.0


def write_sdxl(folder: Path) -> None:
    """A StableDiffusionXLPipeline folder."""
    tokenizers = clip_tokenizer(), clip_tokenizer(pad_token="!")
    encoders = (
        CLIPTextModel(_clip_config(tokenizers[0], CLIP_WIDTHS[0], "quick_gelu")),
        CLIPTextModelWithProjection(_clip_config(tokenizers[1], CLIP_WIDTHS[1], "gelu")),
    )
    unet, vae = _sdxl_unet(), _sdxl_vae()
    for module in (*encoders, unet, vae):
        fill_random(module)
    StableDiffusionXLPipeline(
        vae=vae,
        text_encoder=encoders[0],
        text_encoder_2=encoders[1],
        tokenizer=tokenizers[0],
        tokenizer_2=tokenizers[1],
        unet=unet,
        scheduler=_sdxl_scheduler(),
        add_watermarker=False,
    ).save_pretrained(folder)


def write_qwen_image(folder: Path) -> None:
    """A QwenImagePipeline folder with Lightning LoRAs in `loras/`."""
    _write_qwen(folder, _qwen_components(zero_cond_t=False))


def write_qwen_image_edit(folder: Path) -> None:
    """A QwenImageEditPlusPipeline folder as Qwen-Image-Edit-2511 is, with Lightning LoRAs.

    Qwen2VLProcessor cannot be made without torchvision, so its folder is written by hand and
    the pipeline is saved as the one that has the same other parts.
    """
    components = _qwen_components(zero_cond_t=True)
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
    write_lightning_loras(folder / "loras", components["transformer"])


def _clip_config(tokenizer: CLIPTokenizer, width: int, activation: str) -> CLIPTextConfig:
    return CLIPTextConfig(
        vocab_size=len(tokenizer),
        hidden_size=width,
        projection_dim=width,
        intermediate_size=2 * width,
        num_attention_heads=4,
        num_hidden_layers=3,
        hidden_act=activation,
        max_position_embeddings=77,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )


def _sdxl_unet() -> UNet2DConditionModel:
    size_and_crop_numbers = 6
    return UNet2DConditionModel(
        sample_size=16,
        in_channels=4,
        out_channels=4,
        block_out_channels=(16, 32, 64),
        layers_per_block=2,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
        transformer_layers_per_block=(1, 2, 2),
        attention_head_dim=(1, 2, 4),
        use_linear_projection=True,
        cross_attention_dim=sum(CLIP_WIDTHS),
        addition_embed_type="text_time",
        addition_time_embed_dim=SDXL_TIME_CHANNELS,
        projection_class_embeddings_input_dim=(
            size_and_crop_numbers * SDXL_TIME_CHANNELS + CLIP_WIDTHS[1]
        ),
        norm_num_groups=8,
    )


def _sdxl_vae() -> AutoencoderKL:
    return AutoencoderKL(
        in_channels=3,
        out_channels=3,
        latent_channels=4,
        block_out_channels=(8, 16, 32, 32),
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        layers_per_block=2,
        norm_num_groups=8,
        sample_size=128,
        scaling_factor=0.13025,
        force_upcast=True,
    )


def _sdxl_scheduler() -> EulerDiscreteScheduler:
    return EulerDiscreteScheduler(
        beta_start=0.00085,
        beta_end=0.012,
        beta_schedule="scaled_linear",
        timestep_spacing="leading",
        steps_offset=1,
    )


def _qwen_components(zero_cond_t: bool) -> dict[str, Any]:
    tokenizer = qwen_tokenizer()
    text_encoder = Qwen2_5_VLForConditionalGeneration(_qwen_text_config(tokenizer))
    transformer = _qwen_transformer(zero_cond_t)
    vae = AutoencoderKLQwenImage(
        base_dim=8,
        z_dim=16,
        dim_mult=[1, 2, 4, 4],
        num_res_blocks=1,
        temperal_downsample=[False, True, True],
    )
    for module in (text_encoder, transformer, vae):
        fill_random(module)
    scale(vae.decoder.conv_out.weight, QWEN_PICTURE_GAIN)
    for block in transformer.transformer_blocks:
        scale(block.attn.add_v_proj.weight, QWEN_PROMPT_GAIN)
    return {
        "tokenizer": tokenizer,
        "text_encoder": text_encoder,
        "transformer": transformer,
        "vae": vae,
        "scheduler": _qwen_scheduler(),
    }


def _qwen_text_config(tokenizer: Qwen2Tokenizer) -> Qwen2_5_VLConfig:
    number = tokenizer.convert_tokens_to_ids
    text = {
        "vocab_size": len(tokenizer),
        "hidden_size": QWEN_TEXT_WIDTH,
        "intermediate_size": 2 * QWEN_TEXT_WIDTH,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "num_key_value_heads": 2,
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
        "out_hidden_size": QWEN_TEXT_WIDTH,
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


def _qwen_transformer(zero_cond_t: bool) -> QwenImageTransformer2DModel:
    return QwenImageTransformer2DModel(
        patch_size=2,
        in_channels=64,
        out_channels=16,
        num_layers=3,
        num_attention_heads=2,
        attention_head_dim=32,
        joint_attention_dim=QWEN_TEXT_WIDTH,
        axes_dims_rope=(8, 12, 12),
        guidance_embeds=False,
        zero_cond_t=zero_cond_t,
    )


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
    (folder / "preprocessor_config.json").write_text(json.dumps(preprocessor, indent=2))
