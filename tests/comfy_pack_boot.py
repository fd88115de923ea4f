"""Boots ComfyUI with node packs in a process of its own; writes what they did as JSON.

    python tests/comfy_pack_boot.py <home> <pack> …

Nothing else may be on standard output: that would be a pack's, and it belongs to the studio.
"""

import json
import sys
import threading
from collections import Counter
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

connections: list[str] = []


def listen(event, arguments):
    if event in ("socket.connect", "socket.getaddrinfo"):
        connections.append(str(arguments))


def main(home, packs):
    from studio import comfy_engine  # noqa: F401 - what the studio has loaded by then
    from studio.comfy_boot import boot
    from studio.home import Home

    paths, modules, arguments = list(sys.path), dict(sys.modules), list(sys.argv)
    sys.addaudithook(listen)
    comfy = boot(Home(Path(home)), [Path(one) for one in packs])
    import nodes

    classes = nodes.NODE_CLASS_MAPPINGS.values()
    origins = (getattr(one, "RELATIVE_PYTHON_MODULE", "") for one in classes)
    return {
        "failed": list(comfy.failed_packs),
        "nodes": Counter(one.removeprefix("custom_nodes.") for one in origins),
        "replaced": [name for name, one in modules.items() if sys.modules.get(name) is not one],
        "taken": [name for name in ("app", "utils", "middleware") if name in sys.modules],
        "shadowing": sys.path[: len(paths)] != paths or sys.argv != arguments,
        "threads": [
            one.name for one in threading.enumerate() if one is not threading.main_thread()
        ],
        "connections": connections,
    }


if __name__ == "__main__":
    sys.stdout.write(json.dumps(main(sys.argv[1], sys.argv[2:])))
