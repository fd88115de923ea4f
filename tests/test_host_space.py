"""What a Space brings before its page is built, and what its page's frame asks of the cookie."""

import socket

import pytest
from model_files import put

import app
from studio.comfy_pins import PINS
from studio.errors import EngineFailed, StudioError
from studio.families import LTX
from studio.host_space import bring_engine


def brought(home, engine):
    """What is installed for an engine."""
    installed = []
    bring_engine(home, engine, print, lambda home, packs, say: installed.append(list(packs)))
    return installed


def test_comfyui_is_brought_where_it_is_chosen(home):
    assert brought(home, "") == brought(home, "diffusers") == []
    assert brought(home, "comfy") == [[]]


def test_comfyui_is_brought_for_weights_that_were_preloaded(home):
    put(home, *LTX.variants_of("comfy")[0].models)
    assert brought(home, "") == [[]]
    assert brought(home, "diffusers") == []


def test_page_starts_without_comfyui_that_nobody_forced(home):
    put(home, *LTX.variants_of("comfy")[0].models)
    said = []

    def fail(home, packs, say):
        raise EngineFailed("There is no network.")

    bring_engine(home, "", said.append, fail)
    assert said == ["There is no network.\nThe page starts without ComfyUI."]
    with pytest.raises(EngineFailed):
        bring_engine(home, "comfy", said.append, fail)


def test_packs_are_brought_for_graphs_of_the_owners(home):
    graph = home.root / "workflows" / "t2v.json"
    graph.parent.mkdir(parents=True)
    graph.write_text("{}")
    (packs,) = brought(home, "comfy")
    assert set(packs) == {name for name, pin in PINS.packs.items() if not pin.problem}
    assert packs


@pytest.mark.parametrize(("environ", "expected"), [({"SPACE_ID": "me/studio"}, 1), ({}, 0)])
def test_start_brings_the_engine_on_a_space_only(home, monkeypatch, environ, expected):
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    calls = []
    monkeypatch.setattr(app, "bring_engine", lambda *arguments: calls.append(arguments[:2]))
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        flags = ["--home", str(home.root), "--engine", "comfy", "--port", port]
        with pytest.raises(StudioError, match=f"Port {port}"):
            app._serve(app._parser().parse_args(flags))
    assert calls == [(home, "comfy")] * expected


def test_engine_that_cannot_be_brought_ends_the_start_with_its_sentence(home, monkeypatch, capsys):
    def fail(*arguments):
        raise EngineFailed("There is no network.")

    monkeypatch.setenv("SPACE_ID", "me/studio")
    monkeypatch.setattr(app, "bring_engine", fail)
    monkeypatch.setattr(app.signal, "signal", lambda *arguments: None)
    assert app.main(["--home", str(home.root), "--engine", "comfy"]) == 2
    assert capsys.readouterr().err == "There is no network.\n"
