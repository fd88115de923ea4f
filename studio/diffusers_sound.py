"""Sound into the audio VAE's latents, and latents into sound."""

import numpy as np
import torch
from diffusers import AutoencoderKLLTX2Audio
from diffusers.pipelines.ltx2 import LTX2Vocoder, LTX2VocoderWithBWE
from transformers.audio_utils import mel_filter_bank

from studio.media_sound import Sound
from studio.torch_latents import require_finite

# The front end of LTX-2's audio VAE: filter length and the quietest magnitude (ltx-core).
FFT_LENGTH = 1024
QUIETEST = 1e-5


def encode_sound(
    audio_vae: AutoencoderKLLTX2Audio, sound: Sound, count: int, device: str
) -> torch.Tensor:
    """The first `count` latents of 1/25 s, float32 [1, channels, count, mel bins / 4], on `device`.

    Not normalised. The sound lasts that long at least, and has the audio VAE's rate and channels.
    """
    config = audio_vae.config
    samples = torch.from_numpy(sound.samples)
    mel = log_mel(samples, sound.rate, config.mel_bins, config.mel_hop_length)
    posterior = audio_vae.encode(mel[None].to(device, audio_vae.dtype)).latent_dist
    latents: torch.Tensor = posterior.mode()[:, :, :count].float()
    return latents


def decode_sound(
    audio_vae: AutoencoderKLLTX2Audio,
    vocoder: LTX2Vocoder | LTX2VocoderWithBWE,
    latents: torch.Tensor,
) -> Sound:
    """The sound of latents as `encode_sound` makes them, at the vocoder's own rate.

    Raises EngineFailed for samples that are no numbers.
    """
    mel = audio_vae.decode(latents.to(audio_vae.dtype), return_dict=False)[0]
    wave = vocoder(mel.to(vocoder.dtype))[0].float()
    require_finite({"samples": wave})
    return Sound(wave.clamp(-1, 1).cpu().numpy(), vocoder.config.output_sampling_rate)


def log_mel(samples: torch.Tensor, rate: int, bins: int, hop: int) -> torch.Tensor:
    """Logarithm of the mel magnitudes [channels, 1 + n // hop, bins] of samples [channels, n].

    Slaney's scale and norm, as torchaudio's MelSpectrogram with power 1, which is not needed.
    """
    bank = mel_filter_bank(
        num_frequency_bins=FFT_LENGTH // 2 + 1,
        num_mel_filters=bins,
        min_frequency=0.0,
        max_frequency=rate / 2,
        sampling_rate=rate,
        norm="slaney",
        mel_scale="slaney",
    )
    window = torch.hann_window(FFT_LENGTH)
    spectrum = torch.stft(samples, FFT_LENGTH, hop, window=window, return_complex=True)
    mel = spectrum.abs().mT @ torch.from_numpy(bank.astype(np.float32))
    return mel.clamp(min=QUIETEST).log()
