"""A cache of the Hub that others own, made writable: a second tree over the same bytes.

A Space's `preload_from_hub` files belong to the user that built the image, so nothing can be
added beside them. The mirror's folders are ours, its blobs are the same files. It must be there
before any library reads HF_HOME, so nothing is imported here that could.
"""

import os
from collections.abc import MutableMapping
from pathlib import Path

from studio import disk
from studio.errors import BadInput

_BIG = {"blobs", "snapshots"}
_SKIPPED = {".locks"}


def use_writable_cache(home: Path, environ: MutableMapping[str, str] = os.environ) -> None:
    """Where a part of the Hub's cache cannot be written, has a mirror of it in `home` used instead.

    A Space's cache is filled before its start, by another user. Must run before any library reads
    HF_HOME. Raises BadInput.
    """
    own = Path(environ.get("HF_HOME") or Path.home() / ".cache" / "huggingface") / "hub"
    if "HF_HUB_CACHE" in environ or not own.is_dir():
        return
    if all(os.access(folder, os.W_OK) for folder in (own, *own.glob("*--*"))):
        return
    mirror_cache(own, home / "huggingface" / "hub")
    environ["HF_HOME"] = str(home / "huggingface")


def mirror_cache(source: Path, target: Path) -> None:
    """Mirrors huggingface_hub's cache folder `source` (`…/hub`) at `target`, made if needed.

    Blobs become hard links, or symbolic links where the system refuses (another disk, another
    owner's file); links stay links; refs and notes are copied, for they are written anew. What
    `target` has already is left as it is, so a second call only compares names. Raises BadInput.
    """
    with disk.disk_errors(target, BadInput):
        _mirror(source.absolute(), target.absolute(), source.absolute(), big=False)


def _mirror(folder: Path, target: Path, root: Path, big: bool) -> None:
    """`big` is true inside the folders whose files are linked, not copied."""
    target.mkdir(parents=True, exist_ok=True)
    with os.scandir(target) as entries:
        here = {entry.name for entry in entries}
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.name in _SKIPPED or entry.name.endswith(".incomplete"):
                continue
            if entry.is_dir():
                inside = big or entry.name in _BIG
                _mirror(folder / entry.name, target / entry.name, root, inside)
            elif entry.name not in here:
                _bring(entry, target, root, big)


def _bring(entry: "os.DirEntry[str]", folder: Path, root: Path, big: bool) -> None:
    target = folder / entry.name
    if entry.is_symlink():
        target.symlink_to(_way(entry, root))
    elif big and not entry.name.startswith("."):
        _link(Path(entry.path), target)
    else:
        with disk.partial_file(folder) as partial:
            partial.write_bytes(Path(entry.path).read_bytes())
            partial.replace(target)


def _way(entry: "os.DirEntry[str]", root: Path) -> Path:
    """Where a link leads: as it stands inside the cache, in full where it leads out of it."""
    link = Path(entry.path)
    way = link.readlink()
    end = Path(os.path.normpath(link.parent / way))
    return way if end.is_relative_to(root) else end


def _link(source: Path, target: Path) -> None:
    try:
        os.link(source, target)
    except OSError:
        # Whatever the refusal was: a symbolic link needs no right but to the folder, and if that
        # is missing it says so itself.
        target.symlink_to(source)
