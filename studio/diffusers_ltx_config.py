"""Configurations of diffusers' LTX-2.3 modules, from what a Lightricks checkpoint says of itself.

Sizes are read from its tensors, where they cannot be wrong; the rest from the JSON in its header.
"""

import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

Config = dict[str, Any]
Told = Mapping[str, Any]
"""The JSON under "config" in the file's header."""
Shape = Callable[[str], Sequence[int]]
"""The shape of a tensor by its key. Raises KeyError."""
Keys = frozenset[str]

_DENOISER = "model.diffusion_model."
_PROJECTION = "text_embedding_projection."

_STEPS = {
    "compress_space": "spatial",
    "compress_time": "temporal",
    "compress_all": "spatiotemporal",
}
"""What the video VAE halves, under diffusers' names."""


def transformer_config(told: Told, shape: Shape, keys: Keys) -> Config:
    """Raises KeyError, TypeError or ValueError for a file that lacks what is needed."""
    known = told["transformer"]
    frames, height, width = known["positional_embedding_max_pos"]
    return {
        "in_channels": shape(f"{_DENOISER}patchify_proj.weight")[1],
        "out_channels": shape(f"{_DENOISER}proj_out.weight")[0],
        "num_attention_heads": known["num_attention_heads"],
        "attention_head_dim": known["attention_head_dim"],
        "cross_attention_dim": known["cross_attention_dim"],
        "pos_embed_max_pos": frames,
        "base_height": height,
        "base_width": width,
        "gated_attn": known["apply_gated_attention"],
        "cross_attn_mod": known["cross_attention_adaln"],
        "audio_in_channels": shape(f"{_DENOISER}audio_patchify_proj.weight")[1],
        "audio_out_channels": shape(f"{_DENOISER}audio_proj_out.weight")[0],
        "audio_num_attention_heads": known["audio_num_attention_heads"],
        "audio_attention_head_dim": known["audio_attention_head_dim"],
        "audio_cross_attention_dim": known["audio_cross_attention_dim"],
        "audio_pos_embed_max_pos": known["audio_positional_embedding_max_pos"][0],
        "audio_gated_attn": known["apply_gated_attention"],
        "audio_cross_attn_mod": known["cross_attention_adaln"],
        "num_layers": known["num_layers"],
        "norm_eps": known.get("norm_eps", 1e-6),
        "caption_channels": known["caption_channels"],
        "timestep_scale_multiplier": known["timestep_scale_multiplier"],
        "cross_attn_timestep_scale_multiplier": known.get("av_ca_timestep_scale_multiplier", 1),
        "use_prompt_embeddings": any(f"{_DENOISER}caption_projection." in key for key in keys),
        # STG needs it, and it has no weights.
        "perturbed_attn": True,
        **_rope(known),
    }


def connectors_config(told: Told, shape: Shape, keys: Keys) -> Config:
    """Raises as `transformer_config` does."""
    known = told["transformer"]
    video, text = shape(f"{_PROJECTION}video_aggregate_embed.weight")
    audio, _ = shape(f"{_PROJECTION}audio_aggregate_embed.weight")
    layers, registers = known["connector_num_layers"], known["connector_num_learnable_registers"]
    gated = known["connector_apply_gated_attention"]
    (longest,) = known.get("connector_positional_embedding_max_pos", (4096,))
    return {
        "caption_channels": known["caption_channels"],
        # Gemma's embeddings and all of its layers, side by side.
        "text_proj_in_factor": text // known["caption_channels"],
        "video_hidden_dim": video,
        "video_connector_num_attention_heads": known["connector_num_attention_heads"],
        "video_connector_attention_head_dim": known["connector_attention_head_dim"],
        "video_connector_num_layers": layers,
        "video_connector_num_learnable_registers": registers,
        "video_gated_attn": gated,
        "audio_hidden_dim": audio,
        "audio_connector_num_attention_heads": known["audio_connector_num_attention_heads"],
        "audio_connector_attention_head_dim": known["audio_connector_attention_head_dim"],
        "audio_connector_num_layers": layers,
        "audio_connector_num_learnable_registers": registers,
        "audio_gated_attn": gated,
        "connector_rope_base_seq_len": longest,
        "causal_temporal_positioning": False,
        "per_modality_projections": True,
        "proj_bias": f"{_PROJECTION}video_aggregate_embed.bias" in keys,
        **_rope(known),
    }


def vae_config(told: Told, shape: Shape, keys: Keys) -> Config:
    """Raises as `transformer_config` does; also ValueError where blocks and steps do not alternate.

    diffusers counts all of the decoder's blocks from the picture to the latents, but for the kind
    of its steps.
    """
    known = told["vae"]
    downs, ups = _blocks(known["encoder_blocks"]), _blocks(known["decoder_blocks"])
    down_widths = [_width(shape, f"vae.encoder.down_blocks.{2 * place}") for place in range(5)]
    up_widths = [_width(shape, f"vae.decoder.up_blocks.{2 * place}") for place in range(5)]
    factors = [wide // narrow for wide, narrow in itertools.pairwise(up_widths)]
    patch = known["patch_size"]
    return {
        "in_channels": known.get("in_channels", 3),
        "out_channels": known.get("out_channels", 3),
        "latent_channels": known["latent_channels"],
        "block_out_channels": down_widths[1:],
        "down_block_types": ["LTX2VideoDownBlock3D"] * 4,
        "layers_per_block": downs.layers,
        "downsample_type": downs.steps,
        "spatio_temporal_scaling": [True] * 4,
        "decoder_block_out_channels": up_widths[-2::-1],
        "decoder_layers_per_block": ups.layers,
        "decoder_spatio_temporal_scaling": [True] * 4,
        "decoder_inject_noise": ups.noise,
        "upsample_type": ups.steps[::-1],
        "upsample_factor": factors[::-1],
        "upsample_residual": ups.residual,
        "timestep_conditioning": known.get("timestep_conditioning", False),
        "patch_size": patch,
        "patch_size_t": 1,
        "encoder_causal": True,
        "decoder_causal": known.get("causal_decoder", False),
        # Left out, it is a different one for each side: so do Lightricks' own classes.
        "encoder_spatial_padding_mode": known.get("spatial_padding_mode", "zeros"),
        "decoder_spatial_padding_mode": known.get("spatial_padding_mode", "reflect"),
        "spatial_compression_ratio": patch * 2 ** sum(one != "temporal" for one in downs.steps),
        "temporal_compression_ratio": 2 ** sum(one != "spatial" for one in downs.steps),
    }


def audio_vae_config(told: Told, shape: Shape, keys: Keys) -> Config:
    """Raises as `transformer_config` does."""
    parameters = told["audio_vae"]["model"]["params"]
    known = parameters["ddconfig"]
    stft = told["audio_vae"].get("preprocessing", {}).get("stft", {})
    return {
        "base_channels": known["ch"],
        "output_channels": known["out_ch"],
        "ch_mult": known["ch_mult"],
        "num_res_blocks": known["num_res_blocks"],
        "attn_resolutions": known.get("attn_resolutions") or None,
        "in_channels": known["in_channels"],
        "resolution": known["resolution"],
        "latent_channels": known["z_channels"],
        "norm_type": known["norm_type"],
        "causality_axis": known["causality_axis"],
        "dropout": known.get("dropout", 0.0),
        "mid_block_add_attention": known["mid_block_add_attention"],
        "sample_rate": parameters.get("sampling_rate", 16000),
        "mel_hop_length": stft.get("hop_length", 160),
        "is_causal": stft.get("causal", True),
        "mel_bins": known["mel_bins"],
        "double_z": known["double_z"],
    }


def vocoder_config(told: Told, shape: Shape, keys: Keys) -> Config:
    """Raises as `transformer_config` does."""
    base, upper = told["vocoder"]["vocoder"], told["vocoder"]["bwe"]
    return {
        **_wave(base, shape, "vocoder.vocoder"),
        **{
            f"bwe_{name}": one for name, one in _wave(upper, shape, "vocoder.bwe_generator").items()
        },
        "filter_length": upper["n_fft"],
        "hop_length": upper["hop_length"],
        "window_length": upper.get("win_size", upper["n_fft"]),
        "num_mel_channels": upper["num_mels"],
        "input_sampling_rate": upper["input_sampling_rate"],
        "output_sampling_rate": upper["output_sampling_rate"],
    }


@dataclass(frozen=True)
class _Blocks:
    """One side of the video VAE: five blocks, and four steps between them."""

    layers: Sequence[int]
    noise: Sequence[bool]
    steps: Sequence[str]
    residual: Sequence[bool]


def _blocks(rows: Sequence[tuple[str, Mapping[str, Any]]]) -> _Blocks:
    blocks, steps = rows[::2], rows[1::2]
    if [name for name, _ in blocks] != ["res_x"] * 5 or len(steps) != 4:
        raise ValueError("its video VAE is built in another way")
    return _Blocks(
        layers=[more["num_layers"] for _, more in blocks],
        noise=[more.get("inject_noise", False) for _, more in blocks],
        steps=[_STEPS[name.removesuffix("_res")] for name, _ in steps],
        residual=[more.get("residual", False) for _, more in steps],
    )


def _width(shape: Shape, block: str) -> int:
    return shape(f"{block}.res_blocks.0.conv1.conv.weight")[0]


def _rope(known: Told) -> Config:
    return {
        "rope_theta": known["positional_embedding_theta"],
        "rope_double_precision": known["frequencies_precision"] == "float64",
        "rope_type": known["rope_type"],
    }


def _wave(known: Told, shape: Shape, name: str) -> Config:
    return {
        "in_channels": shape(f"{name}.conv_pre.weight")[1],
        "hidden_channels": known["upsample_initial_channel"],
        "out_channels": shape(f"{name}.conv_post.weight")[0],
        "upsample_kernel_sizes": known["upsample_kernel_sizes"],
        "upsample_factors": known["upsample_rates"],
        "resnet_kernel_sizes": known["resblock_kernel_sizes"],
        "resnet_dilations": known["resblock_dilation_sizes"],
        "act_fn": known["activation"],
        "antialias": known["resblock"] == "AMP1",
        "final_act_fn": "tanh" if known["use_tanh_at_final"] else None,
        "final_bias": known["use_bias_at_final"],
    }
