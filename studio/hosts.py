"""Where the studio runs, and what differs there: one entry a host, told by the environment."""

import os
from collections.abc import Mapping, MutableMapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

HostId = Literal["local", "space", "zero", "modal-notebook", "modal-app"]


@dataclass(frozen=True)
class Host:
    """One kind of place to run in."""

    id: HostId
    label: str
    homes: tuple[str, ...] = ()
    """Patterns of folders that outlive the container; the first that can be written is the home.

    Where there is none, it is `~/aio-studio`.
    """
    on_volume: bool = False
    """Whether the home is a network volume, and all else is lost with the container.

    Then the Hub's cache goes into the home. SQLite and locks are not to be trusted there, so the
    job table and what is in the making stay on the container's own disk.
    """
    strangers: bool = False
    """Whether others than the owner open the page, which then tells nothing of the machine."""
    preloads: bool = False
    """Whether the Hub's cache was filled before the start, by another user."""
    installs: bool = False
    """Whether the chosen engine is installed at the start: nobody can do it by hand."""
    prunes: bool = False
    """Whether old outputs are deleted, because the disk is small and nobody looks after it."""
    framed: bool = False
    """Whether the page is shown in a frame of another site, which keeps usual cookies away."""
    lends_gpu: bool = False
    """Whether a GPU is lent for single calls, each at the expense of the visitor who asks."""


_SPACE: Any = {
    "homes": ("/data",),
    "strangers": True,
    "preloads": True,
    "installs": True,
    "prunes": True,
    "framed": True,
}

HOSTS: Mapping[HostId, Host] = {
    host.id: host
    for host in (
        Host("local", "this machine"),
        Host("space", "a Space", **_SPACE),
        Host("zero", "a ZeroGPU Space", **_SPACE, lends_gpu=True),
        # The volume whose name says what it is for goes before any other.
        Host("modal-notebook", "a Modal notebook", ("/mnt/*models*", "/mnt/*"), on_volume=True),
        Host("modal-app", "a Modal app", ("/mnt/*",), on_volume=True, strangers=True),
    )
}


def this_host(environ: Mapping[str, str] = os.environ) -> Host:
    """The host that the environment tells of.

    Modal sets MODAL_TASK_ID in every container, a notebook's kernel being one, and
    MODAL_IS_REMOTE only where an app's function runs
    (https://modal.com/docs/guide/environment_variables). On a user's own machine there may be a
    MODAL_PROFILE or MODAL_TOKEN_ID, which say nothing.
    """
    if environ.get("MODAL_IS_REMOTE") == "1":
        return HOSTS["modal-app"]
    if environ.get("MODAL_TASK_ID"):
        return HOSTS["modal-notebook"]
    if environ.get("SPACE_ID"):
        on_zero = environ.get("SPACES_ZERO_GPU", "").lower() in ("1", "t", "true")
        return HOSTS["zero" if on_zero else "space"]
    return HOSTS["local"]


def root_of(host: Host, root: Path = Path("/")) -> Path:
    """The host's own place for the home; `root` is where its patterns start."""
    found = (
        place for pattern in host.homes for place in sorted(root.glob(pattern.removeprefix("/")))
    )
    writable = (place for place in found if place.is_dir() and os.access(place, os.W_OK))
    return next(writable, own_disk())


def own_disk() -> Path:
    """The studio's folder on the machine's own disk."""
    return Path.home() / "aio-studio"


def keep_hub_cache(host: Host, home: Path, environ: MutableMapping[str, str] = os.environ) -> None:
    """Has the Hub's cache in the home, where all else is lost and the user has not chosen.

    Must run before any library reads HF_HOME.
    """
    if host.on_volume and not environ.keys() & {"HF_HOME", "HF_HUB_CACHE"}:
        environ["HF_HOME"] = str(home / "huggingface")
