"""Node packs beside the studio: each loads or fails for a known reason, and harms nothing of ours.

Packs that behave like real ones are written here; the real ones are tested where AIO_COMFY_PACKS
names a folder that holds them.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from comfy_here import reason_to_skip

from studio.comfy_install import missing_requirements, status
from studio.comfy_pins import PINS
from studio.home import home_at

HERE = Path(__file__).parent
NODE = """
class Node:
    RETURN_TYPES, FUNCTION, CATEGORY = ("INT",), "run", "test"
    @classmethod
    def INPUT_TYPES(cls):
        return {"required": {}}
    def run(self):
        return (1,)
NODE_CLASS_MAPPINGS = {__name__: Node}
"""

PACKS = {
    "greets": "print('Loaded 48 magnificent nodes.')",
    "adds_paths": "import sys; sys.path.insert(0, __file__.rpartition('/')[0])",
    "adds_routes": """
import server
web = server.web
@server.PromptServer.instance.routes.get("/packs")
async def answer(request):
    return web.Response(status=204)
assert answer.__name__ == "answer"
assert "custom_nodes_from_web" in server.PromptServer.instance.supports
""",
    "has_folders": """
import folder_paths
folder_paths.folder_names_and_paths["formats"] = ((__file__,), {".json"})
""",
    "fails": "import nothing_of_that_name",
}
"""What real packs do while they are loaded."""


def real_packs():
    folder = os.environ.get("AIO_COMFY_PACKS")
    return sorted(one.parent for one in Path(folder).glob("*/__init__.py")) if folder else []


def lacking(packs):
    """What the packs require and this Python does not have."""
    pins = [PINS.packs[one.name] for one in packs if one.name in PINS.packs]
    return missing_requirements(line for pin in pins for line in pin.requirements)


pytestmark = [
    pytest.mark.comfy,
    pytest.mark.skipif(bool(reason_to_skip()), reason=reason_to_skip() or "ready"),
]


def boot_with(packs, home):
    command = [sys.executable, str(HERE / "comfy_pack_boot.py"), str(home.root), *map(str, packs)]
    environment = {**os.environ, "AIO_COMFYUI": str(home_at().comfyui)}
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    harm = {
        name: said[name] for name in ("replaced", "taken", "shadowing", "threads", "connections")
    }
    assert not any(harm.values()), harm
    return said


@pytest.fixture
def written(tmp_path):
    for name, source in PACKS.items():
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").write_text(NODE + source)
    return [tmp_path / name for name in PACKS]


def test_packs_load_beside_one_that_fails_and_status_names_it(written, home):
    said = boot_with(written, home)
    assert [one.name for one in written if one.name in said["failed"]] == ["fails"]
    assert set(PACKS) & set(said["nodes"]) == set(PACKS) - {"fails"}
    assert status(home).failed == ("fails",)
    assert status(home).as_text().endswith("did not load at ComfyUI's last start: fails")


@pytest.mark.parametrize(
    "packs",
    [[one] for one in real_packs()] + [real_packs()],
    ids=lambda packs: packs[0].name if len(packs) == 1 else "all of them",
)
def test_real_pack_loads_or_fails_as_its_pin_says(packs, home):
    if not packs:
        pytest.skip("no packs here: set AIO_COMFY_PACKS to a folder that holds some")
    if lacking(packs):
        pytest.skip(f"these packs need {', '.join(lacking(packs))}")
    said = boot_with(packs, home)
    failing = {name for name, pin in PINS.packs.items() if pin.problem}
    names = {one.name for one in packs}
    assert names & set(said["failed"]) == names & failing
    assert names - failing <= {one.rpartition("/")[2] for one in said["nodes"]}
