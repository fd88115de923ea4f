"""A ComfyUI of the campaigns' own, with weights of a few megabytes."""

import os
import shutil
from pathlib import Path

import comfy_here

from studio.comfy_boot import boot
from studio.home import Home


def skipped() -> str:
    """Why no campaign can run in ComfyUI here; empty where one can."""
    return comfy_here.reason_to_skip()


def prepared(folder: Path) -> Home:
    """A home whose video modes run in ComfyUI, which this process has started.

    The node pack that makes its text encoder tiny lies in ComfyUI's own folder, a copy, so that
    every process that is given AIO_COMFYUI has it.
    """
    place, home = folder / "comfyui", Home(folder / "home")
    shutil.copytree(comfy_here.PLACE, place, ignore=shutil.ignore_patterns(".git"))
    pack = place / "custom_nodes" / "tiny_gemma"
    shutil.copytree(comfy_here.PACKS / "tiny_gemma", pack)
    os.environ["AIO_COMFYUI"] = str(place)
    boot(home)
    comfy_here.write_models(home, Home(folder / "demo"))
    return home
