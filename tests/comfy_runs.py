"""Runs of the video modes in a real ComfyUI on tiny weights, for the tests that look at them."""

import itertools
from dataclasses import replace

from requests_of_modes import raw_request

from studio.media_clips import load_frames
from studio.modes import MODES
from studio.planning import plan_request
from studio.request import read_request

WIDTH, HEIGHT, FRAMES, FPS = 128, 128, 17, 24
CLIP_MODES = [mode for mode in MODES if "comfy" in MODES[mode].engines]


class ComfyRuns:
    """Plans of a home, shrunk to what a CPU makes in a second, and their runs in an engine."""

    def __init__(self, home, engine, media, folder):
        self.home, self.engine, self.media = home, engine, media
        self._folder = folder
        self._numbers = itertools.count()

    def plan(self, mode, **more):
        """Two steps, then one."""
        raw = {**raw_request(mode, self.media), "engine": "comfy", **more}
        (made,) = plan_request(read_request(self.home, mode, raw))
        sampling = [_short(one, number) for number, one in enumerate(made.sampling)]
        clip = replace(made.task, frames=FRAMES)
        return replace(made, width=WIDTH, height=HEIGHT, task=clip, sampling=tuple(sampling))

    def run(self, plan, emit=lambda event: None, scratch=None):
        """The file and the events of a run in a folder of its own, unless one is given."""
        events = []
        scratch = scratch or self._folder / f"item {next(self._numbers)}"
        scratch.mkdir(exist_ok=True)

        def both(event):
            events.append(event)
            emit(event)

        return self.engine.run(plan, both, scratch), events


def _short(sampling, stage):
    sigmas = sampling.sigmas and ((1.0, 0.7) if stage == 0 else (0.8,))
    return replace(sampling, steps=2, sigmas=sigmas)


def pixels(path):
    return load_frames(path, FPS, FRAMES)
