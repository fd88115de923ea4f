"""Workflows of ComfyUI's editor become graphs in API format."""

import json
import sys
from pathlib import Path

import pytest

from studio.comfy_convert import by_group, by_output, convert, file_name
from studio.comfy_editor import read_workflow
from studio.comfy_graph import Graph
from studio.comfy_widgets import read_definitions
from studio.errors import BadInput

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT / "tools"))

import extract_modes  # noqa: E402

SEED = ["INT", {"default": 0, "control_after_generate": True}]
SIZES = [
    {"key": "exact", "inputs": {"required": {"width": ["INT", {}], "height": ["INT", {}]}}},
    {"key": "factor", "inputs": {"required": {"by": ["FLOAT", {"default": 1.0}]}}},
]


def node_class(required=None, optional=None, is_output=False):
    groups = {"required": required or {}, "optional": optional or {}}
    return {"input": groups, "output_node": is_output}


NODES = {
    "Load": node_class({"image": [["a.png"], {"image_upload": True}]}, {"crop": ["INT", {}]}),
    "LoadSound": node_class({"audio": ["COMBO", {"options": [], "audio_upload": True}]}),
    "Noise": node_class({"noise_seed": SEED, "spread": ["FLOAT", {"default": 0.5}]}),
    "Blur": node_class({"image": ["IMAGE", {}], "radius": ["INT", {}]}),
    "Resize": node_class(
        {
            "image": ["IMAGE", {}],
            "resize_type": ["COMFY_DYNAMICCOMBO_V3", {"options": SIZES}],
            "method": ["COMBO", {"options": ["area", "nearest"]}],
        }
    ),
    "Batch": node_class({"images": ["COMFY_AUTOGROW_V3", {"template": {}}]}),
    "Take": node_class({"steps": ["INT", {}], "socket": ["INT", {"forceInput": True}]}),
    "SaveImage": node_class(
        {"images": ["IMAGE", {}], "filename_prefix": ["STRING", {"default": "ComfyUI"}]},
        is_output=True,
    ),
    "VHS_VideoCombine": node_class(
        {"images": ["IMAGE", {}], "frame_rate": ["INT", {}]}, is_output=True
    ),
    "PreviewImage": node_class({"images": ["IMAGE", {}]}, is_output=True),
}
DEFINITIONS = read_definitions(NODES)


class Sheet:
    """An editor's sheet in the making: `link` wires a socket and gives it its slot."""

    def __init__(self, **more):
        self.data = {"nodes": [], "links": [], **more}

    def node(self, node_id, kind, values=(), mode=0, outputs=("IMAGE",), inputs=(), **more):
        slots = [{"name": name, "type": of, "link": None} for name, of in inputs]
        self.data["nodes"].append(
            {
                "id": node_id,
                "type": kind,
                "mode": mode,
                "inputs": slots,
                "outputs": [{"name": of, "type": of} for of in outputs],
                "widgets_values": values if isinstance(values, dict) else list(values),
                **more,
            }
        )
        return self

    def link(self, origin, slot, target, name, kind="IMAGE", widget=False):
        number = len(self.data["links"]) + 1
        node = next(one for one in self.data["nodes"] if one["id"] == target)
        names = [one["name"] for one in node["inputs"]]
        if name not in names:
            node["inputs"].append({"name": name, "type": kind})
            names.append(name)
        one = node["inputs"][names.index(name)]
        one["link"] = number
        if widget:
            one["widget"] = {"name": name}
        self._wire(number, origin, slot, target, names.index(name), kind)
        return self

    def out(self, origin, slot, number=0, kind="IMAGE"):
        """From a node to the subgraph's own output."""
        self._wire(len(self.data["links"]) + 1, origin, slot, -20, number, kind)
        return self

    def _wire(self, number, origin, slot, target, target_slot, kind):
        keys = ("id", "origin_id", "origin_slot", "target_id", "target_slot", "type")
        values = (number, origin, slot, target, target_slot, kind)
        as_object = "inputs" in self.data
        self.data["links"].append(
            dict(zip(keys, values, strict=True)) if as_object else list(values)
        )


def saving(sheet, origin, slot=0, **more):
    """The sheet with a SaveImage, id 99, of what comes from there."""
    return sheet.node(99, "SaveImage", ["out"], outputs=(), **more).link(origin, slot, 99, "images")


def converted(sheet, *subgraphs):
    data = {**sheet.data, "definitions": {"subgraphs": [one.data for one in subgraphs]}}
    return convert(read_workflow(json.loads(json.dumps(data))), DEFINITIONS)


def fed(graph, node_id="99", name="images"):
    return graph[node_id]["inputs"].get(name)


def test_convert_names_values_and_links_and_keeps_only_given_titles():
    sheet = saving(Sheet().node(1, "Load", ["a.png", "image", 7]), 1, title="Save it")
    assert converted(sheet) == {
        "1": {"class_type": "Load", "inputs": {"image": "a.png", "crop": 7}},
        "99": {
            "class_type": "SaveImage",
            "inputs": {"filename_prefix": "out", "images": ["1", 0]},
            "_meta": {"title": "Save it"},
        },
    }


@pytest.mark.parametrize(
    ("kind", "values", "inputs"),
    [
        ("Noise", [5, "randomize", 0.25], {"noise_seed": 5, "spread": 0.25}),
        ("Noise", [5, 0.25], {"noise_seed": 5, "spread": 0.25}),
        ("Noise", [5], {"noise_seed": 5, "spread": 0.5}),
        ("LoadSound", ["a.wav", None, ""], {"audio": "a.wav"}),
        ("Resize", ["exact", 640, 480, "nearest"], {
            "resize_type": "exact", "resize_type.width": 640, "resize_type.height": 480,
            "method": "nearest",
        }),
        ("Resize", ["factor", 0.5, "area"], {
            "resize_type": "factor", "resize_type.by": 0.5, "method": "area",
        }),
        ("Take", [20], {"steps": 20}),
        ("Noise", {"noise_seed": 3, "videopreview": {"hidden": False}}, {"noise_seed": 3}),
        ("Take", [[1, 2]], {"steps": {"__value__": [1, 2]}}),
    ],
)  # fmt: skip
def test_convert_gives_each_saved_value_its_control(kind, values, inputs):
    assert converted(Sheet().node(1, kind, values))["1"]["inputs"] == inputs


def test_convert_keeps_sockets_that_grow_and_that_a_list_brings():
    sheet = Sheet().node(1, "Load", ["a.png"]).node(2, "Batch").node(3, "Resize", ["exact", 1, 2])
    sheet.link(1, 0, 2, "images.image0").link(1, 0, 2, "images.image1")
    sheet.link(1, 1, 3, "resize_type.width", "INT", widget=True)
    graph = converted(sheet)
    assert graph["2"]["inputs"] == {"images.image0": ["1", 0], "images.image1": ["1", 0]}
    assert graph["3"]["inputs"]["resize_type.width"] == ["1", 1]


def test_convert_goes_through_reroutes_and_leaves_notes_out():
    sheet = Sheet().node(1, "Load", ["a.png"]).node(5, "MarkdownNote", ["Read me"], outputs=())
    sheet.node(2, "Reroute").link(1, 0, 2, "", "*").node(3, "Reroute").link(2, 0, 3, "", "*")
    graph = converted(saving(sheet, 3))
    assert fed(graph) == ["1", 0]
    assert set(graph) == {"1", "99"}


def test_convert_writes_a_primitives_value_into_every_input_it_feeds():
    sheet = Sheet().node(1, "PrimitiveNode", [12, "fixed"], outputs=("INT",)).node(2, "Take", [20])
    sheet.link(1, 0, 2, "steps", "INT", widget=True).link(1, 0, 2, "socket", "INT")
    assert converted(sheet) == {"2": {"class_type": "Take", "inputs": {"steps": 12, "socket": 12}}}


def test_convert_hands_a_bypassed_nodes_input_of_the_same_kind_on():
    sheet = Sheet().node(1, "Load", ["a.png"], outputs=("MASK", "IMAGE"))
    sheet.node(2, "Blur", [3], mode=4, outputs=("IMAGE",)).link(1, 0, 2, "mask", "MASK")
    sheet.link(1, 1, 2, "image")
    graph = converted(saving(sheet, 2))
    assert fed(graph) == ["1", 1]
    assert "2" not in graph


def test_convert_feeds_nothing_from_a_muted_node():
    sheet = Sheet().node(1, "Load", ["a.png"]).node(2, "Blur", [3], mode=2).link(1, 0, 2, "image")
    graph = converted(saving(sheet, 2))
    assert fed(graph) is None
    assert "2" not in graph


def test_convert_joins_get_and_set_also_from_inside_a_subgraph():
    inner = Sheet(id="sub", inputs=[], outputs=[{"name": "IMAGE"}])
    inner.node(3, "GetNode", ["picture"]).node(4, "Blur", [3]).link(3, 0, 4, "image").out(4, 0)
    sheet = Sheet().node(1, "Load", ["a.png"]).node(2, "SetNode", ["picture"])
    sheet.link(1, 0, 2, "IMAGE").node(7, "sub")
    graph = converted(saving(sheet, 7), inner)
    assert fed(graph) == ["7:4", 0]
    assert fed(graph, "7:4", "image") == ["1", 0]


def test_convert_refuses_a_get_without_its_set():
    with pytest.raises(BadInput, match="gets 'picture' but sets it nowhere"):
        converted(saving(Sheet().node(1, "GetNode", ["picture"]), 1))


def stepping():
    """A subgraph with a picture through and one number for a control and a mere socket."""
    inner = Sheet(
        id="sub",
        inputs=[{"name": "picture"}, {"name": "number"}],
        outputs=[{"name": "IMAGE"}],
    )
    inner.node(3, "Blur", [3]).node(4, "Take", [20]).link(-10, 0, 3, "image")
    inner.link(-10, 1, 4, "steps", "INT", widget=True).link(-10, 1, 4, "socket", "INT")
    return inner.out(3, 0)


def test_convert_opens_a_subgraph_twice_with_the_values_each_node_holds():
    sheet = Sheet().node(1, "Load", ["a.png"])
    for number, values in ((7, [30]), (8, [])):
        sheet.node(number, "sub", values).link(1, 0, number, "picture")
    graph = converted(saving(sheet, 7), stepping())
    assert fed(graph) == ["7:3", 0]
    assert fed(graph, "7:3", "image") == ["1", 0]
    assert graph["7:4"]["inputs"] == {"steps": 30, "socket": 30}
    assert graph["8:4"]["inputs"] == {"steps": 20, "socket": 20}


def test_convert_takes_a_wire_before_the_value_that_a_subgraph_holds():
    sheet = Sheet().node(1, "Take", [1], outputs=("INT",)).node(7, "sub", [30])
    graph = converted(sheet.link(1, 0, 7, "number", "INT", widget=True), stepping())
    assert graph["7:4"]["inputs"] == {"steps": ["1", 0], "socket": ["1", 0]}


def test_convert_reads_the_older_list_of_promoted_controls():
    listed = {"proxyWidgets": [["-1", "number"], ["3", "radius"], ["4", "control_after_generate"]]}
    sheet = Sheet().node(7, "sub", [30, 9, "fixed"], properties=listed)
    graph = converted(sheet, stepping())
    assert graph["7:4"]["inputs"] == {"steps": 30, "socket": 30}
    assert graph["7:3"]["inputs"] == {"radius": 9}


def test_convert_opens_a_subgraph_in_a_subgraph():
    outer = Sheet(id="outer", inputs=[{"name": "number"}], outputs=[{"name": "IMAGE"}])
    outer.node(5, "sub", [25]).link(-10, 0, 5, "number", "INT", widget=True).out(5, 0)
    graph = converted(saving(Sheet().node(7, "outer", [40]), 7), stepping(), outer)
    assert fed(graph) == ["7:5:3", 0]
    assert graph["7:5:4"]["inputs"] == {"steps": 40, "socket": 40}
    unset = converted(saving(Sheet().node(7, "outer"), 7), stepping(), outer)
    assert unset["7:5:4"]["inputs"] == {"steps": 25, "socket": 25}


def test_convert_bypasses_a_whole_subgraph():
    sheet = Sheet().node(1, "Load", ["a.png"]).node(7, "sub", [1], mode=4).link(1, 0, 7, "picture")
    assert fed(converted(saving(sheet, 7), stepping())) == ["1", 0]


def two_outputs():
    group = {"title": "Text to Video", "bounding": [0, 0, 100, 100]}
    part = {"title": "Save", "bounding": [40, 40, 20, 20]}
    sheet = Sheet(groups=[part, group]).node(1, "Load", ["a.png"]).node(2, "Load", ["b.png"])
    sheet.node(3, "VHS_VideoCombine", {"frame_rate": 24}, outputs=(), pos=[50, 50])
    sheet.node(4, "PreviewImage", outputs=(), pos=[300, 300]).link(2, 0, 4, "images")
    sheet.link(1, 0, 3, "images")
    return saving(sheet, 2, title="Last picture", pos=[300, 0])


def test_by_output_writes_only_what_each_output_needs():
    graphs = by_output(read_workflow(two_outputs().data), DEFINITIONS)
    assert {name: set(graph) for name, graph in graphs.items()} == {
        "VHS_VideoCombine": {"1", "3"},
        "Last picture": {"2", "99"},
    }
    assert Graph("last", graphs["Last picture"]).inputs("Last picture")["images"] == ["2", 0]


def test_by_output_tells_outputs_of_one_name_apart():
    sheet = saving(Sheet().node(1, "Load", ["a.png"]), 1)
    sheet.node(98, "SaveImage", ["b"], outputs=()).link(1, 0, 98, "images")
    assert set(by_output(read_workflow(sheet.data), DEFINITIONS)) == {
        "SaveImage 98",
        "SaveImage 99",
    }


def test_by_output_takes_previews_where_nothing_is_saved():
    sheet = Sheet().node(1, "Load", ["a.png"]).node(4, "PreviewImage", outputs=())
    graphs = by_output(read_workflow(sheet.link(1, 0, 4, "images").data), DEFINITIONS)
    assert set(graphs) == {"PreviewImage"}


def test_by_output_refuses_a_workflow_whose_outputs_are_switched_off():
    sheet = saving(Sheet().node(1, "Load", ["a.png"]), 1, mode=2)
    with pytest.raises(BadInput, match="no output that is switched on"):
        by_output(read_workflow(sheet.data), DEFINITIONS)


def test_by_group_goes_by_the_outermost_frame():
    graphs = by_group(read_workflow(two_outputs().data), DEFINITIONS)
    assert {name: set(graph) for name, graph in graphs.items()} == {
        "Text to Video": {"1", "3"},
        "Last picture": {"2", "99"},
    }


@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        ([], "no ComfyUI workflow"),
        ({}, "no ComfyUI workflow"),
        ({"nodes": 3}, "no ComfyUI workflow"),
        ({"1": {"class_type": "Load", "inputs": {}}}, "in API format already"),
        ({"nodes": [{"id": 1}]}, "damaged"),
        ({"nodes": [{"id": 1, "type": "Load", "inputs": 4}]}, "damaged"),
        ({"nodes": [], "links": [[1]]}, "damaged"),
    ],
)
def test_read_workflow_refuses_what_is_no_editors_workflow(data, sentence):
    with pytest.raises(BadInput, match=sentence):
        read_workflow(data)


def test_convert_names_a_class_that_is_not_there():
    with pytest.raises(BadInput, match="no node 'Sharpen'"):
        converted(saving(Sheet().node(1, "Sharpen"), 1))
    sheet = Sheet().node(1, "Load", ["a.png"]).node(2, "SaveHologram", outputs=())
    with pytest.raises(BadInput, match="no node 'SaveHologram'"):
        converted(sheet.link(1, 0, 2, "images"))


def test_by_output_leaves_a_missing_class_alone_that_no_output_needs():
    sheet = Sheet().node(1, "Load", ["a.png"]).node(2, "Sharpen").link(1, 0, 2, "image")
    sheet.node(3, "Blur", [3]).link(2, 0, 3, "image")
    graphs = by_output(read_workflow(saving(sheet, 1).data), DEFINITIONS)
    assert set(graphs["SaveImage"]) == {"1", "99"}


def test_convert_refuses_circles():
    round_about = Sheet().node(1, "Reroute").node(2, "Reroute").link(1, 0, 2, "", "*")
    with pytest.raises(BadInput, match="in a circle"):
        converted(saving(round_about.link(2, 0, 1, "", "*"), 2))
    inner = Sheet(id="sub", inputs=[], outputs=[]).node(3, "sub")
    with pytest.raises(BadInput, match="in a circle"):
        converted(Sheet().node(7, "sub"), inner)


@pytest.mark.parametrize("data", [[], {}, {"Load": 3}, {"Load": {}}])
def test_read_definitions_refuses_another_file(data):
    with pytest.raises(BadInput, match="list of nodes cannot be read"):
        read_definitions(data)


def test_read_definitions_takes_the_studios_own_recording():
    recorded = read_definitions(json.loads((ROOT / "tests" / "comfy_nodes.json").read_text()))
    assert recorded["SaveVideo"].is_output
    assert not recorded["KSamplerSelect"].is_output


def test_file_name_suits_every_system():
    assert file_name("Text to Video: v2/été") == "text_to_video_v2_été.json"
    assert file_name("…") == "graph.json"


def test_tool_writes_one_file_for_each_output(tmp_path, capsys):
    (tmp_path / "nodes.json").write_text(json.dumps(NODES))
    (tmp_path / "master.json").write_text(json.dumps(two_outputs().data))
    places = ["--master", str(tmp_path / "master.json"), "--out", str(tmp_path / "graphs")]
    assert extract_modes.main([*places, "--nodes", str(tmp_path / "nodes.json")]) == 0
    written = sorted(path.name for path in (tmp_path / "graphs").iterdir())
    assert written == ["last_picture.json", "vhs_videocombine.json"]
    assert "last_picture.json: 2 nodes" in capsys.readouterr().out


def test_tool_says_in_one_sentence_what_is_wrong(tmp_path, capsys):
    (tmp_path / "nodes.json").write_text(json.dumps(NODES))
    places = ["--master", str(tmp_path / "none.json"), "--out", str(tmp_path / "graphs")]
    assert extract_modes.main([*places, "--nodes", str(tmp_path / "nodes.json")]) == 1
    assert capsys.readouterr().err == "The file 'none.json' cannot be read: choose a JSON file.\n"
    assert not (tmp_path / "graphs").exists()


def test_tool_refuses_two_outputs_for_one_file(tmp_path, capsys):
    sheet = saving(Sheet().node(1, "Load", ["a.png"]), 1, title="Take 1")
    sheet.node(98, "SaveImage", outputs=(), title="take_1").link(1, 0, 98, "images")
    (tmp_path / "nodes.json").write_text(json.dumps(NODES))
    (tmp_path / "master.json").write_text(json.dumps(sheet.data))
    places = ["--master", str(tmp_path / "master.json"), "--out", str(tmp_path / "graphs")]
    assert extract_modes.main([*places, "--nodes", str(tmp_path / "nodes.json")]) == 1
    assert "two outputs for 'take_1.json'" in capsys.readouterr().err
