"""The studio's home folder: where outputs, inputs, weights and the job table live."""

import os
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Home:
    """Paths below one home folder. Nothing is created until somebody writes there."""

    root: Path

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
        """Files in the making and latents of unfinished jobs, on the same disk as `outputs`."""
        return self.root / "scratch"

    @property
    def database(self) -> Path:
        return self.root / "jobs.sqlite3"

    @property
    def engine_lock(self) -> Path:
        """Held by the one process that runs a job: one engine holds the GPU at a time."""
        return self.root / "engine.lock"


def home_at(path: str | os.PathLike[str] | None = None) -> Home:
    """The home at `path`, else at `AIO_HOME`, else `~/aio-studio`."""
    chosen = path or os.environ.get("AIO_HOME") or Path.home() / "aio-studio"
    return Home(Path(chosen).expanduser().absolute())
