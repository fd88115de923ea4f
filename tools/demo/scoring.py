"""Scores of the image modes: held-out prompts through the studio itself, judged by pixels."""

import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from demo.bank import vary
from demo.captions import caption, held_out, instruction, label
from demo.judging import look_at
from demo.shapes import Scenes, Size, coverage, draw_anywhere, paint

from studio.families import QWEN_IMAGE

ATTRIBUTES = ("colour", "background", "shape")
# What the weights must reach, fixed before they were trained.
THRESHOLDS: Mapping[str, Mapping[str, float]] = {
    "image": {"colour": 0.95, "background": 0.98, "shape": 0.85},
    "edit": {"asked": 0.90, "kept": 0.95},
}
# A pixel changed when a channel moved by more than this share of the range.
MOVED = 0.15
# How far from the rims of both shapes the rest begins, in pixels: the decoder's blur ends there.
RIM = 4
DRAWN_SIZES: tuple[Size, ...] = tuple(
    (bucket.height, bucket.width) for bucket in QWEN_IMAGE.demo_canvas.buckets
)
EDITED_SIZES: tuple[Size, ...] = ((128, 128), (128, 128), (96, 128), (128, 96))


@dataclass(frozen=True)
class Trial:
    """One request and what its result must show."""

    prompt: str
    seed: int
    size: Size
    after: Scenes
    """One scene; of a drawing only what it shows counts, not where."""
    before: Scenes | None = None
    asked: str = ""
    """Of an edit: the attribute that is to change."""

    @property
    def source(self) -> torch.Tensor | None:
        """The picture that is edited, [3, height, width] in -1 … 1."""
        return None if self.before is None else paint(self.before, self.size)[0]

    @property
    def truth(self) -> torch.Tensor:
        return paint(self.after, self.size)[0]


def image_trials(count: int, seed: int) -> list[Trial]:
    """Captions that training left out, with a background in each, in turn at every size."""
    trials = []
    for number in range(count):
        size = DRAWN_SIZES[number % len(DRAWN_SIZES)]
        draw, words = _sources(seed, number)
        while True:
            scene = draw_anywhere(1, size, draw)
            text = caption(scene, 0, words)
            if held_out(text) and (" on " in text or "background" in text):
                break
        trials.append(Trial(text, number, size, scene))
    return trials


def edit_trials(count: int, seed: int) -> list[Trial]:
    """Scenes with instructions that training left out for their like; each kind in turn."""
    trials = []
    for number in range(count):
        size = EDITED_SIZES[number % len(EDITED_SIZES)]
        asked = ATTRIBUTES[number % len(ATTRIBUTES)]
        draw, words = _sources(seed, number)
        while True:
            before, recoloured, reshaped, regrounded = vary(draw_anywhere(1, size, draw), draw)
            after = {"colour": recoloured, "shape": reshaped, "background": regrounded}[asked]
            text = instruction(before, after, 0, words)
            if held_out(text, label(before, 0)):
                break
        trials.append(Trial(text, number, size, after, before, asked))
    return trials


def _sources(seed: int, number: int) -> tuple[torch.Generator, random.Random]:
    key = seed * 100_003 + number
    return torch.Generator().manual_seed(key), random.Random(key)


def judge(trial: Trial, picture: torch.Tensor) -> dict[str, float]:
    """0 … 1 for each thing that `THRESHOLDS` names, of a picture [3, height, width] in -1 … 1."""
    seen = look_at(picture)
    right = {
        name: float(getattr(seen, name) == int(getattr(trial.after, name))) for name in ATTRIBUTES
    }
    if trial.before is None:
        return right
    return {"asked": right[trial.asked], "kept": _kept(trial, picture)}


def _kept(trial: Trial, picture: torch.Tensor) -> float:
    """Share of the pixels that should stay and did: of the shape where the background changes,
    else of the background."""
    assert trial.before is not None and trial.source is not None
    moved = (picture - trial.source).abs().amax(0) / 2 > MOVED
    rest = _rest(trial, trial.before)
    return 1 - float(moved[rest].float().mean())


def _rest(trial: Trial, before: Scenes) -> torch.Tensor:
    covers = torch.stack([coverage(one, trial.size)[0] for one in (before, trial.after)])
    if trial.asked == "background":
        return _shrunk(covers.amin(0) >= 1)
    return _shrunk(covers.amax(0) <= 0)


def _shrunk(mask: torch.Tensor) -> torch.Tensor:
    outside = (~mask).float()[None, None]
    return F.max_pool2d(outside, 2 * RIM + 1, 1, RIM)[0, 0] == 0


def mean_scores(trials: Sequence[Trial], pictures: Sequence[torch.Tensor]) -> dict[str, float]:
    """Means over all trials of what `judge` says of their pictures."""
    judged = [judge(trial, picture) for trial, picture in zip(trials, pictures, strict=True)]
    return {name: sum(one[name] for one in judged) / len(judged) for name in judged[0]}


def report(mode: str, scores: Mapping[str, float]) -> Iterator[str]:
    """A line for each score with its threshold."""
    for name, least in THRESHOLDS[mode].items():
        verdict = "reached" if scores[name] >= least else "MISSED"
        yield f"{mode} {name} {scores[name]:.3f} (at least {least:.2f}: {verdict})"


TRIALS: Mapping[str, Callable[[int, int], list[Trial]]] = {
    "image": image_trials,
    "edit": edit_trials,
}
