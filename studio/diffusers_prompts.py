"""Prompt embeddings kept by what they were made from: a new seed does not encode again."""

from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import TypeVar, cast

import torch

Embeddings = tuple[torch.Tensor | None, ...]
"""What a text encoder made of one prompt, in the order that its pipeline takes it."""

E = TypeVar("E", bound=Embeddings)

MOST_ENTRIES = 32
MOST_BYTES = 2**30
"""Qwen's longest prompt makes 7 MB; one of LTX, with all layers of its text encoder, 385 MB."""


class PromptCache:
    """The last embeddings, in main memory; those unused for longest go first."""

    def __init__(self) -> None:
        self._kept: OrderedDict[Hashable, Embeddings] = OrderedDict()

    def get(self, key: Hashable, encode: Callable[[], E], device: torch.device | str) -> E:
        """The embeddings of `key` on `device`, from `encode()` where they are not kept."""
        if key not in self._kept:
            self._kept[key] = _moved(encode(), "cpu")
            while len(self._kept) > 1 and self._is_full():
                self._kept.popitem(last=False)
        self._kept.move_to_end(key)
        return cast(E, _moved(self._kept[key], device))

    def clear(self) -> None:
        """Forget all of them."""
        self._kept.clear()

    def _is_full(self) -> bool:
        kept = self._kept.values()
        size = sum(part.nbytes for entry in kept for part in entry if part is not None)
        return len(kept) > MOST_ENTRIES or size > MOST_BYTES


def _moved(embeddings: Embeddings, device: torch.device | str) -> Embeddings:
    return tuple(None if part is None else part.to(device) for part in embeddings)
