"""What a file says about how it was made: our recipe, or what A1111 and ComfyUI left in theirs."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from studio import disk
from studio.errors import BadInput, EngineFailed
from studio.recipe import Json, Recipe, from_json, parse_json, to_json
from studio.recipe_a1111 import Recovered, a1111_settings
from studio.recipe_comfy import comfy_settings
from studio.recipe_mp4 import mp4_texts
from studio.recipe_png import SIGNATURE, png_texts
from studio.recipe_text import A1111_KEY, COMFY_KEY, COMMENT_KEY, STUDIO_KEY, XMP_KEY, source_type

Source = Literal["aio-studio", "a1111", "comfyui"]

_MOST_LOST = 40
_LONGEST_LOST = 200
"""Entries that nobody reads further than this, from a file that may hold any number."""


@dataclass(frozen=True)
class Found:
    """What could be read out of a file. A foreign value may be one that no control allows."""

    source: Source
    settings: Mapping[str, Json]
    """By our field names. Of our own files: `params` with the seed that was used."""
    recipe: Recipe | None = None
    """Only of our own files."""
    lost: tuple[str, ...] = ()
    """What the file says and no control here can take, as short texts for the user."""


def read_recipe(path: Path) -> Found:
    """The recipe in a PNG or MP4 file of this studio, A1111 or ComfyUI.

    Raises BadInput for a file of another kind, one without a recipe, and a damaged one.
    """
    with disk.disk_errors(path, BadInput):
        texts = _texts(path)
    if STUDIO_KEY in texts:
        recipe = from_json(texts[STUDIO_KEY])
        return Found("aio-studio", {**recipe.params, "seed": recipe.seed}, recipe)
    found = _foreign(texts)
    if found is None:
        raise BadInput(
            f"'{path.name}' carries no recipe: it was not made by AIO Studio, A1111 or ComfyUI,"
            " or its recipe was removed on the way."
        )
    return found


def verify_recipe(path: Path, recipe: Recipe) -> None:
    """Reads a written file back. Raises EngineFailed unless the recipe and AI mark are in it."""
    try:
        with disk.disk_errors(path, BadInput):
            texts = _texts(path)
        whole = to_json(from_json(texts.get(STUDIO_KEY, ""))) == to_json(recipe)
    except BadInput as error:
        raise _not_in(path) from error
    if not whole or source_type(recipe) not in texts.get(XMP_KEY, ""):
        raise _not_in(path)


def _not_in(path: Path) -> EngineFailed:
    return EngineFailed(
        f"The recipe could not be read back from {path.name}: check the disk and run this again."
    )


def _texts(path: Path) -> dict[str, str]:
    with path.open("rb") as file:
        head = file.read(8)
    if head == SIGNATURE:
        return png_texts(path)
    if head[4:] == b"ftyp":
        return mp4_texts(path)
    raise BadInput(
        f"'{path.name}' is neither a PNG picture nor an MP4 video: only those carry a recipe."
    )


def _foreign(texts: Mapping[str, str]) -> Found | None:
    for key, source, read in _FOREIGN:
        recovered = read(texts[key]) if key in texts else None
        if recovered is not None:
            settings, lost = recovered
            short = tuple(one[:_LONGEST_LOST] for one in lost[:_MOST_LOST])
            return Found(source, settings, lost=short)
    return None


def _comfy_text(text: str) -> Recovered | None:
    return comfy_settings(_object(text))


def _comfy_comment(text: str) -> Recovered | None:
    """VideoHelperSuite's `comment`: JSON with the graph, as text again, under `prompt`."""
    graph = _object(text).get(COMFY_KEY)
    return comfy_settings(_object(graph) if isinstance(graph, str) else graph)


def _object(text: str) -> Mapping[str, Json]:
    """The JSON object in `text`; empty for other texts, which any program may have left there."""
    value = parse_json(text) if text.lstrip().startswith("{") else None
    return value if isinstance(value, Mapping) else {}


_FOREIGN: tuple[tuple[str, Source, Callable[[str], Recovered | None]], ...] = (
    (A1111_KEY, "a1111", a1111_settings),
    (COMFY_KEY, "comfyui", _comfy_text),
    (COMMENT_KEY, "comfyui", _comfy_comment),
)
