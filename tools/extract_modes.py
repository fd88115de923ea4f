"""Turns a workflow saved in ComfyUI's editor into graphs in API format that the studio can bind.

    AIO_COMFYUI=<folder> python tools/extract_modes.py --master master.json --out graphs

Writes one file for each node that saves something, or with `--by group` one for each frame of
the editor, each with only the nodes it needs. What is muted or bypassed in the editor stays so:
switch on what you want before you save the workflow.
"""

import argparse
import json
import os
import sys
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))

from studio.comfy_convert import ApiGraph, by_group, by_output, file_name  # noqa: E402
from studio.comfy_editor import Workflow, read_workflow  # noqa: E402
from studio.comfy_widgets import Definitions, read_definitions  # noqa: E402
from studio.errors import BadInput, StudioError  # noqa: E402

SPLITS: Mapping[str, Callable[[Workflow, Definitions], dict[str, ApiGraph]]] = {
    "output": by_output,
    "group": by_group,
}


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--master", type=Path, required=True, help="the workflow")
    parser.add_argument("--out", type=Path, required=True, help="folder for the graphs")
    parser.add_argument(
        "--by", choices=SPLITS, default="output", help="one graph for each of these"
    )
    parser.add_argument(
        "--nodes",
        type=Path,
        help="what ComfyUI's /object_info answers; without it the installed ComfyUI is started",
    )
    chosen = parser.parse_args(arguments)
    try:
        workflow = read_workflow(_read(chosen.master))
        definitions = read_definitions(_read(chosen.nodes) if chosen.nodes else installed_nodes())
        files = _by_file(SPLITS[chosen.by](workflow, definitions))
    except StudioError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    chosen.out.mkdir(parents=True, exist_ok=True)
    for name, graph in files.items():
        path = chosen.out / name
        path.write_text(json.dumps(graph, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
        sys.stdout.write(f"{path}: {len(graph)} nodes\n")
    return 0


def _by_file(graphs: Mapping[str, ApiGraph]) -> dict[str, ApiGraph]:
    files: dict[str, ApiGraph] = {}
    for name, graph in graphs.items():
        file = file_name(name)
        if file in files:
            raise BadInput(
                f"The workflow has two outputs for '{file}': give them other titles in ComfyUI's"
                " editor."
            )
        files[file] = graph
    return files


def installed_nodes() -> dict[str, object]:
    """As `/object_info` would answer, packs included. Raises EngineFailed."""
    from studio.comfy_boot import boot
    from studio.home import Home, home_at

    os.environ.setdefault("AIO_COMFYUI", str(home_at().comfyui))
    with tempfile.TemporaryDirectory() as folder:
        boot(Home(Path(folder)))
        return node_interfaces()


def node_interfaces() -> dict[str, object]:
    """Of the ComfyUI that runs in this process."""
    import nodes

    return {name: _interface(one) for name, one in nodes.NODE_CLASS_MAPPINGS.items()}


def _interface(node: type) -> dict[str, object]:
    return {
        "input": node.INPUT_TYPES(),  # type: ignore[attr-defined]
        "output_node": bool(getattr(node, "OUTPUT_NODE", False)),
    }


def _read(path: Path) -> object:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise BadInput(f"The file '{path.name}' cannot be read: choose a JSON file.") from error


if __name__ == "__main__":
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    raise SystemExit(main())
