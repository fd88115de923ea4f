"""Demo weights: tiny checkpoints of the real architectures, built on the spot.

What is trained comes with the studio (`assets/demo_weights`), the rest is random.

Each family is an ordinary diffusers folder at `<home>/demo/<family>/`, with its LoRAs in `loras/`,
what draws its control maps in `control/` and, as the sign that it is whole, `demo.json`.
"""

import json
import shutil
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from pkgutil import resolve_name

from safetensors import SafetensorError

from studio.errors import MissingWeights
from studio.families import FAMILIES
from studio.home import Home

# Raised whenever the files change, so that a newer studio rebuilds what an older one left.
FORMAT = 4
MARK = "demo.json"

# A build takes seconds; an unfinished folder of this age was left by one that was killed.
ABANDONED_AFTER_S = 600


def ensure_demo(home: Home, family: str) -> Path:
    """The demo folder of a family of `studio.families`, built or rebuilt where it is not whole.

    Takes seconds the first time. Several processes may call it at once. Raises MissingWeights
    where the folder cannot be written, KeyError for an unknown family.
    """
    folder = home.demo / family
    if not is_whole(folder):
        try:
            _rebuild(folder, _writer(family))
        # safetensors has an error of its own for a disk that is full.
        except (OSError, SafetensorError) as error:
            reason = error.strerror if isinstance(error, OSError) else error
            raise MissingWeights(
                f"The demo weights could not be written to '{home.demo}' ({reason}):"
                " free some space there, or choose another home folder."
            ) from error
    return folder


def demo_lora(home: Home, family: str, name: str) -> Path:
    """The demo LoRA `name` of a family. Raises MissingWeights where it has none of that name."""
    path = ensure_demo(home, family) / "loras" / f"{name}.safetensors"
    if not path.is_file():
        raise MissingWeights(
            f"The demo weights of '{family}' have no LoRA '{name}': choose another."
        )
    return path


def is_whole(folder: Path) -> bool:
    """Whether `folder` is a finished build of this format with every file at its full size."""
    try:
        mark = json.loads((folder / MARK).read_text())
        return bool(mark["format"] == FORMAT and mark["files"] == _sizes(folder))
    except (OSError, ValueError, KeyError, TypeError):
        return False


def _writer(family: str) -> Callable[[Path], None]:
    writer: Callable[[Path], None] = resolve_name(FAMILIES[family].demo)
    return writer


def _rebuild(folder: Path, write: Callable[[Path], None]) -> None:
    """Build beside `folder`, then rename: others see a whole folder or none."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    _clear_abandoned(folder.parent)
    workshop = Path(tempfile.mkdtemp(prefix=".building-", dir=folder.parent))
    try:
        new = workshop / "new"
        write(new)
        mark = {"format": FORMAT, "files": _sizes(new)}
        (new / MARK).write_text(json.dumps(mark, indent=2))
        _swap_in(new, folder, workshop / "old")
    finally:
        shutil.rmtree(workshop, ignore_errors=True)


def _swap_in(new: Path, folder: Path, old: Path) -> None:
    """Put `new` at `folder`, unless another process has finished the same build first."""
    try:
        if folder.exists() and not is_whole(folder):
            folder.rename(old)
        new.rename(folder)
    except OSError:
        if not is_whole(folder):
            raise


def _clear_abandoned(parent: Path) -> None:
    for workshop in parent.glob(".building-*"):
        with suppress(FileNotFoundError):  # its own process may finish just now
            if time.time() - workshop.stat().st_mtime > ABANDONED_AFTER_S:
                shutil.rmtree(workshop, ignore_errors=True)


def _sizes(folder: Path) -> dict[str, int]:
    """Bytes of each file below `folder` by its relative path."""
    return {
        path.relative_to(folder).as_posix(): path.stat().st_size
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name != MARK
    }
