"""torchvision and torchaudio beside a torch without CUDA, where their binaries cannot be loaded.

The wheels of the package registry are built for CUDA. Both engines meet them: diffusers runs
without torchvision, ComfyUI imports both when it starts and needs only their Python parts.
"""

import importlib
import importlib.util
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

COMPANIONS = ("torchvision", "torchaudio")

_MISSING_OPERATORS = ("nms", "qnms")
"""What torchvision gives meta kernels to at import without asking whether its binary is there."""

_SIGNATURE = "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor"


def importable(name: str) -> bool:
    """Whether the module can be imported. One that fails midway leaves no half of itself behind."""
    try:
        importlib.import_module(name)
    # A library for another torch fails in whatever way its binary fails.
    except Exception:
        _forget(name)
        return False
    return True


def hide_broken_companions() -> None:
    """Where torchvision or torchaudio cannot be imported, act as if it were not installed.

    transformers imports them wherever they are found, and a broken one takes it down.
    """
    for name in COMPANIONS:
        if not importable(name):
            # Python's own way to say that a module is not there; find_spec honours it too.
            sys.modules[name] = None  # type: ignore[assignment]


def import_python_parts() -> None:
    """Import torchvision and torchaudio, without their binaries where those cannot be loaded.

    transforms, resampling and spectrograms work; detection operators (nms, roi_align) do not.
    Undoes `hide_broken_companions`. Raises ImportError where one is not installed.
    """
    for name in COMPANIONS:
        if sys.modules.get(name, ModuleType("")) is None:
            del sys.modules[name]
    if not importable("torchvision"):
        _declare_operators()
        importlib.import_module("torchvision")
    if not importable("torchaudio"):
        with _without_binaries("torchaudio"):
            importlib.import_module("torchaudio")


def _forget(name: str) -> None:
    for module in [one for one in sys.modules if one.split(".")[0] == name]:
        del sys.modules[module]


def _declare_operators() -> None:
    import torch

    for name in _MISSING_OPERATORS:
        if not hasattr(torch.ops.torchvision, name):
            torch.library.define(f"torchvision::{name}", _SIGNATURE)


@contextmanager
def _without_binaries(name: str) -> Iterator[None]:
    """torchaudio looks for its binaries with `Path.glob` and runs without any that it misses."""
    spec = importlib.util.find_spec(name)
    if spec is None or spec.origin is None:
        raise ImportError(f"{name} is not installed")
    folder, glob = Path(spec.origin).parent / "lib", Path.glob

    def glob_elsewhere(self: Path, *patterns: Any, **options: Any) -> Iterator[Path]:  # noqa: ANN401
        return iter(()) if self == folder else glob(self, *patterns, **options)

    Path.glob = glob_elsewhere  # type: ignore[assignment, method-assign]
    try:
        yield
    finally:
        Path.glob = glob  # type: ignore[method-assign]
