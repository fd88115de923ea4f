"""The project's documents, taken apart for the tests that hold them to the code."""

import re
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parent.parent
DOCUMENTS = (
    *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md")),
    *sorted((ROOT / "docs").glob("*.md")),
)

_FENCED = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True)
class Block:
    """What stands between two fences, and the text before it, back to the block before."""

    language: str
    code: str
    before: str


def blocks(path):
    text, end, found = path.read_text(), 0, []
    for fenced in _FENCED.finditer(text):
        found.append(Block(fenced[1], fenced[2], text[end : fenced.start()]))
        end = fenced.end()
    return found


def prose(path):
    """The text without its blocks."""
    return _FENCED.sub("", path.read_text())
