"""Runs of the video modes on the demo weights, for the tests that look at them."""

import itertools
import wave
from dataclasses import replace

import numpy as np
from PIL import Image

from studio.diffusers_setup import prepare_libraries

prepare_libraries()

import torch  # noqa: E402

from studio import sizes  # noqa: E402
from studio.diffusers_video import LtxRunner  # noqa: E402
from studio.media_clips import load_frames, write_clip  # noqa: E402
from studio.media_sound import Sound  # noqa: E402
from studio.modes import DECODE, MODES, SAVE, UPSCALE, Stage  # noqa: E402
from studio.plan import Anchor, Clip, ControlClip, Edges, LoraUse, Plan, SoundTrack  # noqa: E402
from studio.presets import Sampling  # noqa: E402
from studio.progress import Progress  # noqa: E402
from studio.torch_device import Device  # noqa: E402
from studio.weights import installed  # noqa: E402
from studio.weights_demo import ensure_demo  # noqa: E402

CPU = Device("cpu", torch.float32)
CLIP_MODES = ("t2v", "i2v", "a2v", "lipsync", "keyframe", "style")
SIDE = 128
"""Two stages and a reference at half size need multiples of 128."""
FPS, FRAMES = 24, 9
CELLS = (SIDE // sizes.LATENT_PIXELS) ** 2
"""Tokens of a latent frame in the second stage; the first has a quarter of them."""
LATENT_FRAMES = 2
TONE_HERTZ = 1000

SHORT = (
    Sampling(2, "euler", "distilled", (1.0, 0.725)),
    Sampling(1, "euler", "distilled", (0.5,)),
)
"""Two stages in three steps, for all tests that are not about the presets."""
TINY = {"sampling": SHORT[:1], "width": 64, "height": 64}
"""One stage of the same size as the first of two, where a second one would add nothing."""


class ClipRuns:
    """The runner, warm, and what users bring: pictures, a sound, a clip with and without one."""

    def __init__(self, home, folder):
        ensure_demo(home, "ltx-2.3")
        self.weights = installed(home, "ltx-2.3")[0]
        self.runner = LtxRunner(self.weights, CPU)
        self.media = folder
        self._numbers = itertools.count()
        _write_media(folder)

    def plan(self, mode_id, preset=None, clip=None, sampling=SHORT, loras=(), **changes):
        """A plan as the studio makes it, small; `clip` and `changes` replace parts of it."""
        mode = MODES[mode_id]
        sampling = mode.presets[preset].sampling if preset else sampling
        plan = Plan(
            mode=mode_id,
            engine="diffusers",
            weights=self.weights,
            preset=preset or "fast",
            stages=(*mode.stages, *_sampling_stages(len(sampling)), DECODE, SAVE),
            prompt="a red circle moves left",
            negative="blurry",
            seed=7,
            width=SIDE,
            height=SIDE,
            sampling=sampling,
            loras=tuple(loras),
            task=replace(Clip(FRAMES, FPS, **self._brought(mode_id)), **(clip or {})),
        )
        return replace(plan, **changes)

    def make(self, plan, emit=lambda event: None, scratch=None):
        """Run the plan in a folder of its own, unless one is given."""
        scratch = scratch or self.media / f"run{next(self._numbers)}"
        scratch.mkdir(exist_ok=True)
        return self.runner.make(plan, Progress(plan, emit), scratch)

    def lora(self, name, strength=1.0):
        return LoraUse(name, self.weights.adapter(name), strength)

    def denoiser_calls(self):
        return Calls(self.runner._pipeline.transformer)

    def _brought(self, mode_id):
        first = {"first": Anchor(self.media / "first.png", 1.0)}
        last = {"last": Anchor(self.media / "last.png", 1.0)}
        sound = {"sound": SoundTrack(self.media / "sound.wav", None)}
        control = {"control": ControlClip(self.media / "video.mp4", Edges(92, 200), 1.0, 2)}
        return {
            "t2v": {},
            "i2v": first,
            "a2v": sound,
            "lipsync": first | sound,
            "keyframe": first | last,
            "style": first | control,
        }[mode_id]


def _sampling_stages(count):
    stages = [Stage(f"sample{number}", "Sampling") for number in range(1, count + 1)]
    return [stages[0], *(one for stage in stages[1:] for one in (UPSCALE, stage))]


def _write_media(folder):
    for name, seed in (("first", 1), ("last", 2)):
        noise = np.random.default_rng(seed).integers(0, 256, (6, 8, 3), dtype=np.uint8)
        Image.fromarray(noise).resize((160, 120)).save(folder / f"{name}.png")
    _write_wav(folder / "sound.wav", tone(0.5))
    moving = np.zeros((12, 96, 128, 3), np.uint8)
    for number, frame in enumerate(moving):
        frame[20:70, 10 + 5 * number : 50 + 5 * number] = 230
    write_clip(folder / "video.mp4", moving, FPS, tone(0.5), {})
    write_clip(folder / "silent.mp4", moving, FPS, None, {})


def tone(seconds, rate=44_100):
    time = np.arange(round(seconds * rate)) / rate
    left = (0.5 * np.sin(2 * np.pi * TONE_HERTZ * time)).astype(np.float32)
    return Sound(np.stack([left, 0.5 * left]), rate)


def _write_wav(path, sound):
    with wave.open(str(path), "wb") as file:
        file.setnchannels(sound.channels)
        file.setsampwidth(2)
        file.setframerate(sound.rate)
        file.writeframes((sound.samples.T * 32767).astype("<i2").tobytes())


class Calls:
    """What a module is called with, while the block lasts."""

    def __init__(self, module):
        self.module, self.arguments = module, []

    def __enter__(self):
        self._hook = self.module.register_forward_pre_hook(
            lambda _, args, kwargs: self.arguments.append(kwargs), with_kwargs=True
        )
        return self

    def __exit__(self, *_):
        self._hook.remove()

    def __len__(self):
        return len(self.arguments)

    def each(self, name):
        return [call[name] for call in self.arguments]


def frames_of(path):
    return load_frames(path, FPS, 1000)


def tone_share(sound):
    """How much of the sound's power lies within 30 Hz of the tone."""
    samples = sound.samples.mean(axis=0)
    power = np.abs(np.fft.rfft(samples * np.hanning(len(samples)))) ** 2
    frequencies = np.fft.rfftfreq(len(samples), 1 / sound.rate)
    return power[np.abs(frequencies - TONE_HERTZ) < 30].sum() / power.sum()


class Fault:
    """Makes a module fail the first `times` calls."""

    def __init__(self, module, error, times=1):
        self._left, self._error = times, error
        self._hook = module.register_forward_pre_hook(self._call)

    def _call(self, *_):
        if self._left:
            self._left -= 1
            raise self._error

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._hook.remove()
