"""Names of LTX-2.3's tensors in Lightricks' checkpoints, from those in diffusers' modules.

The other way round than diffusers' own converter, which does not know all of LTX-2.3: whatever a
module has is asked of the file, so that nothing can be missed in silence.
"""

from collections.abc import Sequence

Pairs = Sequence[tuple[str, str]]

_DENOISER = "model.diffusion_model."

_NORMS: Pairs = (("norm_q.", "q_norm."), ("norm_k.", "k_norm."))
_STATISTICS: Pairs = (
    ("latents_mean", "per_channel_statistics.mean-of-means"),
    ("latents_std", "per_channel_statistics.std-of-means"),
)

_TRANSFORMER: Pairs = (
    ("video_a2v_cross_attn_scale_shift_table", "scale_shift_table_a2v_ca_video"),
    ("audio_a2v_cross_attn_scale_shift_table", "scale_shift_table_a2v_ca_audio"),
    *_NORMS,
)
# The first part of a name, where it stands for a whole module.
_TRANSFORMER_MODULES = {
    "av_cross_attn_video_scale_shift": "av_ca_video_scale_shift_adaln_single",
    "av_cross_attn_video_a2v_gate": "av_ca_a2v_gate_adaln_single",
    "av_cross_attn_audio_scale_shift": "av_ca_audio_scale_shift_adaln_single",
    "av_cross_attn_audio_v2a_gate": "av_ca_v2a_gate_adaln_single",
    "prompt_adaln": "prompt_adaln_single",
    "audio_prompt_adaln": "audio_prompt_adaln_single",
    "time_embed": "adaln_single",
    "audio_time_embed": "audio_adaln_single",
    "proj_in": "patchify_proj",
    "audio_proj_in": "audio_patchify_proj",
}

_CONNECTORS = {
    "video_connector": f"{_DENOISER}video_embeddings_connector",
    "audio_connector": f"{_DENOISER}audio_embeddings_connector",
    "video_text_proj_in": "text_embedding_projection.video_aggregate_embed",
    "audio_text_proj_in": "text_embedding_projection.audio_aggregate_embed",
}

_VOCODER: Pairs = (
    (".upsamplers.", ".ups."),
    (".resnets.", ".resblocks."),
    (".conv_in.", ".conv_pre."),
    (".conv_out.", ".conv_post."),
    (".act_out.", ".act_post."),
    (".downsample.", ".downsample.lowpass."),
)


def transformer_name(name: str) -> str:
    """The file's name of a tensor of LTX2VideoTransformer3DModel."""
    return _DENOISER + _first_part(_replaced(name, _TRANSFORMER), _TRANSFORMER_MODULES)


def connectors_name(name: str) -> str:
    """The file's name of a tensor of LTX2TextConnectors."""
    inner = _replaced(name, (*_NORMS, ("transformer_blocks.", "transformer_1d_blocks.")))
    return _first_part(inner, _CONNECTORS)


def vae_name(name: str) -> str:
    """The file's name of a tensor of AutoencoderKLLTX2Video.

    In the file, blocks and the steps between them are one row: encoder 0 to 8 with the middle last,
    decoder 0 to 8 with the middle first.
    """
    side, _, rest = name.partition(".")
    if side in ("encoder", "decoder"):
        rest = _block(side, rest)
        name = f"{side}.{rest}".replace(".resnets.", ".res_blocks.")
    return "vae." + _replaced(name, _STATISTICS)


def audio_vae_name(name: str) -> str:
    """The file's name of a tensor of AutoencoderKLLTX2Audio."""
    return "audio_vae." + _replaced(name, _STATISTICS)


def vocoder_name(name: str) -> str:
    """The file's name of a tensor of LTX2VocoderWithBWE."""
    return "vocoder." + _replaced(name, _VOCODER)


def _block(side: str, rest: str) -> str:
    row = "down_blocks" if side == "encoder" else "up_blocks"
    if rest.startswith("mid_block."):
        place = 8 if side == "encoder" else 0
        return f"{row}.{place}.{rest.removeprefix('mid_block.')}"
    kind, _, tail = rest.partition(".")
    if kind != row:
        return rest
    number, _, tail = tail.partition(".")
    step = f"{'down' if side == 'encoder' else 'up'}samplers.0."
    first = 2 * int(number) if side == "encoder" else 2 * int(number) + 1
    if side == "encoder":
        place = first + 1 if tail.startswith(step) else first
    else:
        place = first if tail.startswith(step) else first + 1
    return f"{row}.{place}.{tail.removeprefix(step)}"


def _replaced(name: str, pairs: Pairs) -> str:
    for ours, theirs in pairs:
        name = name.replace(ours, theirs)
    return name


def _first_part(name: str, modules: dict[str, str]) -> str:
    first, dot, rest = name.partition(".")
    return modules.get(first, first) + dot + rest
