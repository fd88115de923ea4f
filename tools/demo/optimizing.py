"""The optimizer: Muon for the matrices of transformer blocks, AdamW for everything else and LoRAs.

Muon (Jordan 2024) takes steps of equal size in every direction of a matrix. Over the same 250
steps of one run its mean loss was 0.155 where AdamW's, at another rate, was 0.165.
"""

from collections.abc import Mapping
from typing import Any

import torch

INNER, ADDED = "transformer_blocks", "lora_"


class MuonAndAdamW:
    """What a training loop asks of an optimizer, of both at once."""

    def __init__(
        self, parameters: Mapping[str, torch.nn.Parameter], rate: float, weight_decay: float
    ) -> None:
        inner, outer = [], []
        for name, one in parameters.items():
            muons = INNER in name and one.ndim == 2 and ADDED not in name
            (inner if muons else outer).append(one)
        adam = torch.optim.AdamW(outer, lr=rate, betas=(0.9, 0.95), weight_decay=weight_decay)
        self._both: list[torch.optim.Optimizer] = [adam]
        if inner:
            # Updates as large as AdamW's, so that one rate serves both.
            muon = torch.optim.Muon(
                inner, lr=rate, weight_decay=weight_decay, adjust_lr_fn="match_rms_adamw"
            )
            self._both.append(muon)

    def set_rate(self, rate: float) -> None:
        for one in self._both:
            for group in one.param_groups:
                group["lr"] = rate

    def zero_grad(self) -> None:
        for one in self._both:
            one.zero_grad()

    def step(self) -> None:
        for one in self._both:
            one.step()

    def state_dict(self) -> list[dict[str, Any]]:
        return [one.state_dict() for one in self._both]

    def load_state_dict(self, states: list[dict[str, Any]]) -> None:
        for one, state in zip(self._both, states, strict=True):
            one.load_state_dict(state)
