"""The latent upsampler from a folder and from its makers' file."""

import json

import pytest
import torch
from safetensors.torch import load_file, save_file

from studio.diffusers_upsampler import load_upsampler
from studio.errors import MissingWeights
from studio.torch_device import Device
from studio.weights_demo import ensure_demo

CPU = Device("cpu", torch.float32)


@pytest.fixture
def folder(demo_home):
    return ensure_demo(demo_home, "ltx-2.3") / "latent_upsampler"


@pytest.fixture
def file(folder, tmp_path):
    """The same in its makers' form: one file, sizes in its metadata under their names."""
    config = json.loads((folder / "config.json").read_text())
    told = {name: config[name] for name in config if not name.startswith(("_", "rational", "use"))}
    told |= {
        "_class_name": "LatentUpsampler",
        "spatial_scale": config["rational_spatial_scale"],
        "rational_resampler": config["use_rational_resampler"],
    }
    path = tmp_path / "upscaler.safetensors"
    (weights,) = folder.glob("*.safetensors")
    save_file(load_file(weights), path, {"config": json.dumps(told)})
    return path


def test_file_and_folder_upsample_alike(folder, file):
    latents = torch.randn((1, 32, 2, 2, 2), generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        from_folder, from_file = (load_upsampler(one, CPU)(latents) for one in (folder, file))
    assert torch.equal(from_folder, from_file) and from_file.shape[-2:] == (4, 4)


@pytest.mark.parametrize("lost", ["metadata", "tensor", "bytes"])
def test_file_that_is_no_upsampler_is_named(file, lost):
    tensors = load_file(file)
    if lost == "metadata":
        save_file(tensors, file)
    elif lost == "tensor":
        tensors.pop(next(iter(tensors)))
        save_file(tensors, file, {"config": "{}"})
    else:
        file.write_bytes(file.read_bytes()[:-1])
    with pytest.raises(MissingWeights, match=r"'upscaler.safetensors' is no latent upscaler"):
        load_upsampler(file, CPU)


@pytest.mark.parametrize("folder", [None, "nowhere"])
def test_missing_upsampler_is_said(tmp_path, folder):
    with pytest.raises(MissingWeights, match="one stage"):
        load_upsampler(folder and tmp_path / folder, CPU)
