"""The studio's home folder: where outputs, inputs, weights and the job table live."""

import os
from dataclasses import dataclass
from pathlib import Path

from studio.hosts import own_disk, root_of, this_host


@dataclass(frozen=True)
class Home:
    """Paths below one home folder. Nothing is created until somebody writes there."""

    root: Path
    state: Path | None = None
    """A folder on the machine's own disk for the job table, the lock and `scratch`, where `root`
    is a network volume; by default they are in `root`, too.
    """

    @property
    def outputs(self) -> Path:
        """Finished files, `YYYY-MM-DD/HHMMSS_<mode>_<seed>.<ext>`."""
        return self.root / "outputs"

    @property
    def inputs(self) -> Path:
        """Uploaded media by content hash."""
        return self.root / "inputs"

    @property
    def models(self) -> Path:
        """Weights in ComfyUI's folder layout, and diffusers folders under `diffusers/`."""
        return self.root / "models"

    @property
    def demo(self) -> Path:
        """Demo weights, built on first use."""
        return self.root / "demo"

    @property
    def comfyui(self) -> Path:
        """ComfyUI's own folder: `AIO_COMFYUI`, else the one that the studio installs."""
        return Path(os.environ.get("AIO_COMFYUI") or self.root / "comfyui").expanduser()

    @property
    def scratch(self) -> Path:
        """Files in the making and latents of unfinished jobs."""
        return self._own / "scratch"

    @property
    def database(self) -> Path:
        return self._own / "jobs.sqlite3"

    @property
    def database_copy(self) -> Path | None:
        """A copy of the job table that outlives the container, where the table does not."""
        return self.root / "jobs-copy.sqlite3" if self.state else None

    @property
    def engine_lock(self) -> Path:
        """Held by the one process that runs a job: one engine holds the GPU at a time."""
        return self._own / "engine.lock"

    @property
    def others(self) -> tuple[Path, ...]:
        """The folders of AIO_MODELS, and the ComfyUI that is used."""
        named = os.environ.get("AIO_MODELS", "").split(os.pathsep)
        return (*(Path(one).expanduser() for one in named if one), self.comfyui)

    @property
    def places(self) -> tuple[Path, ...]:
        """The folders that all others of the studio are in."""
        return (self.root, self._own, *self.others)

    @property
    def _own(self) -> Path:
        return self.state or self.root


def home_at(path: str | os.PathLike[str] | None = None) -> Home:
    """The home at `path`, else at `AIO_HOME`, else where the host keeps files: `~/aio-studio` on
    a machine of one's own.
    """
    host = this_host()
    root = Path(path or os.environ.get("AIO_HOME") or root_of(host)).expanduser().absolute()
    apart = host.on_volume and root != own_disk()
    return Home(root, own_disk() / root.name if apart else None)
