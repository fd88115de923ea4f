"""The studio as a Modal app: `modal deploy modal_app.py`. Its guide is docs/modal-app.md.

One container without a GPU serves the page, holds the job table and is the only one that writes
to the volume. Workers with a GPU, as many as jobs wait, make the items and send their files back.
"""

import os
import sys
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import modal

if TYPE_CHECKING:
    # What a container imports is not there where the app is deployed from.
    from fastapi import FastAPI

    from studio.remote_work import Files, Order, Said

# Parameters, read when the app is deployed.
GPUS = os.environ.get("AIO_MODAL_GPU", "L40S").split(",")
SCALEDOWN_SECONDS = int(os.environ.get("AIO_MODAL_SCALEDOWN", "300"))
MOST_WORKERS = int(os.environ.get("AIO_MODAL_MAX_WORKERS", "2"))
VOLUME = os.environ.get("AIO_MODAL_VOLUME", "my-models-volume")
LOGIN = os.environ.get("AIO_MODAL_AUTH", "")

NAME = "aio-studio"
HERE = Path(__file__).parent
MOUNT = "/mnt/my-models-volume"
"""Where a Modal notebook mounts its volume of this name: links in it lead the same way."""
BAKED = "/opt/aio"

LONGEST_ITEM = 3600
"""Seconds; Modal ends a worker's call then."""

TOO_LONG = "It was not done within an hour: choose a smaller size, fewer frames or a faster preset."

INSTALLER = {
    "__init__.py",
    "comfy_clone.py",
    "comfy_install.py",
    "comfy_pins.py",
    "disk.py",
    "errors.py",
    "home.py",
    "hosts.py",
    "packages.py",
}
"""All that the installation of ComfyUI imports: a change elsewhere must not build it anew."""

INSTALL_COMFYUI = (
    "from pathlib import Path; from studio.comfy_install import install;"
    f" from studio.home import Home; install(Home(Path('{BAKED}')), say=print)"
)


def is_no_installer(path: Path) -> bool:
    return path.name not in INSTALLER


image = (
    modal.Image.debian_slim(python_version="3.11")
    .apt_install("git")
    .add_local_file(HERE / "constraints.txt", f"{BAKED}/constraints.txt", copy=True)
    .env({"PIP_CONSTRAINT": f"{BAKED}/constraints.txt"})
    .pip_install_from_requirements(str(HERE / "requirements.txt"))
    .add_local_file(HERE / "requirements-comfy.txt", f"{BAKED}/requirements-comfy.txt", copy=True)
    .add_local_dir(HERE / "studio", f"{BAKED}/studio", copy=True, ignore=is_no_installer)
    .run_commands(f'cd {BAKED} && python -c "{INSTALL_COMFYUI}"')
    .env(
        {
            "AIO_COMFYUI": f"{BAKED}/comfyui",
            "HF_HOME": f"{MOUNT}/huggingface",
            # A container reads this file anew, without the environment of who deployed it.
            "AIO_MODAL_MAX_WORKERS": str(MOST_WORKERS),
            "AIO_MODAL_VOLUME": VOLUME,
        }
    )
    .add_local_python_source("studio", "app")
    .add_local_dir(HERE / "assets", "/root/assets")
    .add_local_dir(HERE / "workflows", "/root/workflows")
)

app = modal.App(NAME, image=image)
# An app of its own: running a script must not start another page on the same volume.
scripts = modal.App(f"{NAME}-scripts", image=image)
volume = modal.Volume.from_name(VOLUME, create_if_missing=True)
cancelled = modal.Dict.from_name("aio-studio-cancelled", create_if_missing=True)
"""Ids of the orders that are to stop. Modal forgets an entry after a week without use."""
hub_token = modal.Secret.from_name("huggingface-secret")
login = modal.Secret.from_dict({"AIO_MODAL_AUTH": LOGIN})


@app.cls(
    gpu=GPUS,
    # Weights pass through main memory on their way to the GPU, and may have to wait there.
    cpu=2.0,
    memory=32 * 1024,
    volumes={MOUNT: volume},
    timeout=LONGEST_ITEM,
    startup_timeout=900,
    scaledown_window=SCALEDOWN_SECONDS,
    max_containers=MOST_WORKERS,
    enable_memory_snapshot=True,
)
class Worker:
    """One GPU, one item at a time. Its weights stay warm until the container goes."""

    @modal.enter(snap=True)
    def import_libraries(self) -> None:
        """Done once for all workers of a deployment, and kept in the snapshot."""
        from studio.diffusers_engine import import_runners

        import_runners()

    @modal.enter(snap=False)
    def start(self) -> None:
        """Done in every container, after the snapshot has been restored."""
        from studio.hosts import own_disk
        from studio.production import Production
        from studio.remote_work import worker_home

        # No file of the volume is open yet; once weights are, Modal would refuse.
        volume.reload()
        self.home = worker_home(Path(MOUNT), own_disk())
        self.production = Production(self.home)

    @modal.method()
    def make(self, order: "Order") -> "Iterator[Said]":
        """Makes one item for the page's runner."""
        from studio.remote_work import serve

        yield from serve(self.production, self.home, order, lambda: cancelled.contains(order.id))

    @modal.method()
    def run(self, mode: str, raw: Mapping[str, object], files: "Files") -> "Iterator[Said]":
        """Makes what a script asks for."""
        from studio.host_modal import run_request

        yield from run_request(self.production, self.home, mode, raw, files)


class GpuWorkers:
    """The page's way to the workers: `remote_work.Workers`."""

    def make(self, order: "Order") -> "Iterator[Said]":
        from studio.errors import EngineFailed

        try:
            yield from Worker().make.remote_gen(order)
        # Unlike the loss of a worker: a second run would take, and cost, as much.
        except modal.exception.FunctionTimeoutError as error:
            raise EngineFailed(TOO_LONG) from error

    def cancel(self, order_id: str) -> None:
        cancelled.put(order_id, True)


def commit() -> None:
    """Has the volume keep what was written. Raises StudioError."""
    from studio.errors import StudioError

    try:
        volume.commit()
    # Modal's client has no one class for a network that is away and a service that refuses.
    except Exception as error:
        raise StudioError("The Modal volume could not keep the files now.") from error


# Gradio's sessions are in memory, so there is one container, and it stays: a job that is handed
# to a worker ends with it.
@app.function(
    volumes={MOUNT: volume},
    secrets=[login],
    cpu=1.0,
    memory=2048,
    min_containers=1,
    max_containers=1,
    timeout=24 * 3600,
)
@modal.concurrent(max_inputs=100)
@modal.asgi_app()
def page() -> "FastAPI":
    """The page, and the only runner of its job table."""
    from app import prepare_gradio, read_login
    from studio.home import home_at
    from studio.remote_work import RemoteWork
    from studio.studio import open_studio, running

    home = home_at(MOUNT)
    prepare_gradio(home)
    from studio.page import build_page, page_app

    studio = open_studio(home, RemoteWork(home, GpuWorkers()), MOST_WORKERS)

    @asynccontextmanager
    async def lifespan(_: object) -> AsyncIterator[None]:
        with running(studio, commit):
            yield

    auth = os.environ.get("AIO_MODAL_AUTH")
    return page_app(
        build_page(studio, strangers=True),
        studio,
        lifespan=lifespan,
        auth=read_login(auth) if auth else None,
    )


@scripts.function(volumes={MOUNT: volume}, secrets=[hub_token], timeout=24 * 3600)
def fetch(mode: str, engine: str = "", variant: str = "") -> None:
    """Brings a mode's models onto the volume: `modal run modal_app.py::fetch --mode t2v`."""
    from studio.cli import main

    wanted = [("--engine", engine), ("--variant", variant)]
    flags = [one for name, value in wanted if value for one in (name, value)]
    status = main(["fetch", mode, "--home", MOUNT, *flags])
    volume.commit()
    if status:
        raise SystemExit(status)


@scripts.local_entrypoint()
def generate(*arguments: str) -> None:
    """For scripts: `modal run modal_app.py::generate --mode t2v --prompt "waves" -o waves.mp4`.

    The deployed app's workers make it: they may be warm, and have a snapshot.
    """
    from studio.cli_request import run_elsewhere
    from studio.errors import StudioError

    worker = modal.Cls.from_name(NAME, "Worker")()
    try:
        status = run_elsewhere(arguments, worker.run.remote_gen, "modal run modal_app.py::generate")
    except StudioError as error:
        sys.stderr.write(f"{error}\n")
        status = 2
    if status:
        raise SystemExit(status)
