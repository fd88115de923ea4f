"""Mutated graphs: what users put into `workflows/`, and what ComfyUI's editor saves.

    make soak ARGS="graphs --seed 5 --files 3000"

A graph is bound to a plan, or converted, or refused in a sentence. Nothing else.
"""

import copy
import json
import os
import random
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from model_files import put, variant
from requests_of_modes import Media, raw_request

from soak.answers import Answers, answer, tally
from studio.comfy_convert import by_group, by_output, convert
from studio.comfy_editor import read_workflow
from studio.comfy_graphs import WORKFLOWS, require_own_graph
from studio.comfy_widgets import read_definitions
from studio.families import LTX
from studio.home import Home
from studio.plan import Plan
from studio.planning import plan_request
from studio.request import read_request

MODES = ("t2v", "i2v", "a2v", "lipsync", "keyframe")
EDITOR_CLASS = {
    "input": {"required": {"image": ["IMAGE", {}], "steps": ["INT", {"default": 4}]}},
    "output_node": True,
}

Mutation = Callable[[Any, random.Random], Any]


def campaign(folder: Path, seed: int, count: int) -> Answers:
    """Half of the `count` files are in API format, half the editor's."""
    chance, home = random.Random(seed), _home(folder)
    plans = dict(_plans(home, Media(folder / "media")))
    definitions = read_definitions({"Save": EDITOR_CLASS})
    answers = []
    for number in range(count):
        if number % 2:
            answers.append(answer(lambda: _bound(home, chance, plans)))
        else:
            workflow = mutated(_workflow(), chance)
            read = chance.choice((convert, by_output, by_group))
            answers.append(
                answer(lambda one=workflow, use=read: use(read_workflow(one), definitions))
            )
    return tally(answers)


def _home(folder: Path) -> Home:
    """A home where ComfyUI looks installed, with the names of its weights."""
    home = Home(folder / "home")
    place = folder / "comfyui"
    place.mkdir(parents=True)
    (place / "execution.py").touch()
    os.environ["AIO_COMFYUI"] = str(place)
    put(home, *variant(LTX, "LTX-2.3 fp8").models)
    put(home, *(adapter.model for adapter in LTX.adapters.values()))
    return home


def _plans(home: Home, media: Media) -> Iterator[tuple[str, Plan]]:
    for mode_id in MODES:
        raw = raw_request(mode_id, media, engine="comfy", preset="fast")
        yield mode_id, plan_request(read_request(home, mode_id, raw))[0]


def _bound(home: Home, chance: random.Random, plans: Mapping[str, Plan]) -> None:
    mode_id = chance.choice(MODES)
    graph = mutated(json.loads((WORKFLOWS / f"{mode_id}.json").read_text()), chance)
    text = json.dumps(graph)
    if chance.random() < 0.1:
        text = text[: chance.randrange(len(text))]
    path = home.root / "workflows" / f"{mode_id}.json"
    path.parent.mkdir(exist_ok=True)
    path.write_text(text)
    require_own_graph(home, plans[mode_id])


def _workflow() -> dict[str, Any]:
    """Two nodes in a group, one of them inside a subgraph."""
    slots = [{"name": "image", "type": "IMAGE", "link": 1}]
    inner = {"id": 2, "type": "Save", "pos": [0, 0], "inputs": [], "outputs": slots,
             "widgets_values": [4], "mode": 0, "title": "Inner"}  # fmt: skip
    outer = {"id": 1, "type": "sub", "pos": [10, 10], "inputs": [], "outputs": slots,
             "properties": {"proxyWidgets": [["2", "steps"]]}, "widgets_values": [5]}  # fmt: skip
    save = {"id": 3, "type": "Save", "pos": [20, 20], "inputs": slots, "widgets_values": [4]}
    border = {"id": 5, "origin_id": 2, "origin_slot": 0, "target_id": -20, "target_slot": 0}
    subgraph = {"id": "sub", "nodes": [inner], "links": [border], "inputs": [],
                "outputs": [{"name": "image"}]}  # fmt: skip
    return {
        "nodes": [outer, save],
        "links": [[1, 1, 0, 3, 0, "IMAGE"]],
        "groups": [{"title": "All", "bounding": [0, 0, 100, 100]}],
        "definitions": {"subgraphs": [subgraph]},
    }


# Mutations


def mutated(data: Any, chance: random.Random) -> Any:  # noqa: ANN401 - JSON
    """A copy with one to five places changed."""
    data = copy.deepcopy(data)
    for _ in range(chance.randrange(1, 6)):
        places = list(_places(data))
        if not places:
            break
        holder, key = chance.choice(places)
        CHANGES[chance.choice(tuple(CHANGES))](holder, key, chance, places)
    return data


def _places(data: Any) -> Iterator[tuple[Any, Any]]:  # noqa: ANN401 - JSON
    pairs = data.items() if isinstance(data, dict) else enumerate(data)
    for key, value in list(pairs):
        yield data, key
        if isinstance(value, dict | list):
            yield from _places(value)


def _remove(holder: Any, key: Any, chance: random.Random, places: list[Any]) -> None:  # noqa: ANN401
    del holder[key]


def _replace(holder: Any, key: Any, chance: random.Random, places: list[Any]) -> None:  # noqa: ANN401
    holder[key] = copy.deepcopy(chance.choice(VALUES))


def _swap(holder: Any, key: Any, chance: random.Random, places: list[Any]) -> None:  # noqa: ANN401
    other, name = chance.choice(places)
    holder[key] = copy.deepcopy(other[name])


def _rename(holder: Any, key: Any, chance: random.Random, places: list[Any]) -> None:  # noqa: ANN401
    if isinstance(holder, dict):
        holder[chance.choice(("0", "x", "\ud800", ""))] = holder.pop(key)


CHANGES: Mapping[str, Callable[[Any, Any, random.Random, list[Any]], None]] = {
    "remove": _remove,
    "replace": _replace,
    "swap": _swap,
    "rename": _rename,
}
VALUES: tuple[Any, ...] = (
    None, True, 0, -1, 2**70, 1e308, "", "x", "\ud800", [], {}, [["1", 0]], ["1", 0], ["none", 0],
    ["1", "0"], [1, 0], {"class_type": "X", "inputs": {}}, "9" * 5000, float("nan"),
)  # fmt: skip
