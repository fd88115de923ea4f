"""What latents look like without a decoder: one linear step from channels to colours."""

from dataclasses import dataclass

import torch

from studio.media_images import small_jpeg


@dataclass(frozen=True)
class LatentColours:
    """Red, green and blue, each from -1 to 1, that one unit of each channel adds to the bias."""

    factors: tuple[tuple[float, float, float], ...]
    bias: tuple[float, float, float]


def _levels(red: tuple[int, ...], green: tuple[int, ...], blue: tuple[int, ...]) -> LatentColours:
    """From 8-bit levels; the last number of each colour is its bias."""
    *factors, bias = (
        (level[0] / 127.5, level[1] / 127.5, level[2] / 127.5)
        for level in zip(red, green, blue, strict=True)
    )
    return LatentColours(tuple(factors), (bias[0] - 1, bias[1] - 1, bias[2] - 1))


# `latents_to_rgb` of diffusers' guide to pipeline callbacks.
SDXL_COLOURS = _levels((60, -60, 25, -70, 150), (60, -5, 15, -50, 140), (60, 10, -5, -35, 130))

# InvokeAI's WAN21_LATENT_RGB_FACTORS: Qwen-Image's VAE has the latent space of Wan 2.1.
QWEN_COLOURS = LatentColours(
    factors=(
        (-0.1299, -0.1692, 0.2932),
        (0.0671, 0.0406, 0.0442),
        (0.3568, 0.2548, 0.1747),
        (0.0372, 0.2344, 0.1420),
        (0.0313, 0.0189, -0.0328),
        (0.0296, -0.0956, -0.0665),
        (-0.3477, -0.4059, -0.2925),
        (0.0166, 0.1902, 0.1975),
        (-0.0412, 0.0267, -0.1364),
        (-0.1293, 0.0740, 0.1636),
        (0.0680, 0.3019, 0.1128),
        (0.0032, 0.0581, 0.0639),
        (-0.1251, 0.0927, 0.1699),
        (0.0060, -0.0633, 0.0005),
        (0.3477, 0.2275, 0.2950),
        (0.1984, 0.0913, 0.1861),
    ),
    bias=(-0.1835, -0.0868, -0.3360),
)


def latent_jpeg(latents: torch.Tensor, colours: LatentColours) -> bytes:
    """A small JPEG of latents [channels, height, width]; channels without a factor are left out."""
    factors = torch.tensor(colours.factors)
    channels = latents[: len(factors)].detach().float().cpu()
    rgb = torch.einsum("chw,cr->hwr", channels, factors) + torch.tensor(colours.bias)
    levels = ((rgb.nan_to_num() + 1) * 127.5).clamp(0, 255)
    return small_jpeg(levels.to(torch.uint8).numpy())


class CleanEstimate:
    """The end of flow-matching latents if the last step's velocity went on to noise level 0."""

    def __init__(self) -> None:
        self._last: torch.Tensor | None = None

    def after(self, step: int, latents: torch.Tensor, sigmas: torch.Tensor) -> torch.Tensor:
        """`latents` are those after `step` (from 0), which went from sigma `step` to the next.

        The first step gives them back as they are, as nothing is known yet.
        """
        last, self._last = self._last, latents
        if last is None:
            return latents
        velocity = (latents - last) / (sigmas[step + 1] - sigmas[step])
        return latents - sigmas[step + 1] * velocity
