"""Depth maps of a clip, seen by Depth Anything V2."""

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn.functional import interpolate

from studio.control_maps import depth_levels
from studio.media_clips import Frames
from studio.torch_estimators import Done, batches, load_estimator, load_reader


def depth_maps(folder: Path, frames: Frames, size: tuple[int, int], done: Done) -> Frames:
    """Near is bright, over the range of the whole clip: uint8 [n, height, width, 3].

    `size` is the width and height of the maps, whatever those of the frames. Raises
    MissingWeights, and what `done` raises.
    """
    return depth_levels(_nearness(folder, frames, size, done))


@torch.no_grad()
def _nearness(
    folder: Path, frames: Frames, size: tuple[int, int], done: Done
) -> NDArray[np.float32]:
    """The estimator's inverse depth [n, height, width]; only its order has a meaning."""
    model = load_estimator("DepthAnythingForDepthEstimation", folder)
    read = load_reader("DPTImageProcessorPil", folder)
    seen = []
    for batch in batches(frames, done):
        depth = model(pixel_values=read(batch).to(model.device)).predicted_depth
        # On the CPU, where every torch has the filter that keeps thin things when they shrink.
        larger = depth[:, None].cpu()
        scaled = interpolate(larger, size=size[::-1], mode="bicubic", antialias=True)
        seen.append(scaled[:, 0].numpy())
    return np.concatenate(seen)
