"""What must be settled before transformers, peft or a pipeline of diffusers is imported."""

import importlib
import logging
import sys
import warnings


def prepare_libraries() -> None:
    """Make the libraries importable and quiet. Call it before the first import of transformers."""
    hide_broken_torchvision()
    silence_libraries()


def hide_broken_torchvision() -> None:
    """Where torchvision cannot be imported, act as if it were not installed.

    transformers imports it wherever it is found, and one that was built for another torch takes
    transformers and peft down with it; without it they work.
    """
    try:
        importlib.import_module("torchvision")
    # A library for another torch fails in whatever way its binary fails.
    except Exception:
        for name in [name for name in sys.modules if name.split(".")[0] == "torchvision"]:
            del sys.modules[name]
        # Python's own way to say that a module is not there; find_spec honours it too.
        sys.modules["torchvision"] = None  # type: ignore[assignment]


def silence_libraries() -> None:
    """No progress bars and no advice for developers on stderr; errors still raise."""
    from diffusers.utils import logging as diffusers_logging
    from transformers.utils import logging as transformers_logging

    for library in (diffusers_logging, transformers_logging):
        library.set_verbosity(logging.CRITICAL)
        library.disable_progress_bar()
    for name in ("diffusers", "transformers", "peft", "accelerate", "torch"):
        warnings.filterwarnings("ignore", module=rf"{name}(\.|$)")
