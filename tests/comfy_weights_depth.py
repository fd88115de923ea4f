"""MoGe 2, a model that sees depth, in random numbers, in the file that ComfyUI's own loader reads.

Call it after ComfyUI was started: the modules are its own.
"""

import importlib

from comfy_weights import comfy_ops, random_weights
from safetensors.torch import save_file


def write_weights(path):
    """ComfyUI reads every size from the tensors."""
    module = importlib.import_module("comfy.ldm.moge.model")
    backbone = {"hidden_size": 64, "num_attention_heads": 1, "num_hidden_layers": 4}
    encoder = {
        "backbone": {**backbone, "layer_norm_eps": 1e-6, "use_swiglu_ffn": False},
        "intermediate_layers": [0, 1, 2, 3],
        "dim_out": 8,
    }
    model = module.MoGeModelV2(
        encoder,
        neck=_pyramid([10, 2, 2, 2, 2], [8] * 5),
        points_head=_pyramid([8] * 5, [None] * 4 + [3]),
        mask_head=_pyramid([8] * 5, [None] * 4 + [1]),
        scale_head={"dims": [64, 8, 1]},
        normal_head=_pyramid([8] * 5, [None] * 4 + [3]),
        operations=comfy_ops(),
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    save_file(random_weights(model.state_dict(), 7), path)


def _pyramid(into, out):
    """Five levels of 8 channels, each twice as large as the one before."""
    return {
        "dim_in": into,
        "dim_res_blocks": [8] * 5,
        "dim_out": out,
        "resamplers": ["bilinear"] * 4,
        "num_res_blocks": [1] * 5,
        "res_block_in_norm": "none",
        "res_block_hidden_norm": "none",
    }
