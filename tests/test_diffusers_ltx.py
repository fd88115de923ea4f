"""How the LTX pipeline is told what to do, and its upsampler."""

import pytest

from studio.diffusers_setup import prepare_libraries

prepare_libraries()

import torch  # noqa: E402

from studio.diffusers_ltx import sampling_arguments  # noqa: E402
from studio.presets import Guidance, Sampling  # noqa: E402
from studio.torch_device import Device  # noqa: E402

CPU = Device("cpu", torch.float32)
FULL, OFF = Guidance(3.0, 1.0, 3.0, 0.7), Guidance()


def guidance_of(picture, sound, blocks=48):
    sampling = Sampling(30, "euler", "dev", guidance=picture, sound_guidance=sound)
    return sampling_arguments(sampling, blocks)


def test_sampling_arguments_keep_a_sound_without_guidance_from_taking_the_pictures():
    told = guidance_of(FULL, OFF)
    assert (told["audio_guidance_scale"], told["audio_modality_scale"]) == (1.0, 1.0)
    for name in ("audio_stg_scale", "audio_guidance_rescale"):
        assert told[name], "0 would be taken for the picture's value"
        assert float(torch.ones(1) * told[name]) == 0.0


def test_sampling_arguments_without_guidance_are_off_altogether():
    told = guidance_of(OFF, OFF)
    assert [told[name] for name in told if "scale" in name and "noise" not in name] == [
        *(1.0, 0.0, 1.0, 0.0),
        *(1.0, 0.0, 1.0, 0.0),
    ]
    assert told["spatio_temporal_guidance_blocks"] is None


@pytest.mark.parametrize(("blocks", "block"), [(48, 28), (29, 28), (3, 2)])
def test_sampling_arguments_perturb_block_28_or_the_last(blocks, block):
    assert guidance_of(FULL, FULL, blocks)["spatio_temporal_guidance_blocks"] == [block]
    assert guidance_of(OFF, FULL, blocks)["spatio_temporal_guidance_blocks"] == [block]
