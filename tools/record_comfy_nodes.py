"""Records the interface of every ComfyUI node that the studio's graphs use.

    AIO_COMFYUI=<folder> python tools/record_comfy_nodes.py

Writes `tests/comfy_nodes.json`, against which the graphs are tested where no ComfyUI is. Run it
after ComfyUI was pinned to another release, and read the difference.
"""

import json
import os
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))

from studio.comfy_boot import boot  # noqa: E402
from studio.comfy_graph import LATENTS_CLASS, RESCALE_CLASS, RESULT_CLASS  # noqa: E402
from studio.home import Home  # noqa: E402

RECORD = ROOT / "tests" / "comfy_nodes.json"

ADDED_BY_BINDING = {
    "DualCLIPLoader",
    "UNETLoader",
    "VAELoader",
    "LTXVDualCFGGuider",
    "LTXVModalityGuidance",
    "LTXVScheduler",
    "LTXVSpatioTemporalGuidance",
    LATENTS_CLASS,
    RESCALE_CLASS,
    RESULT_CLASS,
}


def used_classes() -> set[str]:
    graphs = [json.loads(path.read_text()) for path in (ROOT / "workflows").glob("*.json")]
    return ADDED_BY_BINDING | {node["class_type"] for graph in graphs for node in graph.values()}


def interface(node: type) -> dict[str, object]:
    """Inputs with their types and limits, and the types of the outputs."""
    groups = node.INPUT_TYPES()  # type: ignore[attr-defined]
    return {
        "required": {name: _input(spec) for name, spec in groups.get("required", {}).items()},
        "optional": {name: _input(spec) for name, spec in groups.get("optional", {}).items()},
        "outputs": list(node.RETURN_TYPES),  # type: ignore[attr-defined]
    }


def _input(spec: tuple[object, ...]) -> dict[str, object]:
    kind, options = spec[0], spec[1] if len(spec) > 1 else {}
    assert isinstance(options, dict)
    limits = {name: options[name] for name in ("min", "max") if name in options}
    # Lists of files differ from machine to machine.
    return {"type": "COMBO" if isinstance(kind, list) else kind, **limits}


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        boot(Home(Path(folder)), packs=())
        import nodes

        known = nodes.NODE_CLASS_MAPPINGS
        record = {name: interface(known[name]) for name in sorted(used_classes())}
    RECORD.write_text(json.dumps(record, indent=1) + "\n")


if __name__ == "__main__":
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    main()
