"""A node that ComfyUI's core lacks: brings the contrast of a guided prediction back.

Strong guidance makes colours and sounds louder than the model was trained on; LTX-2.3's own
pipelines scale each stream of the prediction towards the spread of the unguided one.
"""

import importlib
from typing import Any


class AIOStudioRescale:
    """Acts after all guidance whose nodes come before it."""

    # ComfyUI's names for a node's interface.
    RETURN_TYPES = ("MODEL",)
    FUNCTION = "rescaled"
    CATEGORY = "AIO Studio"

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, dict[str, tuple[Any, ...]]]:
        share = ("FLOAT", {"default": 0.7, "min": 0.0, "max": 1.0})
        return {"required": {"model": ("MODEL",), "picture": share, "sound": share}}

    def rescaled(self, model: Any, picture: float, sound: float) -> tuple[Any]:  # noqa: ANN401
        """The model with the step added; the shares go from 0, none, to 1, all of it."""
        utils = importlib.import_module("comfy.utils")

        def after_guidance(told: dict[str, Any]) -> Any:  # noqa: ANN401
            shapes = told["model"].latent_shapes
            guided = utils.unpack_latents(told["denoised"], shapes)
            plain = utils.unpack_latents(told["cond_denoised"], shapes)
            shares = (picture, sound)[: len(guided)]
            streams = [brought_back(*both) for both in zip(guided, plain, shares, strict=True)]
            return utils.pack_latents(streams)[0] if len(streams) > 1 else streams[0]

        patched = model.clone()
        patched.set_model_sampler_post_cfg_function(after_guidance)
        return (patched,)


def brought_back(guided: Any, plain: Any, share: float) -> Any:  # noqa: ANN401
    """`guided`, a tensor, scaled by a share of what takes its spread to that of `plain`.

    As `MultiModalGuider` of ltx-core does it.
    """
    return guided * (share * plain.std() / guided.std() + (1 - share))
