"""A tiny random SDXL pipeline: real structure, few channels."""

from pathlib import Path

from diffusers import (
    AutoencoderKL,
    EulerDiscreteScheduler,
    StableDiffusionXLPipeline,
    UNet2DConditionModel,
)
from transformers import (
    CLIPTextConfig,
    CLIPTextModel,
    CLIPTextModelWithProjection,
    CLIPTokenizer,
)

from studio.demo_init import fill_random
from studio.demo_tokenizers import clip_tokenizer

# CLIP-L and CLIP-G must differ in width: from_single_file tells them apart by it.
CLIP_WIDTHS = (32, 48)
SDXL_TIME_CHANNELS = 8


def write_sdxl(folder: Path) -> None:
    """A StableDiffusionXLPipeline folder."""
    tokenizers = clip_tokenizer(), clip_tokenizer(pad_token="!")
    encoders = (
        CLIPTextModel(clip_config(tokenizers[0], CLIP_WIDTHS[0], "quick_gelu")),
        CLIPTextModelWithProjection(clip_config(tokenizers[1], CLIP_WIDTHS[1], "gelu")),
    )
    unet, vae = _sdxl_unet(), picture_vae()
    for module in (*encoders, unet, vae):
        fill_random(module)
    StableDiffusionXLPipeline(
        vae=vae,
        text_encoder=encoders[0],
        text_encoder_2=encoders[1],
        tokenizer=tokenizers[0],
        tokenizer_2=tokenizers[1],
        unet=unet,
        scheduler=noise_scheduler(),
        add_watermarker=False,
    ).save_pretrained(folder)


def clip_config(tokenizer: CLIPTokenizer, width: int, activation: str) -> CLIPTextConfig:
    """Of a text encoder with three layers."""
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


def picture_vae() -> AutoencoderKL:
    """Four channels for 8 x 8 pixels."""
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


def noise_scheduler() -> EulerDiscreteScheduler:
    """With the betas that all of Stable Diffusion has."""
    return EulerDiscreteScheduler(
        beta_start=0.00085,
        beta_end=0.012,
        beta_schedule="scaled_linear",
        timestep_spacing="leading",
        steps_offset=1,
    )
