"""LTX-2.3 in a few megabytes of random numbers, in the files that ComfyUI's own loaders read.

Every size is written into the files' metadata, from where ComfyUI takes it; only Gemma's needs the
pack `comfy_packs/tiny_gemma`. Call it after ComfyUI was started: the modules are its own.
"""

import importlib
import io
import json
import os

import torch
from model_files import variant
from safetensors.torch import save_file

from studio.families import LTX

# Most CPUs are several times slower with the bfloat16 of the real files.
DTYPE = torch.float32

HEADS, HEAD, SOUND_HEADS, SOUND_HEAD = 4, 16, 4, 8
PICTURE, SOUND = HEADS * HEAD, SOUND_HEADS * SOUND_HEAD
GEMMA = {
    "hidden_size": 64,
    "num_hidden_layers": 2,
    "intermediate_size": 128,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
}
GEMMA_HEAD, VISION = 256, 32

TRANSFORMER = {
    "_class_name": "AVTransformer3DModel",
    "in_channels": 128,
    "out_channels": 128,
    "num_layers": 2,
    "num_attention_heads": HEADS,
    "attention_head_dim": HEAD,
    "cross_attention_dim": PICTURE,
    "audio_num_attention_heads": SOUND_HEADS,
    "audio_attention_head_dim": SOUND_HEAD,
    "audio_cross_attention_dim": SOUND,
    "audio_in_channels": 128,
    "audio_out_channels": 128,
    "caption_channels": GEMMA["hidden_size"],
    "positional_embedding_theta": 10000.0,
    "positional_embedding_max_pos": [20, 2048, 2048],
    "audio_positional_embedding_max_pos": [20],
    "timestep_scale_multiplier": 1000,
    "av_ca_timestep_scale_multiplier": 1000.0,
    "causal_temporal_positioning": True,
    "use_middle_indices_grid": True,
    "rope_type": "split",
    "frequencies_precision": "float64",
    "caption_proj_before_connector": True,
    "caption_projection_first_linear": False,
    "caption_proj_input_norm": False,
    "caption_projection_second_linear": False,
    "cross_attention_adaln": True,
    "apply_gated_attention": True,
    "connector_apply_gated_attention": True,
    "connector_num_layers": 2,
    "connector_num_attention_heads": HEADS,
    "connector_attention_head_dim": HEAD,
    "audio_connector_num_attention_heads": SOUND_HEADS,
    "audio_connector_attention_head_dim": SOUND_HEAD,
    "connector_num_learnable_registers": 128,
}


def _block(name, **more):
    return [name, {"multiplier": 1, **more}]


def _plain(**more):
    return ["res_x", {"num_layers": 1, **more}]


VIDEO_VAE = {
    "_class_name": "CausalVideoAutoencoder",
    "dims": 3,
    "in_channels": 3,
    "out_channels": 3,
    "latent_channels": 128,
    "encoder_blocks": [
        _plain(),
        _block("compress_space_res"),
        _block("compress_time_res"),
        _block("compress_all_res"),
        _block("compress_all_res"),
    ],
    "decoder_blocks": [
        _plain(inject_noise=False),
        _block("compress_space"),
        _block("compress_time"),
        _block("compress_all", residual=False),
        _block("compress_all", residual=False),
        _plain(inject_noise=False),
    ],
    "encoder_base_channels": 16,
    "decoder_base_channels": 16,
    "norm_layer": "pixel_norm",
    "patch_size": 4,
    "latent_log_var": "uniform",
    "use_quant_conv": False,
    "causal_decoder": False,
    "timestep_conditioning": False,
    "spatial_padding_mode": "zeros",
}
AUDIO_VAE = {
    "model": {
        "params": {
            "sampling_rate": 16000,
            "ddconfig": {
                "double_z": True,
                "mel_bins": 64,
                "z_channels": 8,
                "resolution": 256,
                "downsample_time": False,
                "in_channels": 2,
                "out_ch": 2,
                "ch": 8,
                "ch_mult": [1, 1, 1],
                "num_res_blocks": 1,
                "attn_resolutions": [],
                "dropout": 0.0,
                "mid_block_add_attention": False,
                "norm_type": "pixel",
                "causality_axis": "height",
            },
        }
    },
    "preprocessing": {
        "stft": {"filter_length": 1024, "hop_length": 160, "causal": True},
        "mel": {"n_mel_channels": 64},
    },
}
_WAVE = {
    "resblock": "AMP1",
    "activation": "snakebeta",
    "stereo": True,
    "use_tanh_at_final": False,
    "use_bias_at_final": False,
    "resblock_kernel_sizes": [3],
    "resblock_dilation_sizes": [[1, 3, 5]],
    "upsample_initial_channel": 32,
}
VOCODER = {
    "vocoder": {
        **_WAVE,
        "upsample_rates": [5, 4, 4, 2],
        "upsample_kernel_sizes": [11, 8, 8, 4],
    },
    "bwe": {
        **_WAVE,
        "upsample_rates": [6, 5, 4, 2],
        "upsample_kernel_sizes": [12, 11, 8, 4],
        "n_fft": 512,
        "hop_length": 80,
        "num_mels": 64,
        "input_sampling_rate": 16000,
        "output_sampling_rate": 48000,
    },
}
CONFIG = {
    "transformer": TRANSFORMER,
    "vae": VIDEO_VAE,
    "audio_vae": AUDIO_VAE,
    "vocoder": VOCODER,
    "scheduler": {"_class_name": "RectifiedFlowScheduler", "num_train_timesteps": 1000},
}
UPSCALER = {
    "_class_name": "LatentUpsampler",
    "in_channels": 128,
    "mid_channels": 32,
    "num_blocks_per_stage": 1,
    "dims": 3,
    "spatial_upsample": True,
    "temporal_upsample": False,
    "spatial_scale": 2.0,
    "rational_resampler": False,
}
SPLIT = {
    "transformer": (("model.diffusion_model.",), ""),
    "video_vae": (("vae.",), "vae."),
    "audio_vae": (("audio_vae.", "vocoder."), ""),
    "text_projection": (("text_embedding_projection.",), ""),
}
"""What of a checkpoint each of the split files has, by role, and what their names there lack."""
LORA_LAYERS = tuple(
    f"transformer_blocks.{block}.{layer}"
    for block in range(TRANSFORMER["num_layers"])
    for layer in ("attn1.to_q", "attn1.to_v", "attn2.to_q", "ff.net.0.proj", "ff.net.2")
)


def write_weights(home):
    """The files of the variants with one checkpoint and with split files, and all adapters."""
    transformer = _transformer()
    metadata = {"config": json.dumps(CONFIG), "model_version": "2.3.0"}
    checkpoint = _checkpoint(transformer)
    _save(home, _place("checkpoint"), checkpoint, metadata)
    for role, (prefixes, cut) in SPLIT.items():
        part = {
            name.removeprefix(cut): tensor
            for name, tensor in checkpoint.items()
            if name.startswith(prefixes)
        }
        _save(home, _place(role, "LTX-2.3 split"), part, metadata)
    tensors, sizes = _gemma()
    _save(home, _place("text_encoder"), tensors, {"tiny_gemma": json.dumps(sizes)})
    os.environ["TINY_GEMMA"] = str(home.models / _place("text_encoder"))
    _save(home, _place("upscaler"), _upscaler(), {"config": json.dumps(UPSCALER)})
    for number, adapter in enumerate(LTX.adapters.values()):
        factor = str(adapter.reference_downscale)
        lora = _lora(transformer, seed=10 + number)
        _save(home, f"loras/{adapter.file}", lora, {"reference_downscale_factor": factor})


def _place(role, label="LTX-2.3 bf16"):
    model = variant(LTX, label).parts[role][0]
    return f"{model.folder}/{model.name}"


def _save(home, name, tensors, metadata):
    path = home.models / name
    path.parent.mkdir(parents=True, exist_ok=True)
    save_file(tensors, path, metadata)


def random_weights(shapes, seed):
    """Small random numbers for every name, and for norms what leaves things as they are."""
    numbers = torch.Generator().manual_seed(seed)
    tensors = {}
    for name, like in shapes.items():
        if name.endswith("std-of-means") or (name.endswith("norm.weight") and like.ndim == 1):
            tensor = torch.ones(like.shape)
        elif name.endswith("mean-of-means"):
            tensor = torch.zeros(like.shape)
        elif name.endswith(".filter"):
            tensor = like.float()
        else:
            tensor = torch.randn(like.shape, generator=numbers) * 0.05
        tensors[name] = tensor.to(DTYPE if like.is_floating_point() else like.dtype).contiguous()
    return tensors


def _prefixed(prefix, tensors):
    return {prefix + name: tensor for name, tensor in tensors.items()}


def comfy_ops():
    return importlib.import_module("comfy.ops").disable_weight_init


def _transformer():
    module = importlib.import_module("comfy.ldm.lightricks.av_model")
    model = module.LTXAVModel(
        **TRANSFORMER, dtype=torch.float32, device="cpu", operations=comfy_ops()
    )
    return random_weights(model.state_dict(), 1)


def _checkpoint(transformer):
    lightricks = "comfy.ldm.lightricks.vae"
    video = importlib.import_module(f"{lightricks}.causal_video_autoencoder").VideoVAE
    audio = importlib.import_module(f"{lightricks}.audio_vae").AudioVAE
    pictures = random_weights(video(config=VIDEO_VAE).state_dict(), 2)
    sounds = random_weights(audio({"config": CONFIG}).state_dict(), 3)
    sounds = {name.replace("autoencoder.", "audio_vae.", 1): one for name, one in sounds.items()}
    width = GEMMA["hidden_size"] * (GEMMA["num_hidden_layers"] + 1)
    projection = {
        f"text_embedding_projection.{stream}_aggregate_embed.{part}": torch.empty(shape)
        for stream, size in (("video", PICTURE), ("audio", SOUND))
        for part, shape in (("weight", (size, width)), ("bias", (size,)))
    }
    return {
        **_prefixed("model.diffusion_model.", transformer),
        **_prefixed("vae.", pictures),
        **sounds,
        **random_weights(projection, 4),
    }


def _gemma():
    """Gemma's tensors with a vocabulary of their own, and the sizes that they have."""
    vocabulary, pieces = _vocabulary()
    width = GEMMA["hidden_size"]
    shapes = {"model.embed_tokens.weight": (pieces, width), "model.norm.weight": (width,)}
    for layer in range(GEMMA["num_hidden_layers"]):
        shapes |= _prefixed(f"model.layers.{layer}.", _gemma_layer(width))
    shapes |= _vision_tower(width)
    tensors = random_weights({name: torch.empty(shape) for name, shape in shapes.items()}, 5)
    # By these two names ComfyUI tells Gemma 3 12B from its relatives; it drops them on loading.
    for mark in (
        "model.layers.47.self_attn.q_norm.weight",
        "model.layers.5.self_attn.v_proj.weight",
    ):
        tensors[mark] = torch.ones(1, dtype=DTYPE)
    tensors["spiece_model"] = torch.frombuffer(bytearray(vocabulary), dtype=torch.uint8).clone()
    return tensors, {**GEMMA, "vocab_size": pieces}


def _gemma_layer(width):
    heads = GEMMA["num_attention_heads"] * GEMMA_HEAD
    shared, inner = GEMMA["num_key_value_heads"] * GEMMA_HEAD, GEMMA["intermediate_size"]
    norms = ("input", "post_attention", "pre_feedforward", "post_feedforward")
    return {
        "self_attn.q_proj.weight": (heads, width),
        "self_attn.k_proj.weight": (shared, width),
        "self_attn.v_proj.weight": (shared, width),
        "self_attn.o_proj.weight": (width, heads),
        "self_attn.q_norm.weight": (GEMMA_HEAD,),
        "self_attn.k_norm.weight": (GEMMA_HEAD,),
        "mlp.gate_proj.weight": (inner, width),
        "mlp.up_proj.weight": (inner, width),
        "mlp.down_proj.weight": (width, inner),
        **{f"{norm}_layernorm.weight": (width,) for norm in norms},
    }


def _vision_tower(width):
    attention = ("q_proj", "k_proj", "v_proj", "out_proj")
    squares = (*(f"self_attn.{name}" for name in attention), "mlp.fc1", "mlp.fc2")
    layer = "vision_model.encoder.layers.0."
    shapes = {
        "multi_modal_projector.mm_input_projection_weight": (VISION, width),
        "multi_modal_projector.mm_soft_emb_norm.weight": (VISION,),
        "vision_model.embeddings.patch_embedding.weight": (VISION, 3, 14, 14),
        "vision_model.embeddings.patch_embedding.bias": (VISION,),
        "vision_model.embeddings.position_embedding.weight": ((896 // 14) ** 2, VISION),
        "vision_model.post_layernorm.weight": (VISION,),
        "vision_model.post_layernorm.bias": (VISION,),
    }
    for norm in ("layer_norm1", "layer_norm2"):
        shapes |= {f"{layer}{norm}.{part}": (VISION,) for part in ("weight", "bias")}
    for name in squares:
        shapes |= {f"{layer}{name}.weight": (VISION, VISION), f"{layer}{name}.bias": (VISION,)}
    return shapes


def _vocabulary():
    """A sentencepiece model, and how many pieces it has."""
    import sentencepiece

    words = "a the of red green blue circle square moves left right slow camera light tone".split()
    sentences = [
        " ".join(words[(i * 7 + j * j) % len(words)] for j in range(12)) for i in range(99)
    ]
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(sentences),
        model_writer=model,
        vocab_size=400,
        model_type="bpe",
        pad_id=0,
        eos_id=1,
        bos_id=2,
        unk_id=3,
        byte_fallback=True,
        hard_vocab_limit=False,
        minloglevel=2,
    )
    pieces = sentencepiece.SentencePieceProcessor(model_proto=model.getvalue()).get_piece_size()
    return model.getvalue(), pieces


def _upscaler():
    module = importlib.import_module("comfy.ldm.lightricks.latent_upsampler")
    return random_weights(
        module.LatentUpsampler.from_config(UPSCALER, operations=comfy_ops()).state_dict(),
        6,
    )


def _lora(transformer, seed, rank=4):
    numbers = torch.Generator().manual_seed(seed)
    tensors = {}
    for layer in LORA_LAYERS:
        out, into = transformer[f"{layer}.weight"].shape
        for part, shape in (("lora_A", (rank, into)), ("lora_B", (out, rank))):
            tensor = torch.randn(shape, generator=numbers) * 0.05
            tensors[f"diffusion_model.{layer}.{part}.weight"] = tensor.to(DTYPE)
    return tensors
