"""Where models lie on this machine: the studio's folder, those of other programs, the Hub's cache.

AIO_MODELS names folders of an existing ComfyUI, or its `models` folders. What such a ComfyUI says
in `extra_model_paths.yaml` counts too. Nothing is moved or fetched again that lies in one of them.
"""

import functools
import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path

from studio.errors import BadInput
from studio.home import Home
from studio.hub_file import HubFile
from studio.registry import Model, ModelFolder
from studio.weights_hub_cache import cached
from studio.weights_link import is_whole

SAME_FOLDER: Mapping[str, tuple[str, ...]] = {
    "diffusion_models": ("diffusion_models", "unet"),
    "text_encoders": ("text_encoders", "clip"),
}
"""Names that ComfyUI has for one folder, the newer first."""

EXTRA_PATHS = "extra_model_paths.yaml"

ENDING = ".safetensors"


def find(home: Home, model: Model) -> Path | None:
    """The model on this machine, whole by its size and headers, or None."""
    if isinstance(model, ModelFolder):
        return _find_folder(home, model)
    for path in _called(home, model.folder, model.name):
        if is_whole_model(path):
            return path
    return cached(model.source)


def damaged(home: Home, model: Model) -> Path | None:
    """A file of the model's name that is cut short or empty, where no whole one is here."""
    if isinstance(model, ModelFolder) or find(home, model) is not None:
        return None
    return next(iter(_called(home, model.folder, model.name)), None)


def folders(home: Home, kind: str) -> tuple[Path, ...]:
    """The folders for a kind of models that are there, the studio's own first."""
    found = [home.models / name for name in SAME_FOLDER.get(kind, (kind,))]
    for root in _other_roots(home):
        found += [root / name for name in SAME_FOLDER.get(kind, (kind,))]
    for place in home.others:
        found += _extra_paths(place / EXTRA_PATHS, kind)
    return tuple(dict.fromkeys(path for path in found if path.is_dir()))


def names_in(home: Home, kind: str) -> dict[str, Path]:
    """Every safetensors file of a kind by its place in its folder, with forward slashes.

    Of two with one name the first counts, as in `folders`.
    """
    found: dict[str, Path] = {}
    for folder in folders(home, kind):
        for place, _, names in sorted(os.walk(folder, followlinks=True)):
            for path in (Path(place, name) for name in sorted(names) if name.endswith(ENDING)):
                found.setdefault(path.relative_to(folder).as_posix(), path)
    return found


def target(home: Home, model: Model) -> Path:
    """Where the studio keeps the model itself."""
    return home.models / model.folder / model.name


def _called(home: Home, kind: str, name: str) -> Iterator[Path]:
    """Files of that name, the outermost first; a link that leads nowhere is none."""
    places = folders(home, kind)
    for folder in places:
        if (folder / name).is_file():
            yield folder / name
    for folder in places:
        for place, _, names in os.walk(folder, followlinks=True):
            if name in names and Path(place) != folder:
                yield Path(place, name)


def _find_folder(home: Home, model: ModelFolder) -> Path | None:
    for folder in folders(home, model.folder):
        if _is_whole_folder(folder / model.name, model):
            return folder / model.name
    index = cached(HubFile(model.repo, model.index, model.revision))
    if index is None:
        return None
    # The top of its snapshot in the Hub's cache.
    found = index.parents[model.index.count("/")]
    return found if _is_whole_folder(found, model) else None


def _is_whole_folder(folder: Path, model: ModelFolder) -> bool:
    """Whether every part that is wanted, or that its index names, is there, and whole."""
    try:
        names = model.parts or tuple(_parts(folder / model.index))
        parts = [folder / name for name in names] or [folder]
        return (folder / model.index).is_file() and all(map(_has_its_shards, parts))
    # An index that is cut short, or of something else.
    except (OSError, ValueError, LookupError, AttributeError, TypeError):
        return False


def _parts(index: Path) -> Iterator[str]:
    """The folders that a pipeline's `model_index.json` names; none for a single model."""
    content = json.loads(index.read_text(encoding="utf-8")) if index.stem == "model_index" else {}
    for name, entry in content.items():
        # [library, class]; one that the pipeline does without is [null, null].
        if isinstance(entry, list) and len(entry) == 2 and all(entry):
            yield name


def _has_its_shards(part: Path) -> bool:
    """Also of a part that has none, as a tokenizer or scheduler; a network tells by its config."""
    if not part.is_dir():
        return False
    wanted = {path for path in part.glob(f"*{ENDING}")}
    for index in part.glob(f"*{ENDING}.index.json"):
        names = json.loads(index.read_text(encoding="utf-8"))["weight_map"].values()
        wanted |= {part / name for name in names}
    if not wanted and (part / "config.json").is_file():
        return (part / "tokenizer_config.json").is_file()
    return all(is_whole_model(path) for path in wanted)


def is_whole_model(path: Path) -> bool:
    """Whether the file is there and not cut short; each state of a file is looked at once."""
    try:
        status = path.stat()
    except OSError:
        return False
    return _was_whole(path, status.st_size, status.st_mtime_ns)


@functools.lru_cache(maxsize=4096)
def _was_whole(path: Path, size: int, changed: int) -> bool:
    return is_whole(path)


def _other_roots(home: Home) -> Iterator[Path]:
    for place in home.others:
        yield place / "models" if (place / "models").is_dir() else place


def _extra_paths(file: Path, kind: str) -> Iterator[Path]:
    """The folders of a kind that a file of ComfyUI's format names. Raises BadInput."""
    if not file.is_file():
        return
    import yaml

    try:
        sections = yaml.safe_load(file.read_text(encoding="utf-8")) or {}
        for section in filter(None, sections.values()):
            base = Path(os.path.expandvars(section.get("base_path", ""))).expanduser()
            for name in SAME_FOLDER.get(kind, (kind,)):
                lines = (line.strip() for line in section.get(name, "").splitlines())
                yield from (file.parent / base / line for line in lines if line)
    except (OSError, yaml.YAMLError, AttributeError) as error:
        raise BadInput(f"The file {file} cannot be read: mend it, or move it away.") from error
