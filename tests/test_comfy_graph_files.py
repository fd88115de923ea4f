"""The files of graphs: the studio's own, and what is refused in others."""

import re

import pytest
from comfy_recorded import CLIP_MODES, node, problems

from studio.comfy_graph import RESULT_CLASS, Graph, load_graph
from studio.comfy_graphs import RESULT, SOUND, WORKFLOWS
from studio.comfy_inputs import stage_placeholders
from studio.comfy_run import STAGES
from studio.errors import EngineFailed
from studio.modes import MODES


@pytest.mark.parametrize("mode", CLIP_MODES)
def test_graph_file_has_only_nodes_that_its_end_needs(mode):
    graph = load_graph(WORKFLOWS / f"{mode}.json")
    assert graph.reachable(RESULT) == set(graph.nodes)


@pytest.mark.parametrize("mode", CLIP_MODES)
def test_graph_file_ends_in_a_core_node_and_names_every_node(mode):
    graph = load_graph(WORKFLOWS / f"{mode}.json")
    assert node(graph, RESULT)["class_type"] == "SaveVideo"
    for one in graph.nodes.values():
        title = one["_meta"]["title"]
        assert title != one["class_type"] and re.fullmatch(r"[A-Z][a-zA-Z0-9, ]+", title)
        assert one["class_type"] != RESULT_CLASS


@pytest.mark.parametrize("mode", CLIP_MODES)
def test_graph_file_fits_the_recorded_nodes(mode):
    assert not problems(load_graph(WORKFLOWS / f"{mode}.json"))


@pytest.mark.parametrize("mode", CLIP_MODES)
def test_graph_file_has_the_node_of_each_stage(mode):
    titles = {
        one["_meta"]["title"] for one in load_graph(WORKFLOWS / f"{mode}.json").nodes.values()
    }
    stages = {STAGES[title] for title in titles & set(STAGES)}
    expected = {stage.id for stage in MODES[mode].stages} | {"sample1", "upscale", "sample2"}
    assert stages == expected - {"load"} | {"decode"}


def test_doubled_title_is_said_in_a_sentence():
    one = {"class_type": "A", "inputs": {}, "_meta": {"title": "Prompt"}}
    with pytest.raises(EngineFailed, match="two nodes called 'Prompt'"):
        Graph("mine", {"1": one, "2": one})


@pytest.mark.parametrize("text", ["", "[]", '{"nodes": []}', '{"1": {"inputs": {}}}'])
def test_file_that_is_no_graph_is_refused(tmp_path, text):
    (tmp_path / "mine.json").write_text(text)
    with pytest.raises(EngineFailed, match=r"Export \(API\)"):
        load_graph(tmp_path / "mine.json")


def test_placeholders_lie_beside_the_inputs_and_replace_none(tmp_path):
    """Loaders of a graph that was saved elsewhere name files that only that place had."""
    graphs, folder = tmp_path / "workflows", tmp_path / "job"
    (graphs / "inputs" / "more").mkdir(parents=True)
    for name in ("Lipsync Music.mp3", SOUND):
        (graphs / "inputs" / name).write_bytes(b"placeholder")
    folder.mkdir()
    (folder / SOUND).write_bytes(b"sound")
    stage_placeholders(graphs, folder)
    assert sorted(path.name for path in folder.iterdir()) == ["Lipsync Music.mp3", SOUND]
    assert (folder / SOUND).read_bytes() == b"sound"
    stage_placeholders(tmp_path / "no graphs", tmp_path / "another job")
