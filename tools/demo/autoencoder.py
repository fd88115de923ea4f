"""Trains the Qwen-Image auto-encoder on single pictures: first around the rim, then whole."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
import torch.nn.functional as F
from demo.judging import decibels, shares
from demo.shapes import Scenes, Size, draw_anywhere, paint
from demo.sheets import write_sheet
from demo.training import Part, Recipe
from diffusers import AutoencoderKLQwenImage
from diffusers.models.autoencoders import autoencoder_kl_qwenimage as qwen_vae

from studio.demo_qwen import new_qwen_vae

LATENT_CHANNELS = 16
SIZES: tuple[Size, ...] = ((128, 128), (96, 144), (144, 96), (96, 128), (128, 96), (112, 112))
"""Height and width, the usual first."""

# Cut-outs around the rim teach edges four times as fast as whole pictures, which are mostly plain.
CROP, CROP_BATCH, WHOLE_BATCH = 48, 16, 4
CROP_SHARE = 0.45
# A pixel within two of a rim counts as nine others.
RIM_WEIGHT, RIM_REACH = 8.0, 2
KL_WEIGHT = 5e-5
# Latents start nearly noiseless, else the decoder learns the mean picture first.
LOG_VARIANCE_BIAS = -5.0
# Share of a latent's spread that the decoder learns to put up with: samplers are not exact.
DECODER_NOISE = 0.08


def new_autoencoder() -> AutoencoderKLQwenImage:
    """Seeded by the caller."""
    vae = new_qwen_vae()
    with torch.no_grad():
        vae.quant_conv.bias[LATENT_CHANNELS:] = LOG_VARIANCE_BIAS
    return vae


@contextmanager
def single_frames() -> Iterator[None]:
    """Run the causal 3-D convolutions as what they are on one frame: 2-D ones of the last slice."""
    kept = qwen_vae.QwenImageCausalConv3d.forward, qwen_vae.QwenImageRMS_norm.forward

    def convolve(self, x, cache_x=None):  # noqa: ANN001, ANN202
        if x.shape[2] != 1 or cache_x is not None or self.stride[0] != 1:
            return kept[0](self, x, cache_x)
        padding = self._padding[2], self._padding[0]
        return F.conv2d(x[:, :, 0], self.weight[:, :, -1], self.bias, padding=padding)[:, :, None]

    def normalize(self, x):  # noqa: ANN001, ANN202
        size = torch.rsqrt(x.square().mean(1, keepdim=True) + 1e-12)
        return x * size.to(x.dtype) * self.gamma.to(x.dtype)

    qwen_vae.QwenImageCausalConv3d.forward = convolve
    qwen_vae.QwenImageRMS_norm.forward = normalize
    try:
        yield
    finally:
        qwen_vae.QwenImageCausalConv3d.forward, qwen_vae.QwenImageRMS_norm.forward = kept


def encode(vae: AutoencoderKLQwenImage, pictures: torch.Tensor) -> torch.Tensor:
    """Means and log-variances [n, 32, height / 8, width / 8] of pictures [n, 3, height, width]."""
    return vae.quant_conv(vae.encoder(pictures[:, :, None]))[:, :, 0]


def decode(vae: AutoencoderKLQwenImage, latents: torch.Tensor) -> torch.Tensor:
    return vae.decoder(vae.post_quant_conv(latents[:, :, None]))[:, :, 0].float()


def autoencoder_part(vae: AutoencoderKLQwenImage, recipe: Recipe) -> Part:
    """Encoder and decoder together."""

    def loss(step: int, draw: torch.Generator) -> torch.Tensor:
        pictures, near = _batch(step, recipe.steps, draw)
        with torch.autocast("cpu", torch.bfloat16):
            mean, log_variance = encode(vae, pictures).float().chunk(2, 1)
            log_variance = log_variance.clamp(-12, 4)
            noise = torch.randn(mean.shape, generator=draw)
            made = decode(vae, mean + noise * (0.5 * log_variance).exp())
        divergence = 0.5 * (mean.square() + log_variance.exp() - 1 - log_variance).mean()
        return difference(made, pictures, near) + KL_WEIGHT * divergence

    return Part(vae, loss, _sheet)


def decoder_part(vae: AutoencoderKLQwenImage, recipe: Recipe) -> Part:
    """The decoder alone, for latents that stay as they are."""
    vae.requires_grad_(False)
    vae.decoder.requires_grad_(True)
    vae.post_quant_conv.requires_grad_(True)
    spread = torch.tensor(vae.config.latents_std).view(1, -1, 1, 1)

    def loss(step: int, draw: torch.Generator) -> torch.Tensor:
        pictures, near = _batch(recipe.steps, recipe.steps, draw)
        with torch.autocast("cpu", torch.bfloat16):
            with torch.no_grad():
                mean = encode(vae, pictures).float().chunk(2, 1)[0]
            noise = torch.randn(mean.shape, generator=draw)
            made = decode(vae, mean + DECODER_NOISE * spread * noise)
        return difference(made, pictures, near)

    return Part(vae, loss, _sheet)


def _batch(step: int, steps: int, draw: torch.Generator) -> tuple[torch.Tensor, torch.Tensor]:
    """Pictures and where their rims are."""
    if step < CROP_SHARE * steps:
        scenes = draw_anywhere(CROP_BATCH, SIZES[0], draw)
        pictures = _crops(paint(scenes, SIZES[0]), scenes, draw)
    else:
        size = SIZES[int(torch.randint(len(SIZES), (1,), generator=draw))]
        pictures = paint(draw_anywhere(WHOLE_BATCH, size, draw), size)
    return pictures, rims(pictures)


def _crops(pictures: torch.Tensor, scenes: Scenes, draw: torch.Generator) -> torch.Tensor:
    """A cut-out of each picture whose middle lies near the shape's rim."""
    height, width = pictures.shape[2:]
    angle = torch.rand(len(scenes), generator=draw) * 2 * torch.pi
    reach = (
        1.3 * scenes.radius * min(height, width) * torch.rand(len(scenes), generator=draw).sqrt()
    )
    left = scenes.across * width + reach * angle.cos() - CROP / 2
    top = scenes.down * height + reach * angle.sin() - CROP / 2
    left, top = left.clamp(0, width - CROP).int(), top.clamp(0, height - CROP).int()
    corners = zip(pictures, top.tolist(), left.tolist(), strict=True)
    return torch.stack([one[:, y : y + CROP, x : x + CROP] for one, y, x in corners])


def rims(pictures: torch.Tensor) -> torch.Tensor:
    """1 within RIM_REACH pixels of an edge, else 0: [n, 1, height, width]."""
    side = 2 * RIM_REACH + 1
    highest = F.max_pool2d(pictures, side, 1, RIM_REACH)
    lowest = -F.max_pool2d(-pictures, side, 1, RIM_REACH)
    return ((highest - lowest).amax(1, keepdim=True) > 0.1).float()


def difference(made: torch.Tensor, true: torch.Tensor, near: torch.Tensor) -> torch.Tensor:
    """L1 and L2 of pictures [n, 3, height, width]; pixels near a rim count more."""
    weight = 1 + RIM_WEIGHT * near
    off = (made - true).abs()
    return ((off + off.square()) * weight / weight.mean()).mean()


def measure_statistics(vae: AutoencoderKLQwenImage, draw: torch.Generator) -> None:
    """Put mean and spread of each latent channel into the configuration, from 384 pictures."""
    with torch.no_grad(), single_frames():
        means = [
            encode(vae, paint(draw_anywhere(32, SIZES[0], draw), SIZES[0])).chunk(2, 1)[0]
            for _ in range(12)
        ]
    latents = torch.cat(means)
    vae.register_to_config(
        latents_mean=[round(float(value), 5) for value in latents.mean((0, 2, 3))],
        latents_std=[round(float(value), 5) for value in latents.std((0, 2, 3))],
    )


def reconstruction_scores(vae: AutoencoderKLQwenImage, count: int, size: Size, seed: int) -> str:
    """What is seen on reconstructions, and their distance to the truth, as a line of text."""
    draw = torch.Generator().manual_seed(seed)
    scenes = draw_anywhere(count, size, draw)
    pictures = paint(scenes, size)
    with torch.no_grad(), single_frames():
        means = [encode(vae, some).chunk(2, 1)[0] for some in pictures.split(8)]
        made = torch.cat([decode(vae, some) for some in means]).clamp(-1, 1)
    seen = " ".join(f"{name} {share:.3f}" for name, share in shares(made, scenes).items())
    return f"{size[0]}x{size[1]}: {seen} {decibels(made, pictures):.1f} dB"


def _sheet(vae: AutoencoderKLQwenImage, folder: Path) -> str:
    draw = torch.Generator().manual_seed(1)
    pictures = paint(draw_anywhere(12, SIZES[0], draw), SIZES[0])
    with single_frames():
        made = decode(vae, encode(vae, pictures).chunk(2, 1)[0])
    write_sheet([*pictures, *made], 12, folder / "sheet.png")
    return reconstruction_scores(vae, 48, SIZES[0], 2)
