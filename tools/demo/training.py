"""One loop for every part: seeded, resumable, with averaged weights, a log and sample sheets."""

import copy
import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from demo.optimizing import MuonAndAdamW

WARM_UP_STEPS = 100
FINAL_RATE = 0.03  # of the highest
SAVE_SECONDS = 60.0


@dataclass(frozen=True)
class Recipe:
    """How one part is trained."""

    steps: int
    rate: float
    """The highest learning rate; it rises linearly, then falls along a cosine."""
    average: float
    """Decay of the exponential moving average that is kept as the result."""
    seed: int
    sheet_every: int
    """Steps from one sample sheet to the next."""
    weight_decay: float = 1e-4


@dataclass(frozen=True)
class Part:
    """What is trained: `loss(step, draw)` of one fresh batch, `sheet(average, folder)`."""

    module: torch.nn.Module
    loss: Callable[[int, torch.Generator], torch.Tensor]
    sheet: Callable[[torch.nn.Module, Path], str]
    """Draws samples into a file and says how good they are, for the log."""


def rate_at(step: int, recipe: Recipe) -> float:
    """Learning rate at a step counted from 0."""
    if step < WARM_UP_STEPS:
        return recipe.rate * (step + 1) / WARM_UP_STEPS
    done = min(1.0, (step - WARM_UP_STEPS) / max(1, recipe.steps - WARM_UP_STEPS))
    return recipe.rate * (FINAL_RATE + (1 - FINAL_RATE) * 0.5 * (1 + math.cos(math.pi * done)))


def train(part: Part, recipe: Recipe, folder: Path) -> torch.nn.Module:
    """Train until `recipe.steps`, from the checkpoint in `folder` if there is one.

    Returns the averaged weights as a module of their own. The same steps come out whether the
    run was interrupted or not.
    """
    folder.mkdir(parents=True, exist_ok=True)
    run = _Run(part, recipe, folder)
    run.resume()
    while run.step < recipe.steps:
        run.take_step()
        if run.step % recipe.sheet_every == 0 or run.step == recipe.steps:
            run.report()
    run.save()
    return run.average


class _Run:
    def __init__(self, part: Part, recipe: Recipe, folder: Path) -> None:
        self.part, self.recipe, self.folder = part, recipe, folder
        named = {name: one for name, one in part.module.named_parameters() if one.requires_grad}
        self.trained = list(named.values())
        self.average = copy.deepcopy(part.module)
        self.optimizer = MuonAndAdamW(named, recipe.rate, recipe.weight_decay)
        self.step, self.seconds, self.loss_sum, self.loss_count = 0, 0.0, 0.0, 0
        self.saved = time.monotonic()

    def take_step(self) -> None:
        started = time.monotonic()
        self.optimizer.set_rate(rate_at(self.step, self.recipe))
        draw = torch.Generator().manual_seed(self.recipe.seed * 1_000_003 + self.step)
        loss = self.part.loss(self.step, draw)
        self.optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.trained, 1.0)
        self.optimizer.step()
        self.step += 1
        self._average()
        self.loss_sum += loss.item()
        self.loss_count += 1
        self.seconds += time.monotonic() - started
        if time.monotonic() - self.saved > SAVE_SECONDS:
            self.save()

    @torch.no_grad()
    def _average(self) -> None:
        decay = min(self.recipe.average, (1 + self.step) / (10 + self.step))
        averaged = [
            mean
            for mean, one in zip(
                self.average.parameters(), self.part.module.parameters(), strict=True
            )
            if one.requires_grad
        ]
        torch._foreach_lerp_(averaged, [one.detach() for one in self.trained], 1 - decay)

    def report(self) -> None:
        mean = self.loss_sum / max(1, self.loss_count)
        self.loss_sum, self.loss_count = 0.0, 0
        self.average.eval()
        with torch.no_grad():
            said = self.part.sheet(self.average, self.folder)
        line = f"step {self.step} {self.seconds:.0f} s loss {mean:.4f} {said}"
        with (self.folder / "log.txt").open("a") as log:
            log.write(line + "\n")

    def state(self) -> dict[str, Any]:
        return {
            "step": self.step,
            "seconds": self.seconds,
            "module": self.part.module.state_dict(),
            "average": self.average.state_dict(),
            "optimizer": self.optimizer.state_dict(),
        }

    def save(self) -> None:
        new = self.folder / "checkpoint.new"
        torch.save(self.state(), new)
        new.replace(self.folder / "checkpoint.pt")
        self.saved = time.monotonic()

    def resume(self) -> None:
        path = self.folder / "checkpoint.pt"
        if not path.is_file():
            return
        state = torch.load(path, weights_only=True)
        self.part.module.load_state_dict(state["module"])
        self.average.load_state_dict(state["average"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.step, self.seconds = state["step"], state["seconds"]
