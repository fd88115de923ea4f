"""How a whole LTX-2.3 checkpoint in Lightricks' own layout is told from other files."""

from collections.abc import Iterable

_MARKS = (
    "model.diffusion_model.patchify_proj.",
    "model.diffusion_model.audio_patchify_proj.",
    # LTX-2 is without this one.
    "model.diffusion_model.prompt_adaln_single.",
    "model.diffusion_model.video_embeddings_connector.",
    "text_embedding_projection.",
    "vae.decoder.",
    "audio_vae.decoder.",
    "vocoder.",
)
"""One key at least begins with each of these."""


def is_ltx_single_file(keys: Iterable[str]) -> bool:
    """Whether a safetensors header's keys are those of a file with all parts but Gemma."""
    missing = set(_MARKS)
    for key in keys:
        missing -= {mark for mark in missing if key.startswith(mark)}
        if not missing:
            return True
    return False
