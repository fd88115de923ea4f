"""Installing ComfyUI and packs: real git against local repositories, a fake pip."""

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from comfy_origin import NEW, OLD, PACK, FakePip, Hub, git, kill_during, use_plain_git
from filelock import FileLock

from studio.comfy_install import install, missing_requirements, status
from studio.comfy_pins import PINS, TORCH_COMPANIONS
from studio.errors import BadInput, EngineFailed
from studio.home import Home
from studio.packages import run_pip


@pytest.fixture(autouse=True)
def plain_git(monkeypatch):
    use_plain_git(monkeypatch)


@pytest.fixture
def hub(tmp_path):
    return Hub(tmp_path)


@pytest.fixture
def run_install(hub, home, site):
    """Installs into `home` from the hub; returns what was said."""

    def run(*packs, pip=None, **changes):
        said = []
        options = {"pins": hub.pins, "base_url": hub.base_url, "say": said.append}
        install(home, packs, pip=pip or FakePip(), **(options | changes))
        return "\n".join(said)

    return run


def tree(home):
    return {path.name for path in home.comfyui.iterdir()} - {".git"}


def leftovers(home):
    return [path.name for path in home.root.glob(".comfyui-*")]


def test_install_fetches_the_pinned_commit(run_install, hub, home):
    said = run_install()
    assert tree(home) == set(NEW)
    assert git(home.comfyui, "rev-parse", "HEAD") == hub.new
    assert leftovers(home) == []
    assert f"Fetching ComfyUI v0.33.0 ({hub.new[:8]}, about 29 MB, licence GPL-3.0)" in said


def test_install_again_does_nothing(run_install, home, site, monkeypatch):
    site.add_all_required()
    run_install()
    before = (home.comfyui / ".git" / "index").stat().st_mtime_ns
    pip = FakePip()
    said = run_install(pip=pip, base_url="file:///nowhere")
    assert "already in" in said
    assert "packages are already there" in said
    assert pip.commands == []
    assert (home.comfyui / ".git" / "index").stat().st_mtime_ns == before


def test_install_updates_another_commit_and_keeps_the_users_files(run_install, hub, home):
    run_install(pins=hub.old_pins)
    (home.comfyui / "models").mkdir()
    (home.comfyui / "models" / "mine.safetensors").write_text("kept")
    assert status(home, pins=hub.pins).comfyui.state == "other"
    run_install()
    assert tree(home) == set(NEW) | {"models"}
    assert (home.comfyui / "models" / "mine.safetensors").read_text() == "kept"
    assert status(home, pins=hub.pins).comfyui.state == "ready"


def test_install_updates_past_the_lock_of_a_killed_fetch(run_install, hub, home):
    run_install()
    (home.comfyui / ".git" / "shallow.lock").touch()
    run_install(pins=hub.old_pins)
    assert tree(home) == set(OLD)


def test_install_keeps_the_history_of_a_full_clone(run_install, hub, home):
    home.root.mkdir()
    url = f"{hub.base_url}/{PINS.comfyui.repository}"
    subprocess.run(["git", "clone", "--quiet", url, str(home.comfyui)], check=True)
    git(home.comfyui, "checkout", "--quiet", hub.old)
    run_install()
    assert git(home.comfyui, "rev-parse", "HEAD") == hub.new
    assert git(home.comfyui, "rev-list", "--count", "HEAD") == "2"


@pytest.mark.parametrize("at", ["old_pins", "pins"])
def test_install_refuses_local_changes(run_install, hub, home, at):
    run_install(pins=getattr(hub, at))
    (home.comfyui / "execution.py").write_text("mine = 1\n")
    with pytest.raises(BadInput, match="were changed by hand"):
        run_install()
    assert (home.comfyui / "execution.py").read_text() == "mine = 1\n"
    assert status(home, pins=hub.pins).comfyui.state == "changed"


def test_install_refuses_a_folder_without_git(run_install, hub, home):
    home.comfyui.mkdir(parents=True)
    (home.comfyui / "thesis.txt").write_text("mine")
    with pytest.raises(BadInput, match="was not made with git"):
        run_install()
    assert tree(home) == {"thesis.txt"}


def test_install_does_not_mistake_a_repository_around_it_for_its_own(run_install, hub, home):
    home.root.mkdir()
    git(home.root, "init", "--quiet")
    (home.comfyui / ".git").mkdir(parents=True)
    run_install()
    assert git(home.comfyui, "rev-parse", "HEAD") == hub.new


@pytest.mark.parametrize("damage", ["no commit", "no index", "no head"])
def test_install_repairs_a_half_made_clone(run_install, hub, home, damage):
    if damage == "no commit":
        home.comfyui.mkdir(parents=True)
        git(home.comfyui, "init", "--quiet")
        (home.comfyui / "execution.py").write_text("hal")
    else:
        run_install()
        (home.comfyui / ".git" / {"no index": "index", "no head": "HEAD"}[damage]).unlink()
        (home.comfyui / "added.py").unlink()
    (home.comfyui / "models").mkdir()
    assert status(home, pins=hub.pins).comfyui.state == "unfinished"
    run_install()
    assert status(home, pins=hub.pins).comfyui.state == "ready"
    assert tree(home) == set(NEW) | {"models"}
    assert (home.comfyui / "execution.py").read_text() == NEW["execution.py"]
    assert leftovers(home) == []


def test_install_killed_while_fetching_counts_as_absent_and_starts_again(
    run_install, hub, home, tmp_path
):
    kill_during(home, hub, tmp_path, "fetch")
    assert leftovers(home)
    assert status(home, pins=hub.pins).comfyui.state == "absent"
    run_install()
    assert status(home, pins=hub.pins).comfyui.state == "ready"
    assert leftovers(home) == []


def test_install_killed_while_updating_is_known_as_unfinished_and_repaired(
    run_install, hub, home, tmp_path
):
    run_install(pins=hub.old_pins)
    kill_during(home, hub, tmp_path, "checkout")
    assert status(home, pins=hub.pins).comfyui.state == "unfinished"
    run_install()
    assert status(home, pins=hub.pins).comfyui.state == "ready"
    assert (home.comfyui / "execution.py").read_text() == NEW["execution.py"]
    assert leftovers(home) == []


def test_install_says_that_the_commit_is_unknown(run_install, hub, home):
    pins = replace(hub.pins, comfyui=replace(PINS.comfyui, commit="1" * 40))
    with pytest.raises(EngineFailed, match=r"has no commit 1{40} any more: update the studio"):
        run_install(pins=pins)
    assert not home.comfyui.exists()
    assert leftovers(home) == []


def test_install_that_fails_to_update_leaves_the_old_commit_whole(run_install, hub, home):
    run_install(pins=hub.old_pins)
    with pytest.raises(EngineFailed, match="There is no repository at"):
        run_install(base_url="file:///nowhere")
    assert tree(home) == set(OLD)
    assert status(home, pins=hub.old_pins).comfyui.state == "ready"


def test_install_says_that_the_network_is_away(run_install, home, monkeypatch):
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.setenv(name, "127.0.0.1")
    with pytest.raises(EngineFailed, match=r"cannot be reached \(.*connect.*\): check the network"):
        run_install(base_url="http://127.0.0.1:9")
    assert not home.comfyui.exists()
    assert leftovers(home) == []


def test_install_says_that_git_is_missing(run_install, home, monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(EngineFailed, match="git is not installed"):
        run_install()
    assert leftovers(home) == []


def test_install_says_that_the_disk_is_full(run_install, home, monkeypatch, tmp_path):
    git_of_full_disk = tmp_path / "git"
    git_of_full_disk.write_text(
        "#!/bin/sh\necho 'fatal: write error: No space left on device' >&2\nexit 128\n"
    )
    git_of_full_disk.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    with pytest.raises(EngineFailed, match=r"disk that holds .* is full"):
        run_install()
    assert leftovers(home) == []


def test_install_refuses_to_run_twice_at_once(run_install, home):
    home.root.mkdir()
    with (
        FileLock(home.root / "comfyui.lock"),
        pytest.raises(EngineFailed, match="Another installation"),
    ):
        run_install()


def test_install_puts_a_pack_into_custom_nodes(run_install, hub, home):
    pip = FakePip()
    run_install(PACK.lower(), pip=pip)
    folder = home.comfyui / "custom_nodes" / PACK
    assert git(folder, "rev-parse", "HEAD") == hub.pack
    assert pip.commands[0][-2:] == ["gguf>=0.13", "protobuf"]
    found = status(home, pins=hub.pins)
    assert found.comfyui.state == "ready"
    assert [part.state for part in found.packs] == ["ready"]
    assert "gguf>=0.13" in found.missing


def test_install_refuses_an_unknown_pack_before_it_starts(run_install, home):
    with pytest.raises(BadInput, match=f"no pack called 'ComfyUI-None': choose {PACK}"):
        run_install("ComfyUI-None")
    assert not home.root.exists()


def test_install_says_which_pack_does_not_load(run_install, hub):
    pack = replace(hub.pins.packs[PACK], problem="it is too old")
    said = run_install(PACK, pins=replace(hub.pins, packs={PACK: pack}))
    assert f"{PACK} does not load: it is too old." in said


def test_install_leaves_a_comfyui_of_the_users_own_alone(run_install, home, monkeypatch, tmp_path):
    own = tmp_path / "my-comfyui"
    own.mkdir()
    (own / "execution.py").write_text("mine = 1\n")
    monkeypatch.setenv("AIO_COMFYUI", str(own))
    pip = FakePip()
    assert f"the ComfyUI in {own} is used, and is not changed" in run_install(pip=pip)
    assert [path.name for path in own.iterdir()] == ["execution.py"]
    assert not (home.root / "comfyui").exists()
    assert len(pip.commands) == 1
    assert status(home).yours
    with pytest.raises(BadInput, match="Packs are not put into your own ComfyUI"):
        run_install(PACK)


def test_install_gives_pip_the_requirements_and_keeps_torch(run_install):
    pip = FakePip()
    run_install(pip=pip)
    (command,) = pip.commands
    constraints = command[command.index("--constraint") + 1]
    assert command == [
        *(sys.executable, "-m", "pip", "install"),
        *("--no-input", "--disable-pip-version-check", "--progress-bar", "off"),
        *("--constraint", constraints),
        *("--requirement", str(Path(__file__).parent.parent / "requirements-comfy.txt")),
    ]
    assert pip.constraints == "torch==2.13.0+cpu\ntorchvision==0.28.0\ntorchaudio==2.11.0\n"
    assert not Path(constraints).exists()


def test_install_replaces_a_torchvision_of_another_torch(run_install, hub, home, site):
    site.add_all_required()
    (site.folder / "torchvision-0.28.0.dist-info").rename(site.folder / "away")
    site.add("torchvision", "0.27.0")
    assert status(home, pins=hub.pins).missing == ("torchvision==0.28.0",)
    pip = FakePip()
    run_install(pip=pip)
    assert len(pip.commands) == 1


def test_install_shows_the_last_lines_of_a_failing_pip(run_install, home):
    with pytest.raises(EngineFailed) as caught:
        run_install(pip=FakePip(1, "ERROR: No matching distribution"))
    first, last = str(caught.value).splitlines()
    assert first == "pip could not install the Python packages; its last lines:"
    assert last == "ERROR: No matching distribution"
    assert (home.comfyui / "execution.py").exists()


@pytest.mark.parametrize(
    ("version", "sentence"),
    [("", "PyTorch is not installed"), ("3.7.0", "does not know what goes with PyTorch 3.7.0")],
)
def test_install_refuses_a_torch_that_it_cannot_keep(run_install, home, site, version, sentence):
    (site.folder / "torch-2.13.0+cpu.dist-info").rename(site.folder / "away")
    if version:
        site.add("torch", version)
    with pytest.raises(BadInput, match=sentence):
        run_install()
    assert not home.root.exists()


def test_missing_requirements_takes_another_build_of_the_same_module(site):
    site.add("opencv-python", "4.12.0")
    site.add("mss", "9.0")
    wanted = ["opencv-python-headless", "onnxruntime", "mss>=10"]
    assert missing_requirements(wanted) == ["onnxruntime", "mss>=10"]


def test_run_pip_passes_on_downloads_and_keeps_the_last_lines():
    said = []
    program = "print('  Downloading a.whl (227 MB)')\nfor i in range(9): print(i)\nexit(3)"
    assert run_pip([sys.executable, "-c", program], said.append) == (3, "4\n5\n6\n7\n8")
    assert said == ["Downloading a.whl (227 MB)"]


def test_pins_are_whole_commits_of_ten_packs():
    pins = [PINS.comfyui, *PINS.packs.values()]
    assert len(pins) == 11
    assert all(len(pin.commit) == 40 and int(pin.commit, 16) for pin in pins)
    assert "ComfyUI-mxToolkit" in PINS.packs
    assert TORCH_COMPANIONS["2.13.0"] == ("0.28.0", "2.11.0")


def test_home_finds_the_installed_comfyui(run_install, home):
    run_install()
    assert Home(home.root).comfyui == home.root / "comfyui"
