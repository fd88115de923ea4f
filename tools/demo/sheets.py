"""Sample sheets: pictures side by side in one PNG."""

from collections.abc import Sequence
from pathlib import Path

import torch
from PIL import Image

GAP = 4


def write_sheet(pictures: Sequence[torch.Tensor], columns: int, path: Path) -> None:
    """Pictures [3, height, width] in -1 … 1, row by row in cells as large as the largest."""
    height = max(picture.shape[1] for picture in pictures) + GAP
    width = max(picture.shape[2] for picture in pictures) + GAP
    rows = -(-len(pictures) // columns)
    sheet = Image.new("RGB", (columns * width + GAP, rows * height + GAP), "#d8d8d8")
    for number, picture in enumerate(pictures):
        row, column = divmod(number, columns)
        sheet.paste(to_image(picture), (column * width + GAP, row * height + GAP))
    sheet.save(path)


def to_image(picture: torch.Tensor) -> Image.Image:
    """[3, height, width] in -1 … 1."""
    numbers = ((picture.float().clamp(-1, 1) + 1) * 127.5).round().byte()
    return Image.fromarray(numbers.permute(1, 2, 0).contiguous().numpy())
