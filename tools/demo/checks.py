"""What a transformer in training makes of scenes it was never shown, for its log and its sheet."""

from pathlib import Path

import torch
from demo.bank import Aspect, build_bank
from demo.judging import shares
from demo.prompts import Prompts
from demo.sampling import sample, show
from demo.sheets import write_sheet
from demo.transformer import draw_batch, edit_batch
from diffusers import AutoencoderKLQwenImage

SEED = 77
GROUPS, STEPS = 12, 8
SHOWN = 12
"""Columns of the sheet: two rows of drawings, one of what is edited, one of the edits."""


class Checks:
    """Scores by pixels of drawings and edits, eight steps each, the same every time."""

    def __init__(
        self, vae: AutoencoderKLQwenImage, prompts: Prompts, drawn: int = 48, edited: int = 24
    ) -> None:
        self._vae, self._prompts, self._drawn, self._edited = vae, prompts, drawn, edited
        draw = torch.Generator().manual_seed(SEED)
        square = (128, 128)
        self._drawn_bank = build_bank(vae, Aspect(square, None, GROUPS), draw)
        self._edited_bank = build_bank(vae, Aspect(square, square, GROUPS), draw)

    def __call__(self, model: torch.nn.Module, folder: Path) -> str:
        draw = torch.Generator().manual_seed(SEED)
        drawn = draw_batch(self._drawn_bank, self._prompts, self._drawn, draw, unprompted=0)
        edited = edit_batch(self._edited_bank, self._prompts, self._edited, draw, unprompted=0)
        said, pictures = [], []
        for kind, batch in (("draw", drawn), ("edit", edited)):
            made = show(self._vae, sample(model, batch, STEPS, draw), (128, 128))
            seen = shares(made, batch.scenes)
            said.append(" ".join([kind, *(f"{name} {share:.2f}" for name, share in seen.items())]))
            pictures.append(made)
        before = show(self._vae, edited.seen[:SHOWN], (128, 128))
        write_sheet(
            [*pictures[0][: 2 * SHOWN], *before, *pictures[1][:SHOWN]], SHOWN, folder / "sheet.png"
        )
        return " | ".join(said)
