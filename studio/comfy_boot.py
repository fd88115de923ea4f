"""Starts ComfyUI as a library in this process, beside the studio and its page.

ComfyUI's folder goes to the end of `sys.path`, so none of its names can shadow another module;
`sys.argv` is never read, and its web server is never imported.
"""

import asyncio
import importlib
import logging
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from studio import model_places
from studio.comfy_graph import LATENTS_CLASS, RESCALE_CLASS, RESULT_CLASS
from studio.comfy_install import remember_failed_packs
from studio.comfy_latents import Sampled, latents_node
from studio.comfy_loaders import KINDS
from studio.comfy_rescale import AIOStudioRescale
from studio.comfy_result import Result, result_node
from studio.comfy_server import QuietServer, install_quiet_server
from studio.comfy_vram import set_vram_flags, start_dynamic_vram
from studio.errors import EngineFailed
from studio.home import Home
from studio.torch_companions import import_python_parts

TOP_LEVEL = (
    "comfy",
    "comfy_api",
    "comfy_execution",
    "comfy_extras",
    "comfy_config",
    "nodes",
    "execution",
    "folder_paths",
    "latent_preview",
    "node_helpers",
    "protocol",
)
"""Every top-level name, beside `server`, that ComfyUI takes in this process (v0.33)."""

CACHE_GIGABYTES = {"lru": 0, "ram": 4.0, "ram_inactive": 16.0}
"""Memory that stays free: results of nodes are forgotten, the oldest first, before less is left.
The second number holds for those of earlier jobs. Within the limits of ComfyUI's own start."""


@dataclass(frozen=True)
class ComfyUI:
    """ComfyUI, started. One run at a time: its progress hook and interrupt flag are global."""

    executor: Any
    server: QuietServer
    results: dict[str, Result]
    """What our result node was handed, by job."""
    sampled: dict[str, Sampled]
    """Where our latents node keeps latents, by job."""
    failed_packs: tuple[str, ...]
    """Names of node packs, and of ComfyUI's own node files, that could not be loaded."""


_lock = threading.Lock()
_started: dict[Path, ComfyUI] = {}
"""One entry at most: a process can hold one ComfyUI."""


def boot(home: Home, packs: Sequence[Path] | None = None) -> ComfyUI:
    """ComfyUI, started on the first call, with its folders in `home`; takes seconds.

    `packs` are folders of node packs, None for those in ComfyUI's own `custom_nodes`; one that
    fails is named in `failed_packs`. Raises EngineFailed.
    """
    place = home.comfyui.resolve()
    with _lock:
        if _started and place not in _started:
            raise EngineFailed("Another ComfyUI runs in this process: restart the studio.")
        if place not in _started:
            _started[place] = _start(place, home, _packs_of(place) if packs is None else packs)
    _use_folders(home)
    return _started[place]


def _packs_of(place: Path) -> Sequence[Path]:
    return sorted(init.parent for init in (place / "custom_nodes").glob("[!._]*/__init__.py"))


def _start(place: Path, home: Home, packs: Sequence[Path]) -> ComfyUI:
    if not (place / "execution.py").is_file():
        raise EngineFailed(
            "ComfyUI is not installed: run 'python -m studio comfy install', or choose the engine"
            " 'diffusers'."
        )
    _require_free_names()
    server = install_quiet_server()
    try:
        with _search_path(place):
            import_python_parts()
            _set_flags(home)
            _import_all(place)
            start_dynamic_vram()
            failed = _load_nodes(packs)
        remember_failed_packs(home, [one.name for one in packs if one.name in failed])
        return _made(server, failed)
    except ImportError as error:
        _forget()
        raise EngineFailed(
            f"ComfyUI could not be started, '{error.name or error}' is missing: run 'python -m"
            " studio comfy install' again, or choose the engine 'diffusers'."
        ) from error
    except BaseException:
        _forget()
        raise


def _require_free_names() -> None:
    """Raises EngineFailed where another program's module has a name that ComfyUI needs."""
    taken = [name for name in (*TOP_LEVEL, "server") if name in sys.modules]
    if taken:
        raise EngineFailed(
            f"ComfyUI cannot run in this process, another module is called '{taken[0]}': start"
            " the studio by itself."
        )


@contextmanager
def _search_path(place: Path) -> Iterator[None]:
    """ComfyUI's folder at the end, where it shadows nothing, and only until it is loaded.

    What packs have added goes to the end: they put it first, where it shadows everything.
    """
    before = list(sys.path)
    sys.path.append(str(place))
    try:
        yield
    finally:
        added = [one for one in sys.path if one not in before and one != str(place)]
        sys.path[:] = [*before, *added]


def _set_flags(home: Home) -> None:
    """Settles ComfyUI's arguments; it parses none itself unless its own start asks for it."""
    set_vram_flags()
    args = importlib.import_module("comfy.cli_args").args
    args.base_directory = str(home.root)
    args.disable_api_nodes = True
    # The studio writes its own recipe into every file.
    args.disable_metadata = True
    args.enable_assets = False


def _import_all(place: Path) -> None:
    for name in TOP_LEVEL:
        module = importlib.import_module(name)
        origin = Path(module.__file__ or next(iter(module.__path__))).resolve()
        if place not in origin.parents:
            raise EngineFailed(
                f"ComfyUI cannot run in this process, '{name}' comes from another program: start"
                " the studio by itself."
            )
    importlib.import_module("comfy.utils").set_progress_bar_enabled(False)


def _load_nodes(packs: Sequence[Path]) -> tuple[str, ...]:
    """ComfyUI's own nodes, then each pack by itself; the names of those that fail."""
    nodes = importlib.import_module("nodes")

    async def load() -> list[str]:
        await nodes.init_public_apis()
        with _core_in_silence():
            failed = [str(name) for name in await nodes.init_builtin_extra_nodes()]
        core = set(nodes.NODE_CLASS_MAPPINGS)
        for pack in packs:
            if not await nodes.load_custom_node(str(pack), core, module_parent="custom_nodes"):
                failed.append(pack.name)
        return failed

    # Packs greet; standard output belongs to what the command line answers.
    with redirect_stdout(sys.stderr):
        return tuple(asyncio.run(load()))


@contextmanager
def _core_in_silence() -> Iterator[None]:
    """ComfyUI logs a traceback for each of its node files that lacks a package we leave out.

    It uses the root logger, which nobody else does here; the names are in `failed_packs`.
    """
    root = logging.getLogger()
    root.addFilter(_nothing)
    try:
        yield
    finally:
        root.removeFilter(_nothing)


def _nothing(record: logging.LogRecord) -> bool:
    return False


def _made(server: QuietServer, failed: tuple[str, ...]) -> ComfyUI:
    execution = importlib.import_module("execution")
    results: dict[str, Result] = {}
    nodes = importlib.import_module("nodes")
    sampled: dict[str, Sampled] = {}
    nodes.NODE_CLASS_MAPPINGS[RESULT_CLASS] = result_node(results)
    nodes.NODE_CLASS_MAPPINGS[LATENTS_CLASS] = latents_node(sampled)
    nodes.NODE_CLASS_MAPPINGS[RESCALE_CLASS] = AIOStudioRescale
    executor = execution.PromptExecutor(
        server, cache_type=execution.CacheType.RAM_PRESSURE, cache_args=CACHE_GIGABYTES
    )
    return ComfyUI(executor, server, results, sampled, failed)


def _use_folders(home: Home) -> None:
    """Point ComfyUI at this home's models, and at folders of its own for everything else."""
    folder_paths: Any = importlib.import_module("folder_paths")
    before = Path(folder_paths.models_dir)
    folder_paths.models_dir = str(home.models)
    places = folder_paths.folder_names_and_paths
    for kind, (folders, endings) in places.items():
        # Once each: the folders of packs lie elsewhere and stay. Packs also hold them in tuples.
        moved = dict.fromkeys(_moved(Path(one), before, home.models) for one in folders)
        places[kind] = (list(moved), endings)
    for kind in (*KINDS.values(), "loras"):
        # The studio's own first, then where other programs keep theirs, then what lies elsewhere.
        others = map(str, model_places.folders(home, kind))
        own, linked = str(home.models / kind), str(linked_models(home) / kind)
        places[kind][0][:] = dict.fromkeys((own, *others, linked))
    for kind, set_folder in (
        ("input", folder_paths.set_input_directory),
        ("output", folder_paths.set_output_directory),
        ("temp", folder_paths.set_temp_directory),
        ("user", folder_paths.set_user_directory),
    ):
        folder = home.scratch / "comfy" / kind
        folder.mkdir(parents=True, exist_ok=True)
        set_folder(str(folder))


def _moved(folder: Path, before: Path, now: Path) -> str:
    inside = before in folder.parents
    return str(now / folder.relative_to(before) if inside else folder)


def linked_models(home: Home) -> Path:
    """Where models that lie in no folder of ComfyUI's are linked, as it finds them by name."""
    return home.scratch / "comfy" / "models"


def _forget() -> None:
    """After a failed start: nothing half imported is left, so that another try can succeed."""
    for name in [one for one in sys.modules if one.split(".")[0] in (*TOP_LEVEL, "server")]:
        del sys.modules[name]
