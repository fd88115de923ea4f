"""The rooms of docs/architecture.md: imports go downwards, torch and Gradio keep to theirs."""

import ast
import re
from pathlib import Path

import pytest

STUDIO = Path(__file__).parent.parent / "studio"

# From the ground up. A name ending in "…" stands for all modules with that prefix.
FLOORS = (
    ("ground", ("sizes", "hosts", "home", "errors", "__init__")),
    (
        "files",
        (
            "media_…",
            "quality",
            "control_…",
            "recipe…",
            "outputs",
            "inputs",
            "disk",
            "safetensors_header",
        ),
    ),
    ("installing", ("packages", "comfy_pins", "comfy_clone", "comfy_install")),
    (
        "data",
        (
            "presets",
            "fields",
            "families",
            "fitting",
            "mode_controls",
            "modes",
            "send_to",
            "examples",
            "needs",
            "registry",
            "model_places",
            "hub_file",
            "weights…",
        ),
    ),
    ("contract", ("plan", "plan_needs", "progress", "events")),
    (
        "engines",
        (
            "engine",
            "torch_…",
            "clip_media",
            "diffusers_…",
            "comfy_…",
            "demo_…",
            "weights_demo",
        ),
    ),
    ("planning", ("request", "planning…", "plan_summary", "mode_listing", "preflight…")),
    ("jobs", ("jobs…", "estimates", "runner…", "submission", "gallery", "restore", "retention")),
    ("making", ("finishing", "production", "remote_work", "zero_…")),
    ("studio", ("studio", "doctor…", "machine_watch", "fetching", "uploads", "host_…")),
    ("page", ("page…",)),
    ("start", ("cli…", "__main__")),
)

MODULES = {path.stem: ast.parse(path.read_text()) for path in STUDIO.glob("*.py")}


def floor_of(module):
    best = max(
        ((len(name), number) for number, (_, names) in enumerate(FLOORS) for name in names
         if module == name or (name.endswith("…") and module.startswith(name[:-1]))),
        default=None,
    )  # fmt: skip
    assert best is not None, f"{module} has no room in FLOORS"
    return best[1]


def drawn_floors():
    """The picture's floors with their modules, from the ground up: name, modules, what for."""
    text = (STUDIO.parent / "docs" / "architecture.md").read_text()
    floors = []
    for line in text.split("```")[1].splitlines():
        room = re.match(r" (\w+|)  +([^ │].*?)(?:  .*)?$", line)
        if room and room[1]:
            floors.append((room[1], []))
        if room:
            names = room[2].strip(",").split(", ")
            floors[-1][1].extend(name for name in names if not name.endswith(".py"))
    return floors[::-1]


def test_picture_has_the_floors_that_the_imports_are_held_to():
    drawn = drawn_floors()
    assert [name for name, _ in drawn] == [name for name, _ in FLOORS]
    for (name, modules), (_, held) in zip(drawn, FLOORS, strict=True):
        assert sorted(modules) == sorted(held), name


def test_every_name_in_the_picture_stands_for_a_module():
    for _, names in FLOORS:
        for name in names:
            assert any(
                module.startswith(name[:-1]) if name.endswith("…") else module == name
                for module in MODULES
            ), name


def imports(tree):
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def own_imports(tree):
    names = {name.split(".")[1] for name in imports(tree) if name.startswith("studio.")}
    return names & set(MODULES)


@pytest.mark.parametrize("module", sorted(MODULES))
def test_module_imports_only_its_own_floor_and_below(module):
    above = {one for one in own_imports(MODULES[module]) if floor_of(one) > floor_of(module)}
    # The one table that names engines, and imports them only when one is made.
    allowed = {"diffusers_engine", "comfy_engine"} if module == "engine" else set()
    assert not above - allowed


def test_imports_have_no_cycle():
    graph = {module: own_imports(tree) - {module} for module, tree in MODULES.items()}
    graph["engine"] -= {"diffusers_engine", "comfy_engine"}
    while free := [module for module, needs in graph.items() if not needs]:
        graph = {module: needs - set(free) for module, needs in graph.items() if module not in free}
    assert not graph, f"a cycle among {sorted(graph)}"


@pytest.mark.parametrize("module", sorted(MODULES))
def test_torch_and_gradio_stay_in_their_rooms(module):
    tops = {name.split(".")[0] for name in imports(MODULES[module])}
    if not module.startswith("page"):
        assert "gradio" not in tops
    if module != "host_ray":
        assert "ray" not in tops
    heavy = tops & {"diffusers", "transformers", "peft", "accelerate"}
    if not module.startswith(("diffusers_", "demo_", "torch_")):
        assert not heavy
    # Inside a function, where it is needed and not before, torch may be imported anywhere.
    at_import = {node for node in MODULES[module].body if isinstance(node, ast.Import)}
    if any(alias.name == "torch" for node in at_import for alias in node.names):
        assert module.startswith(("diffusers_", "demo_", "torch_", "comfy_"))


@pytest.mark.parametrize("module", sorted(MODULES))
def test_module_says_what_it_does(module):
    assert ast.get_docstring(MODULES[module])


@pytest.mark.parametrize("folder", ["studio", "tests", "tools", "soak", "bench"])
def test_python_files_have_400_lines_at_most(folder):
    files = list((STUDIO.parent / folder).rglob("*.py"))
    assert files
    lengths = {file.name: len(file.read_text().splitlines()) for file in files}
    assert {name: length for name, length in lengths.items() if length > 400} == {}


@pytest.mark.parametrize("module", sorted(MODULES))
def test_functions_have_80_lines_at_most(module):
    for node in ast.walk(MODULES[module]):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            assert node.end_lineno - node.lineno < 80, f"{module}.{node.name}"
