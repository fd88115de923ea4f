"""Makes a trial's picture as a user would: a request, a plan, an engine, a file."""

import tempfile
from pathlib import Path

import numpy as np
import torch
from demo.scoring import Trial
from demo.sheets import to_image
from PIL import Image

from studio.diffusers_engine import DiffusersEngine
from studio.home import Home
from studio.planning import plan_request
from studio.request import read_request
from studio.weights import DEMO


class StudioMaker:
    """One mode with one preset on the demo weights of a home; `loras` as `FILE:STRENGTH`."""

    def __init__(self, home: Home, mode: str, preset: str) -> None:
        self._home, self._mode, self._preset = home, mode, preset
        self.loras: tuple[str, ...] = ()
        self._engine = DiffusersEngine()

    def __call__(self, trial: Trial) -> torch.Tensor:
        """[3, height, width] in -1 … 1."""
        with tempfile.TemporaryDirectory() as folder:
            raw = self._raw(trial, Path(folder))
            (plan,) = plan_request(read_request(self._home, self._mode, raw))
            path = self._engine.run(plan, lambda event: None, Path(folder))
            with Image.open(path) as image:
                levels = np.asarray(image.convert("RGB"), dtype=np.float32)
        return torch.from_numpy(levels / 127.5 - 1).permute(2, 0, 1)

    def _raw(self, trial: Trial, folder: Path) -> dict[str, object]:
        height, width = trial.size
        common = {
            "prompt": trial.prompt,
            "seed": trial.seed,
            "preset": self._preset,
            "weights": DEMO,
            "loras": list(self.loras),
        }
        if trial.source is None:
            return common | {"width": width, "height": height}
        source = folder / "source.png"
        to_image(trial.source).save(source)
        return common | {"image": [str(source)]}
