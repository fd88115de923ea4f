"""The part of ComfyUI's web server that its executor and the node packs talk to, without a server.

ComfyUI's own `server` module would bring a web server, a database and top-level packages called
`app`, `utils` and `middleware` into this process.
"""

import sys
from collections.abc import Callable, Mapping
from types import ModuleType

Listener = Callable[[str, Mapping[str, object]], None]
"""Told the name and the data of each event of the running job."""


class Anything:
    """Takes every call and every decorator of the packs' web routes, and does nothing."""

    def __getattr__(self, name: str) -> "Anything":
        if name.startswith("__"):
            raise AttributeError(name)
        return self

    def __call__(self, *args: object, **options: object) -> object:
        # As a decorator it must give back what it decorates.
        is_decorated = len(args) == 1 and callable(args[0]) and not options
        return args[0] if is_decorated else self


class QuietServer:
    """What PromptExecutor and PromptServer.instance are asked for. Its events go to `listener`."""

    client_id: str | None = None
    # Some packs encode it without looking.
    last_node_id: str | None = ""
    last_prompt_id: str | None = None

    def __init__(self) -> None:
        self.listener: Listener | None = None
        self.sockets: dict[str, object] = {}
        self.sockets_metadata: dict[str, object] = {}
        # Without it some packs link their scripts into a web folder.
        self.supports = ["custom_nodes_from_web"]
        self.web_root = ""
        self.routes = self.app = self.node_replace_manager = self.prompt_queue = Anything()

    def __getattr__(self, name: str) -> object:
        if name.startswith("__"):
            raise AttributeError(name)
        return Anything()

    def send_sync(self, event: object, data: object, sid: str | None = None) -> None:
        """Every event of the executor comes here, and the pictures that packs send to a page."""
        if self.listener is not None and isinstance(event, str) and isinstance(data, Mapping):
            self.listener(event, data)


def install_quiet_server() -> QuietServer:
    """Stand in for ComfyUI's `server` module. Call it before anything of ComfyUI is imported."""
    server = QuietServer()
    module = ModuleType("server", "No ComfyUI web server runs in this process.")
    # What packs take from it when they are loaded; aiohttp's `web` only serves their routes.
    module.__dict__.update(
        PromptServer=type("PromptServer", (), {"instance": server}),
        BinaryEventTypes=Anything(),
        web=Anything(),
    )
    sys.modules["server"] = module
    return server
