"""The command that installs ComfyUI and says what is there."""

import argparse
import json

import pytest
from comfy_origin import PACK

from studio import cli_comfy
from studio.comfy_pins import PINS
from studio.errors import BadInput


@pytest.fixture(autouse=True)
def no_own_comfyui(monkeypatch):
    monkeypatch.delenv("AIO_COMFYUI", raising=False)


@pytest.fixture
def run_command():
    parser = argparse.ArgumentParser()
    cli_comfy.add_comfy_command(parser.add_subparsers())

    def run(*arguments):
        options = parser.parse_args(["comfy", *arguments])
        return options.run(options)

    return run


def test_comfy_status_says_as_json_what_is_missing(run_command, site, tmp_path, capsys):
    assert run_command("status", "--json", "--home", str(tmp_path / "new")) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["comfyui"]["state"] == "absent"
    assert found["comfyui"]["wanted"] == PINS.comfyui.commit
    assert found["comfyui"]["installed"] is None
    assert found["comfyui"]["folder"] == str(tmp_path / "new" / "comfyui")
    assert "torchvision==0.28.0" in found["missing"]
    assert [pack["name"] for pack in found["packs"]] == list(PINS.packs)
    assert not (tmp_path / "new").exists()


def test_comfy_status_as_text_names_every_part(run_command, site, tmp_path, capsys):
    run_command("status", "--home", str(tmp_path))
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == f"ComfyUI v0.33.0: not installed, {tmp_path / 'comfyui'}"
    assert len(lines) == 12


@pytest.mark.parametrize(
    ("words", "packs"),
    [
        ([], []),
        (["none"], []),
        (["all"], list(PINS.packs)),
        ([PACK, "ComfyMath"], [PACK, "ComfyMath"]),
    ],
)
def test_comfy_install_takes_packs_and_prints_the_folder(
    run_command, monkeypatch, tmp_path, capsys, words, packs
):
    asked = []

    def record(home, packs, *, say):
        asked.append(list(packs))
        say("working")
        return home.comfyui

    monkeypatch.setattr(cli_comfy, "install", record)
    flags = ["--packs", *words] if words else []
    assert run_command("install", *flags, "--home", str(tmp_path)) == 0
    assert asked == [packs]
    written = capsys.readouterr()
    assert written.out == f"{tmp_path / 'comfyui'}\n"
    assert written.err == "working\n"


def test_comfy_install_refuses_all_beside_a_name(run_command, tmp_path):
    with pytest.raises(BadInput, match="either 'none', 'all' or names"):
        run_command("install", "--packs", "all", PACK, "--home", str(tmp_path))
