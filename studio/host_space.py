"""What a Space brings by itself before its page is built, since nobody is there to install it."""

from collections.abc import Sequence
from typing import Protocol

from studio.comfy_install import Say, install
from studio.comfy_pins import PINS
from studio.home import Home
from studio.modes import MODES


class Install(Protocol):
    def __call__(self, home: Home, packs: Sequence[str], *, say: Say) -> object: ...


def bring_engine(home: Home, engine: str, say: Say, install: Install = install) -> None:
    """ComfyUI, where `engine` chooses it; what is there already stays, without a connection.

    All packs come along where the owner has put graphs of their own into the home: nothing tells
    whose nodes these use. Raises as `comfy_install.install`.
    """
    if engine != "comfy":
        return
    own = any((home.root / "workflows" / f"{mode}.json").is_file() for mode in MODES)
    packs = [name for name, pin in PINS.packs.items() if not pin.problem] if own else []
    install(home, packs, say=say)
