"""Which implementation of attention the denoiser uses."""

import logging
from typing import TYPE_CHECKING

from studio.errors import BadInput

if TYPE_CHECKING:
    from diffusers import ModelMixin

logger = logging.getLogger(__name__)

NATIVE = "native"
"""torch's own, which every model and machine has."""

# What backends raise where their package is missing, or a model asks for what they lack.
_REFUSALS = (RuntimeError, ValueError, TypeError, ImportError, OSError)


class Attention:
    """The backend that AIO_ATTENTION asks for, and native where that cannot be."""

    def __init__(self, word: str) -> None:
        """Takes diffusers' name of a backend, "auto" or nothing. Raises BadInput for others."""
        self._asked = _requested(word)
        self._used = NATIVE

    def apply(self, denoiser: "ModelMixin") -> None:
        """Let a denoiser that was just loaded use it; where it cannot be had, that is logged.

        SDXL's UNet has attention of its own, and takes no notice.
        """
        self._used = NATIVE
        if self._asked == NATIVE:
            return
        try:
            denoiser.set_attention_backend(self._asked)
            self._used = self._asked
        except _REFUSALS as error:
            logger.warning("Attention '%s' cannot be had, native is used: %s", self._asked, error)

    def retreat(self, denoiser: "ModelMixin", error: Exception) -> bool:
        """Go back to native, if another backend may be what failed. Whether a new try is due."""
        if self._used == NATIVE or not isinstance(error, _REFUSALS):
            return False
        logger.warning("Attention '%s' failed, native is used from now on: %s", self._used, error)
        denoiser.set_attention_backend(NATIVE)
        self._asked = self._used = NATIVE
        return True


def _requested(word: str) -> str:
    if word in ("", "auto", NATIVE):
        return NATIVE
    # Its libraries must be prepared before this import.
    from diffusers.models.attention_dispatch import AttentionBackendName

    known = sorted(backend.value for backend in AttentionBackendName)
    if word not in known:
        raise BadInput(
            f"AIO_ATTENTION cannot be '{word}': set it to 'auto' or one of {', '.join(known)}."
        )
    return word
