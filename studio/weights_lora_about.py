"""What a LoRA file tells of itself: its model, rank and trigger words, by its header alone."""

import json
import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

from studio.weights_lora import LABELS, LoraHeader, lora_family
from studio.weights_lora_header import layers

MOST_TRIGGERS = 5
"""Tags of a training set run into the hundreds; the most frequent are those that trigger."""

_TRIGGER_NOTES = ("modelspec.trigger_phrase", "ss_trigger_words", "trigger_word", "trigger_words")
_SEPARATOR = re.compile(r"\s*[,;]\s*")


@dataclass(frozen=True)
class LoraAbout:
    """`family` is a key of `LABELS`; `ranks` are those of its layers, the smallest first."""

    family: str
    label: str
    ranks: tuple[int, ...]
    layers: int
    triggers: tuple[str, ...]


def about_lora(header: LoraHeader) -> LoraAbout:
    """What the header says."""
    family = lora_family(header)
    found = [layer for layer in layers(header.tensors).values() if layer.down]
    ranks = {header.tensors[layer.down].shape[0] for layer in found}
    return LoraAbout(
        family, LABELS[family], tuple(sorted(ranks)), len(found), _triggers(header.metadata)
    )


def _triggers(metadata: Mapping[str, str]) -> tuple[str, ...]:
    for name in _TRIGGER_NOTES:
        words = [word for word in _SEPARATOR.split(metadata.get(name, "")) if word]
        if words:
            return tuple(words[:MOST_TRIGGERS])
    return _frequent_tags(metadata.get("ss_tag_frequency", ""))


def _frequent_tags(note: str) -> tuple[str, ...]:
    """Of kohya's trainers: counts of tags by the folder of the training set."""
    try:
        counts: Counter[str] = Counter()
        for tags in json.loads(note).values():
            counts.update({str(tag).strip(): int(count) for tag, count in tags.items()})
    except (ValueError, AttributeError, TypeError):
        return ()
    return tuple(tag for tag, _ in counts.most_common(MOST_TRIGGERS))
