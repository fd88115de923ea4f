"""What must be settled before transformers, peft or a pipeline of diffusers is imported."""

import logging
import warnings

from studio.torch_companions import hide_broken_companions


def prepare_libraries() -> None:
    """Make the libraries importable and quiet. Call it before the first import of transformers."""
    hide_broken_companions()
    silence_libraries()


def silence_libraries() -> None:
    """No progress bars and no advice for developers on stderr; errors still raise."""
    from diffusers.utils import logging as diffusers_logging
    from transformers.utils import logging as transformers_logging

    for library in (diffusers_logging, transformers_logging):
        library.set_verbosity(logging.CRITICAL)
        library.disable_progress_bar()
    for name in ("diffusers", "transformers", "peft", "accelerate", "torch"):
        warnings.filterwarnings("ignore", module=rf"{name}(\.|$)")
