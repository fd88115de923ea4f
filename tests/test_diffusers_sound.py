"""Sound into latents and back, on the demo weights."""

import numpy as np
import pytest

from studio.diffusers_setup import prepare_libraries

prepare_libraries()

import torch  # noqa: E402
from diffusers import AutoencoderKLLTX2Audio  # noqa: E402
from diffusers.pipelines.ltx2 import LTX2VocoderWithBWE  # noqa: E402

from studio import sizes  # noqa: E402
from studio.diffusers_sound import decode_sound, encode_sound, log_mel  # noqa: E402
from studio.errors import EngineFailed  # noqa: E402
from studio.media_sound import Sound  # noqa: E402
from studio.weights_demo import ensure_demo  # noqa: E402

RATE, HOP, BINS = 16_000, 160, 64


@pytest.fixture(scope="module")
def audio_vae(demo_home):
    folder = ensure_demo(demo_home, "ltx-2.3")
    return AutoencoderKLLTX2Audio.from_pretrained(folder / "audio_vae").requires_grad_(False)


@pytest.fixture(scope="module")
def vocoder(demo_home):
    folder = ensure_demo(demo_home, "ltx-2.3")
    return LTX2VocoderWithBWE.from_pretrained(folder / "vocoder").requires_grad_(False)


def tone(seconds, hertz=440.0, loudness=0.5):
    time = np.arange(round(seconds * RATE)) / RATE
    wave = (loudness * np.sin(2 * np.pi * hertz * time)).astype(np.float32)
    return Sound(np.stack([wave, wave]), RATE)


def mel_of(sound):
    return log_mel(torch.from_numpy(sound.samples), RATE, BINS, HOP).numpy()


def test_log_mel_has_a_frame_for_every_hop_and_one_more():
    assert mel_of(tone(1.0)).shape == (2, 101, BINS)


def test_log_mel_of_silence_is_the_floor():
    assert mel_of(tone(0.5, loudness=0.0)) == pytest.approx(np.log(1e-5))


def test_log_mel_finds_higher_tones_higher_up():
    peaks = [int(mel_of(tone(1.0, hertz))[0, 50].argmax()) for hertz in (200, 800, 3000, 7000)]
    assert peaks == sorted(set(peaks))


def test_log_mel_is_the_magnitude_not_the_power():
    loud, quiet = (mel_of(tone(1.0, loudness=value))[0, 50].max() for value in (0.8, 0.08))
    assert loud - quiet == pytest.approx(np.log(10), abs=1e-3)


def test_log_mel_equals_slaneys_recipe_written_out():
    """Reflected ends, periodic Hann window, magnitudes, triangles of equal area in mel."""
    sound = Sound(np.random.default_rng(0).normal(0, 0.1, (1, 4000)).astype(np.float32), RATE)
    padded = np.pad(sound.samples[0].astype(float), 512, mode="reflect")
    window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(1024) / 1024)
    starts = range(0, 4000 + 1, HOP)
    magnitudes = np.abs([np.fft.rfft(padded[start : start + 1024] * window) for start in starts])
    expected = np.log(np.maximum(magnitudes @ slaney_bank(), 1e-5))
    assert mel_of(sound)[0] == pytest.approx(expected, abs=1e-3)


def slaney_bank():
    """Linear up to 1 kHz, 15 mels; then 27 mels to each factor of 6.4. [513, BINS]"""
    to_hertz = np.vectorize(lambda m: m * 200 / 3 if m < 15 else 1000 * 6.4 ** ((m - 15) / 27))
    edges = to_hertz(np.linspace(0, 15 + 27 * np.log(8) / np.log(6.4), BINS + 2))
    lower, centre, upper = edges[:-2], edges[1:-1], edges[2:]
    frequencies = np.linspace(0, RATE / 2, 513)[:, None]
    rising = (frequencies - lower) / (centre - lower)
    falling = (upper - frequencies) / (upper - centre)
    return np.maximum(0, np.minimum(rising, falling)) * 2 / (upper - lower)


@pytest.mark.parametrize(("frames", "fps"), [(9, 24), (17, 25), (49, 30), (73, 24), (33, 8)])
def test_encode_sound_makes_the_latents_of_the_clip(audio_vae, frames, fps):
    count = sizes.audio_latent_count(frames, fps)
    sound = tone(count / sizes.AUDIO_LATENTS_PER_SECOND)
    latents = encode_sound(audio_vae, sound, count, "cpu")
    assert latents.shape[2] == count
    assert latents.dtype == torch.float32
    assert torch.isfinite(latents).all()


def test_encode_sound_tells_sounds_apart_and_repeats_itself(audio_vae):
    first, again, other = (
        encode_sound(audio_vae, tone(1.0, hertz), 25, "cpu") for hertz in (440, 440, 880)
    )
    assert torch.equal(first, again)
    assert not torch.allclose(first, other)


def test_encode_sound_hears_nothing_of_what_comes_later(audio_vae):
    """The audio VAE is causal, so the first latents do not depend on how long a sound is."""
    long, short = (
        encode_sound(audio_vae, tone(2.0), 10, "cpu"),
        encode_sound(audio_vae, tone(1.0), 10, "cpu"),
    )
    assert torch.allclose(long, short, atol=1e-5)


def test_decode_sound_lasts_as_long_as_its_latents(audio_vae, vocoder):
    latents = torch.randn((1, 2, 25, 4), generator=torch.Generator().manual_seed(0))
    sound = decode_sound(audio_vae, vocoder, latents)
    assert (sound.rate, sound.channels) == (48_000, 2)
    assert sound.seconds == pytest.approx(1.0, abs=0.04)
    assert sound.samples.dtype == np.float32
    assert 0 < np.abs(sound.samples).max() <= 1


def test_decode_sound_refuses_what_is_no_number(audio_vae, vocoder):
    with pytest.raises(EngineFailed):
        decode_sound(audio_vae, vocoder, torch.full((1, 2, 10, 4), torch.nan))
