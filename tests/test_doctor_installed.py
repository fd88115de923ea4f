"""`doctor --fix` on what is installed: real pip, real git, and no network."""

import importlib.metadata
import json
import os
import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path

import pytest
from comfy_origin import Hub, kill_during, use_plain_git
from doctor_patient import ROOT, doctor, made, quiet
from filelock import FileLock

from studio import doctor_installed
from studio.comfy_install import install, status
from studio.doctor_faults import mend
from studio.doctor_installed import comfy_faults
from studio.errors import StudioError


@pytest.fixture(autouse=True)
def plain_git(monkeypatch):
    use_plain_git(monkeypatch)


@pytest.fixture
def hub(tmp_path):
    return Hub(tmp_path)


@pytest.fixture
def environment(tmp_path):
    """A virtual environment with all that is installed here, but without the package peft."""
    folder = tmp_path / "venv"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(folder)], check=True)
    own = next((folder / "lib").glob("python*/site-packages"))
    for path in Path(sysconfig.get_path("purelib")).iterdir():
        if not path.name.startswith("peft"):
            (own / path.name).symlink_to(path)
    return folder / "bin" / "python", own


def wheel(folder, name, version):
    folder.mkdir()
    info = f"{name}-{version}.dist-info"
    files = {
        f"{name}/__init__.py": f'__version__ = "{version}"\n',
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        f"{info}/RECORD": "",
    }
    with zipfile.ZipFile(folder / f"{name}-{version}-py3-none-any.whl", "w") as archive:
        for path, content in files.items():
            archive.writestr(path, content)


def wheel_of_installed(folder, name):
    """The real package, as it is here."""
    folder.mkdir(exist_ok=True)
    found = importlib.metadata.distribution(name)
    with zipfile.ZipFile(folder / f"{name}-{found.version}-py3-none-any.whl", "w") as archive:
        for file in found.files:
            if file.suffix != ".pyc" and file.name not in ("INSTALLER", "REQUESTED"):
                archive.write(file.locate(), file.as_posix())


def constrained(name):
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    return next(line for line in lines if line.startswith(f"{name}==")).partition("==")[2]


OFFLINE = {"PIP_NO_INDEX": "1", "PIP_CONFIG_FILE": os.devnull, "PIP_NO_CACHE_DIR": "1"}


@pytest.mark.skipif(sys.platform == "win32", reason="links need rights there")
def test_missing_package_is_installed_into_the_environment(home, environment, tmp_path):
    made(home)
    python, own = environment
    links = {**OFFLINE, "PIP_FIND_LINKS": str(tmp_path / "wheels")}
    without = json.loads(doctor(home, "--fix", "--json", python=python, **OFFLINE).stdout)
    (left,) = without["mended"]
    assert (left["name"], left["mended"]) == ("packages", False)
    assert "pip could not install" in left["sentence"] and not without["healthy"]

    wheel(tmp_path / "wheels", "peft", constrained("peft"))
    told = json.loads(doctor(home, "--fix", "--json", python=python, **links).stdout)
    (mended,) = told["mended"]
    assert mended["mended"] and mended["sentence"].startswith("Installed peft")
    assert (own / "peft" / "__init__.py").exists()
    assert told["healthy"]


@pytest.mark.skipif(sys.platform == "win32", reason="links need rights there")
def test_studio_that_cannot_even_start_says_so_and_is_mended(home, environment, tmp_path):
    made(home)
    python, own = environment
    for path in own.glob("filelock*"):
        path.unlink()
    bare = doctor(home, python=python)
    assert (bare.returncode, bare.stdout) == (1, "")
    assert bare.stderr.startswith("The Python package 'filelock' is missing: run 'python -m studio")
    assert "Traceback" not in bare.stderr
    failed = doctor(home, "--fix", python=python, **OFFLINE)
    assert failed.returncode == 1 and failed.stderr.count("pip could not install") == 1

    wheel(tmp_path / "wheels", "peft", constrained("peft"))
    wheel_of_installed(tmp_path / "wheels", "filelock")
    mended = doctor(
        home, "--fix", python=python, PIP_FIND_LINKS=str(tmp_path / "wheels"), **OFFLINE
    )
    assert mended.returncode == 0, mended.stderr
    assert mended.stdout.startswith("Nothing was to be mended.")


def test_python_of_the_whole_system_is_left_alone(home, monkeypatch):
    made(home)
    monkeypatch.setattr(sys, "prefix", sys.base_prefix)
    monkeypatch.setattr(doctor_installed, "missing_requirements", lambda _lines: ["peft>=0.18"])
    (left,) = [one for one in mend(home, quiet) if one.name == "packages"]
    assert not left.mended and "virtual environment only" in left.sentence


# ComfyUI


def comfy(home, hub, **more):
    return list(comfy_faults(home, hub.pins, hub.base_url, **more))


def no_pip(command, say):
    return 0, ""


@pytest.mark.parametrize("step", ["fetch", "checkout"])
def test_killed_installation_of_comfyui_is_finished(home, hub, tmp_path, step):
    assert comfy(home, hub) == []
    if step == "checkout":
        install(home, say=quiet, pins=hub.old_pins, base_url=hub.base_url, pip=no_pip)
    kill_during(home, hub, tmp_path, step)
    (fault,) = comfy(home, hub, pip=no_pip)
    assert fault.sentence == "The installation of ComfyUI was cut short."
    assert fault.mend(quiet).startswith("Finished the installation of ComfyUI")
    assert status(home, pins=hub.pins).comfyui.state == "ready"
    assert not list(home.root.glob(".comfyui-*"))


def test_missing_requirements_of_comfyui_are_installed(home, hub, monkeypatch):
    install(home, say=quiet, pins=hub.pins, base_url=hub.base_url, pip=no_pip)
    commands = []

    def pip(command, say):
        commands.append(command)
        return 0, ""

    monkeypatch.setattr("studio.comfy_install._wanted", lambda packs: iter(["not-here-yet>=1"]))
    (fault,) = comfy(home, hub, pip=pip)
    assert fault.sentence == "ComfyUI lacks not-here-yet>=1."
    fault.mend(quiet)
    assert len(commands) == 1


def test_installation_that_is_running_is_left_alone(home, hub, tmp_path):
    kill_during(home, hub, tmp_path, "fetch")
    (fault,) = comfy(home, hub)
    with FileLock(home.root / "comfyui.lock"), pytest.raises(StudioError, match="is running"):
        fault.mend(quiet)
