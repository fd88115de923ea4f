"""Video latents to pictures, on the demo weights."""

import numpy as np
import pytest

from studio.diffusers_setup import prepare_libraries

prepare_libraries()

import torch  # noqa: E402
from diffusers import AutoencoderKLLTX2Video  # noqa: E402

from studio.diffusers_frames import (  # noqa: E402
    USUAL_TILES,
    Tiles,
    decode_frames,
    fit_colours,
    tile_count,
)
from studio.weights_demo import ensure_demo  # noqa: E402


@pytest.fixture(scope="module")
def vae(demo_home):
    folder = ensure_demo(demo_home, "ltx-2.3")
    return AutoencoderKLLTX2Video.from_pretrained(folder / "vae").requires_grad_(False)


def latents_of(count):
    return torch.randn((1, 32, count, 2, 2), generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("count", [1, 2, 4, 5, 6, 9])
@pytest.mark.parametrize("spans", [Tiles(512, 4, 2), Tiles(512, 5, 3)])
def test_decode_frames_in_spans_makes_every_frame_once(vae, count, spans):
    done = []
    frames = decode_frames(vae, latents_of(count), spans, done.append)
    assert frames.shape == (8 * (count - 1) + 1, 64, 64, 3)
    assert done == list(range(1, tile_count(count, spans) + 1))


def test_decode_frames_in_spans_puts_every_span_in_its_place(vae):
    """Latent k shows frames 8 k - 7 to 8 k, so a span that starts with it shows 8 k first."""
    latents = latents_of(9)
    frames = decode_frames(vae, latents, Tiles(side=512, span=6, overlap=3), lambda _: None)
    first, second = (
        decode_frames(vae, latents[:, :, part], USUAL_TILES, lambda _: None)
        for part in (slice(0, 6), slice(3, 9))
    )
    # The second span's frame 0 is frame 24; 16 frames fade from the one span to the other.
    assert np.array_equal(frames[:25], first[:25])
    assert np.array_equal(frames[41:], second[17:])
    faded = frames[25:41].astype(int)
    ends = np.stack([first[25:41], second[1:17]]).astype(int)
    assert (ends.min(axis=0) - 1 <= faded).all()
    assert (faded <= ends.max(axis=0) + 1).all()
    assert distance(faded[0], ends[0, 0]) < distance(faded[0], ends[1, 0])
    assert distance(faded[-1], ends[1, -1]) < distance(faded[-1], ends[0, -1])


def distance(a, b):
    return np.abs(a.astype(int) - b).mean()


def test_decode_frames_whole_equals_the_decoder(vae):
    latents = latents_of(3)
    pixels = vae.decode(latents, return_dict=False)[0]
    frames = decode_frames(vae, latents, USUAL_TILES, lambda number: None)
    expected = ((pixels[0] + 1) * 127.5).clamp(0, 255).permute(1, 2, 3, 0)
    assert np.abs(frames - expected.numpy()).max() <= 0.51


def test_decode_frames_in_small_tiles_shows_the_same_picture(vae):
    latents = torch.randn((1, 32, 1, 10, 10), generator=torch.Generator().manual_seed(0))
    whole = decode_frames(vae, latents, USUAL_TILES, lambda number: None)
    tiled = decode_frames(vae, latents, Tiles(256, 4, 2), lambda number: None)
    assert distance(whole, tiled) < distance(whole, whole[:, ::-1]) / 2
    assert not vae.use_tiling


def test_preview_colours_are_closer_to_what_the_vae_saw_than_any_one_colour(vae):
    colours = fit_colours(vae, "cpu")
    seen = torch.rand((24, 3), generator=torch.Generator().manual_seed(1)) * 2 - 1
    pictures = seen[:, :, None, None, None].expand(-1, -1, 1, 64, 64)
    latents = vae.encode(pictures).latent_dist.mode()
    cells = (latents - vae.latents_mean.view(-1, 1, 1, 1)) / vae.latents_std.view(-1, 1, 1, 1)
    shown = cells.mean((2, 3, 4)) @ torch.tensor(colours.factors) + torch.tensor(colours.bias)
    error, spread = ((shown - seen) ** 2).mean(), ((seen - seen.mean(0)) ** 2).mean()
    # The demo's encoder is random; a trained one keeps far more of the colour.
    assert error < 0.9 * spread
