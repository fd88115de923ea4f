"""The demo pipeline as one checkpoint in Lightricks' layout.

The names are written from diffusers' published converter, the other way round than the studio's own
table, and `test_diffusers_ltx_single` holds them against those of ComfyUI's modules.
"""

import json
import re

import torch
from safetensors.torch import save_file

_TRANSFORMER = (
    (r"^audio_proj_in\.", "audio_patchify_proj."),
    (r"^proj_in\.", "patchify_proj."),
    (r"^(audio_)?time_embed\.", r"\1adaln_single."),
    (r"^(audio_)?prompt_adaln\.", r"\1prompt_adaln_single."),
    (r"^av_cross_attn_(video|audio)_scale_shift\.", r"av_ca_\1_scale_shift_adaln_single."),
    (r"^av_cross_attn_(video|audio)_(a2v|v2a)_gate\.", r"av_ca_\2_gate_adaln_single."),
    (r"(video|audio)_a2v_cross_attn_scale_shift_table", r"scale_shift_table_a2v_ca_\1"),
    (r"norm_([qk])\.", r"\1_norm."),
)
_CONNECTORS = (
    (r"^(video|audio)_connector\.", r"model.diffusion_model.\1_embeddings_connector."),
    (r"^(video|audio)_text_proj_in\.", r"text_embedding_projection.\1_aggregate_embed."),
    (r"\.transformer_blocks\.", ".transformer_1d_blocks."),
    (r"norm_([qk])\.", r"\1_norm."),
)
_STATISTICS = (
    (r"latents_mean", "per_channel_statistics.mean-of-means"),
    (r"latents_std", "per_channel_statistics.std-of-means"),
)
_ENCODER = {"mid_block": 8}
_DECODER = {"mid_block": 0}
for _number in range(4):
    _ENCODER[f"down_blocks.{_number}.downsamplers.0"] = 2 * _number + 1
    _ENCODER[f"down_blocks.{_number}"] = 2 * _number
    _DECODER[f"up_blocks.{_number}.upsamplers.0"] = 2 * _number + 1
    _DECODER[f"up_blocks.{_number}"] = 2 * _number + 2
_VAE = (
    *((rf"^encoder\.{re.escape(k)}\.", f"encoder.down_blocks.{v}!") for k, v in _ENCODER.items()),
    *((rf"^decoder\.{re.escape(k)}\.", f"decoder.up_blocks.{v}!") for k, v in _DECODER.items()),
    (r"!", "."),
    (r"resnets\.", "res_blocks."),
    *_STATISTICS,
)
_VOCODER = (
    (r"\.upsamplers\.", ".ups."),
    (r"\.resnets\.", ".resblocks."),
    (r"\.conv_in\.", ".conv_pre."),
    (r"\.conv_out\.", ".conv_post."),
    (r"\.act_out\.", ".act_post."),
    (r"\.downsample\.filter", ".downsample.lowpass.filter"),
)
PARTS = {
    "transformer": ("model.diffusion_model.", _TRANSFORMER),
    "connectors": ("", _CONNECTORS),
    "vae": ("vae.", _VAE),
    "audio_vae": ("audio_vae.", _STATISTICS),
    "vocoder": ("vocoder.", _VOCODER),
}


def original_tensors(pipeline):
    tensors = {"vae.per_channel_statistics.mean-of-stds": torch.zeros(32)}
    for part, (prefix, pairs) in PARTS.items():
        for name, tensor in getattr(pipeline, part).state_dict().items():
            for ours, theirs in pairs:
                name = re.sub(ours, theirs, name)
            tensors[prefix + name] = tensor.clone().contiguous()
    return tensors


def original_config(pipeline):
    """As much of the JSON in the published file's header as tells of its modules."""
    one, text = pipeline.transformer.config, pipeline.connectors.config
    vocoder = dict(pipeline.vocoder.config)
    return {
        "transformer": {
            "num_layers": one.num_layers,
            "num_attention_heads": one.num_attention_heads,
            "attention_head_dim": one.attention_head_dim,
            "cross_attention_dim": one.cross_attention_dim,
            "audio_num_attention_heads": one.audio_num_attention_heads,
            "audio_attention_head_dim": one.audio_attention_head_dim,
            "audio_cross_attention_dim": one.audio_cross_attention_dim,
            "positional_embedding_max_pos": [20, 2048, 2048],
            "audio_positional_embedding_max_pos": [20],
            "positional_embedding_theta": 10000.0,
            "frequencies_precision": "float64",
            "rope_type": "split",
            "timestep_scale_multiplier": 1000,
            "av_ca_timestep_scale_multiplier": 1000.0,
            "apply_gated_attention": True,
            "cross_attention_adaln": True,
            "caption_channels": one.caption_channels,
            "connector_num_layers": text.video_connector_num_layers,
            "connector_num_attention_heads": text.video_connector_num_attention_heads,
            "connector_attention_head_dim": text.video_connector_attention_head_dim,
            "connector_num_learnable_registers": text.video_connector_num_learnable_registers,
            "connector_apply_gated_attention": True,
            "connector_positional_embedding_max_pos": [text.connector_rope_base_seq_len],
            "audio_connector_num_attention_heads": text.audio_connector_num_attention_heads,
            "audio_connector_attention_head_dim": text.audio_connector_attention_head_dim,
        },
        "vae": {
            "_class_name": "CausalVideoAutoencoder",
            "latent_channels": 32,
            "patch_size": 4,
            "spatial_padding_mode": "zeros",
            "causal_decoder": False,
            "encoder_blocks": _rows("compress_space_res", "compress_time_res", "compress_all_res"),
            "decoder_blocks": _rows("compress_space", "compress_time", "compress_all"),
        },
        "audio_vae": {"model": {"params": _audio(pipeline.audio_vae.config)}},
        "vocoder": {
            "vocoder": _wave(vocoder, ""),
            "bwe": {
                **_wave(vocoder, "bwe_"),
                "n_fft": vocoder["filter_length"],
                "hop_length": vocoder["hop_length"],
                "win_size": vocoder["window_length"],
                "num_mels": vocoder["num_mel_channels"],
                "input_sampling_rate": 16000,
                "output_sampling_rate": 48000,
            },
        },
    }


def _rows(space, time, both):
    block = ["res_x", {"num_layers": 1}]
    steps = [space, time, both, both]
    return [block, *(row for step in steps for row in ([step, {"multiplier": 2}], block))]


def _audio(config):
    return {
        "sampling_rate": 16000,
        "ddconfig": {
            "double_z": True,
            "mel_bins": config.mel_bins,
            "z_channels": config.latent_channels,
            "resolution": config.resolution,
            "in_channels": 2,
            "out_ch": 2,
            "ch": config.base_channels,
            "ch_mult": list(config.ch_mult),
            "num_res_blocks": config.num_res_blocks,
            "attn_resolutions": [],
            "mid_block_add_attention": False,
            "norm_type": "pixel",
            "causality_axis": "height",
        },
    }


def _wave(config, side):
    return {
        "upsample_initial_channel": config[f"{side}hidden_channels"],
        "upsample_rates": config[f"{side}upsample_factors"],
        "upsample_kernel_sizes": config[f"{side}upsample_kernel_sizes"],
        "resblock_kernel_sizes": config[f"{side}resnet_kernel_sizes"],
        "resblock_dilation_sizes": config[f"{side}resnet_dilations"],
        "resblock": "AMP1",
        "activation": "snakebeta",
        "use_tanh_at_final": False,
        "use_bias_at_final": False,
    }


def write_original(path, tensors, config):
    save_file(tensors, path, {"config": json.dumps(config), "model_version": "2.3.0"})
    return path


_WAVE = {
    "resblock": "AMP1",
    "resblock_kernel_sizes": [3, 7, 11],
    "resblock_dilation_sizes": [[1, 3, 5]] * 3,
    "activation": "snakebeta",
    "use_tanh_at_final": False,
    "use_bias_at_final": False,
}


def _published_rows(*steps):
    rows = [["res_x", {"num_layers": 4}]]
    for step, layers in zip(steps, (6, 4, 2, 2), strict=True):
        rows += [[step, {"multiplier": 2}], ["res_x", {"num_layers": layers}]]
    return rows


PUBLISHED_CONFIG = {
    "transformer": {
        "num_layers": 48,
        "num_attention_heads": 32,
        "attention_head_dim": 128,
        "cross_attention_dim": 4096,
        "audio_num_attention_heads": 32,
        "audio_attention_head_dim": 64,
        "audio_cross_attention_dim": 2048,
        "positional_embedding_max_pos": [20, 2048, 2048],
        "audio_positional_embedding_max_pos": [20],
        "positional_embedding_theta": 10000.0,
        "frequencies_precision": "float64",
        "rope_type": "split",
        "timestep_scale_multiplier": 1000,
        "av_ca_timestep_scale_multiplier": 1000.0,
        "apply_gated_attention": True,
        "cross_attention_adaln": True,
        "caption_channels": 3840,
        "connector_num_layers": 8,
        "connector_num_attention_heads": 32,
        "connector_attention_head_dim": 128,
        "connector_num_learnable_registers": 128,
        "connector_apply_gated_attention": True,
        "connector_positional_embedding_max_pos": [4096],
        "audio_connector_num_attention_heads": 32,
        "audio_connector_attention_head_dim": 64,
    },
    "vae": {
        "latent_channels": 128,
        "patch_size": 4,
        "spatial_padding_mode": "zeros",
        "causal_decoder": False,
        "encoder_blocks": _published_rows(
            "compress_space_res", "compress_time_res", "compress_all_res", "compress_all_res"
        ),
        "decoder_blocks": _published_rows(
            "compress_space", "compress_time", "compress_all", "compress_all"
        ),
    },
    "vocoder": {
        "vocoder": {
            **_WAVE,
            "upsample_initial_channel": 1536,
            "upsample_rates": [5, 2, 2, 2, 2, 2],
            "upsample_kernel_sizes": [11, 4, 4, 4, 4, 4],
        },
        "bwe": {
            **_WAVE,
            "upsample_initial_channel": 512,
            "upsample_rates": [6, 5, 2, 2, 2],
            "upsample_kernel_sizes": [12, 11, 4, 4, 4],
            "input_sampling_rate": 16000,
            "output_sampling_rate": 48000,
            "hop_length": 80,
            "n_fft": 512,
            "win_size": 512,
            "num_mels": 64,
        },
    },
}
"""What the published checkpoint says of itself, as far as it decides about shapes."""

_DENOISER = "model.diffusion_model."
PUBLISHED_SHAPES = {
    f"{_DENOISER}patchify_proj.weight": (4096, 128),
    f"{_DENOISER}proj_out.weight": (128, 4096),
    f"{_DENOISER}audio_patchify_proj.weight": (2048, 128),
    f"{_DENOISER}audio_proj_out.weight": (128, 2048),
    "text_embedding_projection.video_aggregate_embed.weight": (4096, 49 * 3840),
    "text_embedding_projection.audio_aggregate_embed.weight": (2048, 49 * 3840),
    "vocoder.vocoder.conv_pre.weight": (1536, 128, 7),
    "vocoder.vocoder.conv_post.weight": (2, 24, 7),
    "vocoder.bwe_generator.conv_pre.weight": (512, 128, 7),
    "vocoder.bwe_generator.conv_post.weight": (2, 16, 7),
    **{
        f"vae.encoder.down_blocks.{2 * place}.res_blocks.0.conv1.conv.weight": (width,)
        for place, width in enumerate((128, 256, 512, 1024, 1024))
    },
    **{
        f"vae.decoder.up_blocks.{2 * place}.res_blocks.0.conv1.conv.weight": (width,)
        for place, width in enumerate((1024, 512, 512, 256, 128))
    },
}
