"""Graphs of users that are damaged in any way are refused in a sentence."""

from soak import graphs


def test_mutated_graphs_are_bound_converted_or_refused(tmp_path, monkeypatch):
    monkeypatch.setenv("AIO_COMFYUI", str(tmp_path))
    found = graphs.campaign(tmp_path / "soak", seed=1, count=1500)
    assert found.other_errors == ()
    assert found.taken > 100 and found.refused_with_a_sentence > 100
