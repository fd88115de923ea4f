"""Where huggingface_hub keeps a file, so that every library finds what the studio has fetched.

Layout (https://huggingface.co/docs/huggingface_hub/guides/manage-cache): `blobs/<etag>` has the
content, `snapshots/<commit>/<path>` leads to it, `refs/<revision>` names the commit.
"""

import stat
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from studio import disk
from studio.hub_file import HubFile
from studio.safetensors_header import BrokenHeader, ShortFile, read_safetensors_header
from studio.weights_link import is_whole, link_into

# Enough for one try at a lock; the waiting is done between the tries.
_LOCK_SECONDS = 0.01


@dataclass(frozen=True)
class Remote:
    """A file as the Hub describes it at one commit."""

    file: HubFile
    url: str
    commit: str
    etag: str
    """SHA-256 of an LFS file, git's SHA-1 of a small one; names the blob."""
    size: int

    @property
    def folder(self) -> Path:
        return _repository(self.file)

    @property
    def blob(self) -> Path:
        return self.folder / "blobs" / self.etag

    @property
    def partial(self) -> Path:
        """The name that huggingface_hub 0.x resumes too; later ones leave it alone."""
        return self.blob.with_name(f"{self.etag}.incomplete")

    @property
    def lock(self) -> Path:
        """The lock that huggingface_hub itself takes to fetch this blob."""
        return self.folder.parent / ".locks" / self.folder.name / f"{self.etag}.lock"


def cache_folder() -> Path:
    """huggingface_hub's cache, from HF_HUB_CACHE or HF_HOME as it read them itself."""
    from huggingface_hub import constants

    return Path(constants.HF_HUB_CACHE).expanduser()


def cached(file: HubFile) -> Path | None:
    """The file in the cache, whole by its size and header; the Hub is not asked.

    A branch means the commit that it had when the file was fetched.
    """
    from huggingface_hub import try_to_load_from_cache

    found = try_to_load_from_cache(
        file.repo, file.path, cache_dir=cache_folder(), revision=file.revision
    )
    path = Path(found) if isinstance(found, str) else None
    return path if path is not None and is_whole(path, file.bytes) else None


def has_blob(remote: Remote) -> bool:
    """Whether the content is in the cache, perhaps under another commit."""
    if not is_whole(remote.blob, remote.size):
        return False
    if not remote.file.path.endswith(".safetensors"):
        return True
    try:
        return read_safetensors_header(remote.blob).needed == remote.size
    except (OSError, BrokenHeader, ShortFile):
        return False


def bytes_here(remote: Remote) -> int:
    """What is in the cache of a file that may be half fetched."""
    if has_blob(remote):
        return remote.size
    return min(remote.size, max(_leftovers(remote).values(), default=0))


@contextmanager
def locked(remote: Remote, wait: Callable[[], None]) -> Iterator[None]:
    """Nobody else fetches this blob meanwhile. `wait` is called until that is so, and may raise."""
    from filelock import Timeout
    from huggingface_hub.utils import WeakFileLock  # type: ignore[attr-defined]

    remote.lock.parent.mkdir(parents=True, exist_ok=True)
    with ExitStack() as held:
        while True:
            with suppress(Timeout):
                held.enter_context(WeakFileLock(remote.lock, timeout=_LOCK_SECONDS))
                break
            wait()
        yield


def claim_partial(remote: Remote) -> Path:
    """The file to go on writing, with the most that a dead download left; call under the lock.

    huggingface_hub never looks again at what a killed process of its own left. A blob that is cut
    short is gone on with too, unless other names lead to the same bytes.
    """
    remote.blob.parent.mkdir(parents=True, exist_ok=True)
    sizes = _leftovers(remote)
    leftovers = sorted(sizes, key=lambda path: sizes[path])
    if leftovers:
        leftovers.pop().replace(remote.partial)
    for path in (*leftovers, remote.blob):
        path.unlink(missing_ok=True)
    return remote.partial


def publish(remote: Remote) -> Path:
    """Shows a whole blob to all libraries; returns its path in the snapshot. Raises OSError."""
    pointer = remote.folder / "snapshots" / remote.commit / Path(*remote.file.path.split("/"))
    link_into(remote.blob, pointer)
    if remote.file.revision != remote.commit:
        reference = remote.folder / "refs" / remote.file.revision
        with disk.partial_file(reference.parent) as partial:
            partial.write_text(remote.commit)
            partial.replace(reference)
    return pointer


def _leftovers(remote: Remote) -> dict[Path, int]:
    """The sizes of what dead downloads of this blob wrote, of files with no second name."""
    sizes = {}
    for path in (*remote.blob.parent.glob(f"{remote.etag}*.incomplete"), remote.blob):
        with suppress(FileNotFoundError):  # a download that lives may be done just now
            status = path.lstat()
            if stat.S_ISREG(status.st_mode) and status.st_nlink == 1:
                sizes[path] = status.st_size
    return sizes


def _repository(file: HubFile) -> Path:
    return cache_folder() / "--".join(("models", *file.repo.split("/")))
