"""A tiny random LTX-2.3 pipeline with sound, and its latent upsampler."""

import math
from pathlib import Path
from typing import Any

import numpy as np
import torch
from diffusers import (
    AutoencoderKLLTX2Audio,
    AutoencoderKLLTX2Video,
    FlowMatchEulerDiscreteScheduler,
    LTX2Pipeline,
    LTX2VideoTransformer3DModel,
)
from diffusers.models.autoencoders.autoencoder_kl_ltx2 import LTX2VideoUpsampler3d
from diffusers.pipelines.ltx2 import (
    LTX2LatentUpsamplerModel,
    LTX2TextConnectors,
    LTX2VocoderWithBWE,
)
from transformers import (
    Gemma3Config,
    Gemma3ForConditionalGeneration,
    Gemma3ImageProcessorPil,
    Gemma3Processor,
    GemmaTokenizer,
)
from transformers.audio_utils import mel_filter_bank

from studio.demo_control import write_control_models
from studio.demo_init import centre_taps, fill_random, scale, share_shuffled
from studio.demo_loras import write_ltx_loras
from studio.demo_tokenizers import GEMMA_CHAT_TEMPLATE, gemma_tokenizer

# GroupNorm(32) is fixed in the upsampler, so the latents have a multiple of 32 channels.
LATENT_CHANNELS = 32
VIDEO_WIDTH, AUDIO_WIDTH, HEADS = 32, 16, 2
TEXT_WIDTH, TEXT_LAYERS = 32, 2
IMAGE_SIDE, IMAGE_TOKENS = 56, 4

# The audio VAE keeps one statistic per packed channel, base_channels = latents * mel bins / 4.
AUDIO_LATENT_CHANNELS, MEL_BINS = 2, 16
AUDIO_RATE, VOCODER_RATE = 16000, 48000
STFT_LENGTH, STFT_HOP = 512, 80

# Measured: another prompt changes a random video by 5 levels of 255 instead of 2.
PROMPT_GAIN = 4.0
# Measured: sound of about 0.11 RMS with peaks below 0.8, and a faint upper band.
LOUDNESS_GAIN, UPPER_BAND_GAIN = 0.02, 0.001


def write_ltx(folder: Path) -> None:
    """An LTX2Pipeline folder with `latent_upsampler/` and `control/` beside its own parts."""
    components = _components()
    upsampler = _upsampler()
    fill_random(upsampler)
    share_shuffled(upsampler.upsampler[0].weight, 4)
    LTX2Pipeline(**components).save_pretrained(folder)
    upsampler.save_pretrained(folder / "latent_upsampler")
    write_ltx_loras(folder / "loras", components["transformer"])
    write_control_models(folder / "control")


def _components() -> dict[str, Any]:
    tokenizer = gemma_tokenizer()
    modules = {
        "text_encoder": Gemma3ForConditionalGeneration(_gemma_config(tokenizer)),
        "connectors": _connectors(),
        "transformer": _transformer(),
        "vae": _video_vae(),
        "audio_vae": _audio_vae(),
        "vocoder": _vocoder(),
    }
    for module in modules.values():
        fill_random(module)
    for block in modules["transformer"].transformer_blocks:
        scale(block.attn2.to_v.weight, PROMPT_GAIN)
        scale(block.audio_attn2.to_v.weight, PROMPT_GAIN)
    _smooth(modules["vae"])
    _tame(modules["vocoder"])
    return {
        **modules,
        "tokenizer": tokenizer,
        "scheduler": _scheduler(),
        "processor": _processor(tokenizer),
    }


def _transformer() -> LTX2VideoTransformer3DModel:
    return LTX2VideoTransformer3DModel(
        in_channels=LATENT_CHANNELS,
        out_channels=LATENT_CHANNELS,
        num_attention_heads=HEADS,
        attention_head_dim=VIDEO_WIDTH // HEADS,
        cross_attention_dim=VIDEO_WIDTH,
        gated_attn=True,
        cross_attn_mod=True,
        audio_in_channels=AUDIO_LATENT_CHANNELS * MEL_BINS // 4,
        audio_out_channels=AUDIO_LATENT_CHANNELS * MEL_BINS // 4,
        audio_num_attention_heads=HEADS,
        audio_attention_head_dim=AUDIO_WIDTH // HEADS,
        audio_cross_attention_dim=AUDIO_WIDTH,
        audio_gated_attn=True,
        audio_cross_attn_mod=True,
        num_layers=3,
        caption_channels=TEXT_WIDTH,
        rope_double_precision=True,
        rope_type="split",
        use_prompt_embeddings=False,
        perturbed_attn=True,
    )


def _connectors() -> LTX2TextConnectors:
    return LTX2TextConnectors(
        caption_channels=TEXT_WIDTH,
        text_proj_in_factor=TEXT_LAYERS + 1,
        video_hidden_dim=VIDEO_WIDTH,
        video_connector_num_attention_heads=HEADS,
        video_connector_attention_head_dim=VIDEO_WIDTH // HEADS,
        video_connector_num_layers=1,
        video_connector_num_learnable_registers=8,
        video_gated_attn=True,
        audio_hidden_dim=AUDIO_WIDTH,
        audio_connector_num_attention_heads=HEADS,
        audio_connector_attention_head_dim=AUDIO_WIDTH // HEADS,
        audio_connector_num_layers=1,
        audio_connector_num_learnable_registers=8,
        audio_gated_attn=True,
        connector_rope_base_seq_len=64,
        rope_double_precision=True,
        rope_type="split",
        causal_temporal_positioning=False,
        per_modality_projections=True,
        proj_bias=True,
    )


def _video_vae() -> AutoencoderKLLTX2Video:
    return AutoencoderKLLTX2Video(
        latent_channels=LATENT_CHANNELS,
        block_out_channels=(8, 16, 32, 32),
        decoder_block_out_channels=(8, 16, 16, 32),
        layers_per_block=(1,) * 5,
        decoder_layers_per_block=(1,) * 5,
        down_block_types=("LTX2VideoDownBlock3D",) * 4,
        downsample_type=("spatial", "temporal", "spatiotemporal", "spatiotemporal"),
        upsample_type=("spatiotemporal", "spatiotemporal", "temporal", "spatial"),
        upsample_factor=(2, 2, 1, 2),
        upsample_residual=(False,) * 4,
        spatio_temporal_scaling=(True,) * 4,
        decoder_spatio_temporal_scaling=(True,) * 4,
        decoder_inject_noise=(False,) * 5,
        timestep_conditioning=False,
        patch_size=4,
        patch_size_t=1,
        encoder_causal=True,
        decoder_causal=False,
        encoder_spatial_padding_mode="zeros",
        decoder_spatial_padding_mode="zeros",
        spatial_compression_ratio=32,
        temporal_compression_ratio=8,
    )


def _audio_vae() -> AutoencoderKLLTX2Audio:
    return AutoencoderKLLTX2Audio(
        base_channels=AUDIO_LATENT_CHANNELS * MEL_BINS // 4,
        latent_channels=AUDIO_LATENT_CHANNELS,
        in_channels=2,
        output_channels=2,
        ch_mult=(1, 2, 4),
        num_res_blocks=1,
        resolution=64,
        norm_type="pixel",
        causality_axis="height",
        is_causal=True,
        double_z=True,
        mel_bins=MEL_BINS,
        mel_hop_length=160,
        sample_rate=AUDIO_RATE,
    )


def _vocoder() -> LTX2VocoderWithBWE:
    return LTX2VocoderWithBWE(
        in_channels=2 * MEL_BINS,
        hidden_channels=64,
        resnet_kernel_sizes=[3],
        resnet_dilations=[[1, 3]],
        bwe_in_channels=2 * MEL_BINS,
        bwe_hidden_channels=32,
        bwe_resnet_kernel_sizes=[3],
        bwe_resnet_dilations=[[1, 3]],
        filter_length=STFT_LENGTH,
        window_length=STFT_LENGTH,
        hop_length=STFT_HOP,
        num_mel_channels=MEL_BINS,
        input_sampling_rate=AUDIO_RATE,
        output_sampling_rate=VOCODER_RATE,
    )


def _smooth(vae: AutoencoderKLLTX2Video) -> None:
    """Let the decoder paint smooth patches."""
    for module in vae.decoder.modules():
        if isinstance(module, LTX2VideoUpsampler3d):
            share_shuffled(module.conv.conv.weight, math.prod(module.stride))
    share_shuffled(vae.decoder.conv_out.conv.weight, vae.config.patch_size**2)


def _tame(vocoder: LTX2VocoderWithBWE) -> None:
    """Bring the random sound to a moderate loudness around zero.

    The vocoder's activations are positive on average and would push the wave off centre.
    """
    last, last_upper = vocoder.vocoder.conv_out.weight, vocoder.bwe_generator.conv_out.weight
    for weight, gain in ((last, LOUDNESS_GAIN), (last_upper, UPPER_BAND_GAIN)):
        centre_taps(weight)
        scale(weight, gain)
    _set_spectrogram(vocoder)


def _set_spectrogram(vocoder: LTX2VocoderWithBWE) -> None:
    """Fill the spectrogram buffers, which real checkpoints carry and constructors leave zero."""
    samples = np.arange(STFT_LENGTH)
    frequencies = np.arange(STFT_LENGTH // 2 + 1)[:, None]
    phases = 2 * np.pi * frequencies * samples / STFT_LENGTH
    basis = np.concatenate([np.cos(phases), -np.sin(phases)]) * np.hanning(STFT_LENGTH + 1)[:-1]
    mel = mel_filter_bank(
        num_frequency_bins=STFT_LENGTH // 2 + 1,
        num_mel_filters=MEL_BINS,
        min_frequency=0.0,
        max_frequency=AUDIO_RATE / 2,
        sampling_rate=AUDIO_RATE,
        norm="slaney",
        mel_scale="slaney",
    )
    vocoder.mel_stft.stft_fn.forward_basis.copy_(torch.from_numpy(basis[:, None]))
    vocoder.mel_stft.mel_basis.copy_(torch.from_numpy(mel.T))


def _gemma_config(tokenizer: GemmaTokenizer) -> Gemma3Config:
    number = tokenizer.convert_tokens_to_ids
    text = {
        "vocab_size": len(tokenizer),
        "hidden_size": TEXT_WIDTH,
        "intermediate_size": 2 * TEXT_WIDTH,
        "num_hidden_layers": TEXT_LAYERS,
        "num_attention_heads": 2,
        "num_key_value_heads": 1,
        "head_dim": 16,
        "query_pre_attn_scalar": 16,
        "sliding_window": 64,
        "bos_token_id": number("<bos>"),
        "eos_token_id": number("<eos>"),
        "pad_token_id": number("<pad>"),
    }
    vision = {
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "image_size": IMAGE_SIDE,
        "patch_size": 14,
        "vision_use_head": False,
    }
    return Gemma3Config(
        text_config=text,
        vision_config=vision,
        mm_tokens_per_image=IMAGE_TOKENS,
        boi_token_index=number("<start_of_image>"),
        eoi_token_index=number("<end_of_image>"),
        image_token_index=number("<image_soft_token>"),
    )


def _processor(tokenizer: GemmaTokenizer) -> Gemma3Processor:
    return Gemma3Processor(
        image_processor=Gemma3ImageProcessorPil(size={"height": IMAGE_SIDE, "width": IMAGE_SIDE}),
        tokenizer=tokenizer,
        chat_template=GEMMA_CHAT_TEMPLATE,
        image_seq_length=IMAGE_TOKENS,
    )


def _scheduler() -> FlowMatchEulerDiscreteScheduler:
    return FlowMatchEulerDiscreteScheduler(
        use_dynamic_shifting=True,
        time_shift_type="exponential",
        base_shift=0.95,
        max_shift=2.05,
        base_image_seq_len=1024,
        max_image_seq_len=4096,
        shift_terminal=0.1,
    )


def _upsampler() -> LTX2LatentUpsamplerModel:
    return LTX2LatentUpsamplerModel(
        in_channels=LATENT_CHANNELS,
        mid_channels=32,
        num_blocks_per_stage=1,
        dims=3,
        spatial_upsample=True,
        temporal_upsample=False,
        rational_spatial_scale=2.0,
        use_rational_resampler=False,
    )
