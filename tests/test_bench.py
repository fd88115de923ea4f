"""The benches' own parts: turns, ratios, the plot, and that each bench is there."""

import importlib.util
import os
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest

from bench.__main__ import BENCHES
from bench.growth_plot import Line, plot
from bench.pairs import Times, in_turns, percentile, ratios, table

ROOT = Path(__file__).parent.parent


def test_runs_take_turns_in_who_goes_first():
    order = []

    def run(name):
        return lambda number: order.append((name, number)) or Times(1.0, 1.0)

    found = in_turns({"ours": run("ours"), "bare": run("bare")}, rounds=3)
    assert [name for name, _ in order] == ["bare", "ours", "ours", "bare", "bare", "ours"]
    assert [number for _, number in order] == list(range(6))
    assert {name: len(times) for name, times in found.items()} == {"ours": 3, "bare": 3}


def test_ratios_are_medians_of_pairs_not_of_sums():
    ours = [Times(2.0, 1.0), Times(30.0, 3.0), Times(3.0, 1.0)]
    bare = [Times(1.0, 1.0), Times(10.0, 1.0), Times(1.0, 1.0)]
    assert ratios(ours, bare) == (3.0, 1.0)


def test_percentile_is_one_of_the_values():
    values = [float(value) for value in range(100)]
    assert percentile(values, 0.5) == 50.0
    assert percentile(values, 0.99) == 99.0
    assert percentile([7.0], 0.99) == 7.0


def test_table_is_markdown():
    assert table(["a", "b"], [[1.0, "x"]]) == "| a | b |\n| --- | --- |\n| 1.00 | x |"


def test_plot_has_a_dot_for_each_point():
    lines = [Line("all", [(0, 0), (4, 2.5)]), Line("a < b", [(4, 1)])]
    drawn = ElementTree.fromstring(plot("frames", "seconds", lines))
    dots = [one for one in drawn.iter() if one.tag.endswith("circle")]
    assert len(dots) == 3
    across = [float(dot.get("cx")) for dot in dots]
    upwards = [float(dot.get("cy")) for dot in dots]
    assert across[0] < across[1] == across[2]
    assert upwards[1] < upwards[2] < upwards[0]


@pytest.mark.parametrize("module", BENCHES.values())
def test_bench_is_there(module):
    assert importlib.util.find_spec(module) is not None


def test_bench_of_a_history_answers_every_question():
    command = [sys.executable, "-m", "bench.history", "200"]
    paths = {**os.environ, "PYTHONPATH": str(ROOT / "tests")}
    done = subprocess.run(command, cwd=ROOT, env=paths, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "200 jobs, 20 files" in done.stdout
    assert "search for one picture" in done.stdout
