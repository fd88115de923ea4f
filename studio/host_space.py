"""What a Space brings by itself before its page is built, since nobody is there to install it."""

from collections.abc import Sequence
from typing import Protocol

from studio.comfy_install import install
from studio.comfy_pins import PINS
from studio.errors import StudioError
from studio.home import Home
from studio.modes import MODES
from studio.packages import Say
from studio.weights import installed


class Install(Protocol):
    def __call__(self, home: Home, packs: Sequence[str], *, say: Say) -> object: ...


def bring_engine(home: Home, engine: str, say: Say, install: Install = install) -> None:
    """ComfyUI, where `engine` is it, or where none is forced and weights for it were preloaded.

    What is there already stays, without a connection. All packs come along where the owner has put
    graphs of their own into the home: nothing tells whose nodes these use. Raises as
    `comfy_install.install` where ComfyUI is forced; the other modes do without it.
    """
    if engine not in ("", "comfy") or not (engine or _has_weights(home)):
        return
    own = any((home.root / "workflows" / f"{mode}.json").is_file() for mode in MODES)
    packs = [name for name, pin in PINS.packs.items() if not pin.problem] if own else []
    try:
        install(home, packs, say=say)
    except StudioError as error:
        if engine:
            raise
        say(f"{error}\nThe page starts without ComfyUI.")


def _has_weights(home: Home) -> bool:
    families = {mode.family for mode in MODES.values() if "comfy" in mode.engines}
    return any(installed(home, family, "comfy") for family in families)
