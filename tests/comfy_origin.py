"""Where ComfyUI and packs come from: local repositories, packages of a test's own, a fake pip."""

import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

from studio import comfy_install
from studio.comfy_pins import PINS, Pins

OLD = {"execution.py": "old = 1\n", "gone.py": "", ".gitignore": "/custom_nodes/\n/models/\n"}
NEW = {"execution.py": "new = 1\n", "added.py": "", ".gitignore": "/custom_nodes/\n/models/\n"}
PACK = "ComfyUI-GGUF"


def git(folder, *arguments):
    done = subprocess.run(
        ["git", "-C", str(folder), *arguments], capture_output=True, text=True, check=True
    )
    return done.stdout.strip()


def commit_files(folder, files):
    for old in folder.iterdir():
        if old.name != ".git":
            old.unlink()
    for name, content in files.items():
        (folder / name).write_text(content)
    git(folder, "add", "--all")
    git(folder, "commit", "--quiet", "-m", "files")
    return git(folder, "rev-parse", "HEAD")


def publish(root, repository, versions):
    """A bare repository under `root` that lets any commit be fetched, and its commits."""
    work, bare = root / "work" / repository, root / "origin" / repository
    work.mkdir(parents=True)
    git(work, "init", "--quiet")
    commits = [commit_files(work, files) for files in versions]
    subprocess.run(["git", "clone", "--quiet", "--bare", str(work), str(bare)], check=True)
    git(bare, "config", "uploadpack.allowAnySHA1InWant", "true")
    return commits


class Hub:
    """The repositories, and pins to their newest commits."""

    def __init__(self, root):
        self.base_url = (root / "origin").as_uri()
        pack = PINS.packs[PACK]
        self.old, self.new = publish(root, PINS.comfyui.repository, (OLD, NEW))
        (self.pack,) = publish(root, pack.repository, ({"nodes.py": "", "gguf.txt": "x"},))
        packs = {PACK: replace(pack, commit=self.pack)}
        self.pins = Pins(replace(PINS.comfyui, commit=self.new), packs)
        self.old_pins = replace(self.pins, comfyui=replace(PINS.comfyui, commit=self.old))


class Site:
    """What importlib.metadata finds: only the packages that a test puts there."""

    def __init__(self, folder):
        self.folder = folder

    def add(self, name, version):
        info = self.folder / f"{name.replace('-', '_')}-{version}.dist-info"
        info.mkdir(parents=True)
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")

    def add_all_required(self):
        for line in comfy_install._wanted([]):
            name, _, version = line.replace("~=", "==").replace(">=", "==").partition("==")
            self.add(name, version or "1.0")


class FakePip:
    """Stands for the network: remembers the command and the constraints that it was given."""

    def __init__(self, status=0, tail=""):
        self.answer = (status, tail)
        self.commands = []
        self.constraints = ""

    def __call__(self, command, say):
        self.commands.append(list(command))
        self.constraints = Path(command[command.index("--constraint") + 1]).read_text()
        return self.answer


def use_plain_git(monkeypatch):
    """git without anybody's settings, and no ComfyUI but the one that is installed."""
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", os.devnull)
    monkeypatch.setenv("GIT_CONFIG_NOSYSTEM", "1")
    for role in ("AUTHOR", "COMMITTER"):
        monkeypatch.setenv(f"GIT_{role}_NAME", "Test")
        monkeypatch.setenv(f"GIT_{role}_EMAIL", "test@example.org")
    monkeypatch.delenv("AIO_COMFYUI", raising=False)


KILLED_CHILD = """
import sys
from dataclasses import replace
from pathlib import Path
from studio.comfy_install import install
from studio.comfy_pins import PINS, Pins
from studio.home import Home
root, commit, url = sys.argv[1:]
pins = Pins(replace(PINS.comfyui, commit=commit), {})
install(Home(Path(root)), pins=pins, base_url=url, say=print, pip=lambda command, say: (0, ""))
"""


def kill_during(home, hub, tmp_path, step):
    """Runs install in a child whose git stops inside `step`, and kills both without warning.

    The stopped step has done half of its work: a checkout has removed a file and holds its lock.
    """
    real = subprocess.run(["which", "git"], capture_output=True, text=True, check=True)
    folder, flag = tmp_path / "slow", tmp_path / "reached"
    folder.mkdir()
    script = folder / "git"
    script.write_text(
        f"""#!/bin/sh
case " $* " in *" {step} "*)
  case {step} in
    fetch) {real.stdout.strip()} "$@";;
    checkout) cd "{home.comfyui}" && rm execution.py && touch .git/index.lock;;
  esac
  touch "{flag}"; sleep 60;;
esac
exec {real.stdout.strip()} "$@"
"""
    )
    script.chmod(0o755)
    child = subprocess.Popen(
        [sys.executable, "-c", KILLED_CHILD, str(home.root), hub.new, hub.base_url],
        env=os.environ | {"PATH": f"{folder}{os.pathsep}{os.environ['PATH']}"},
        cwd=Path(__file__).parent.parent,
        start_new_session=True,
    )
    deadline = time.monotonic() + 30
    while not flag.exists() and child.poll() is None and time.monotonic() < deadline:
        time.sleep(0.02)
    assert flag.exists()
    os.killpg(child.pid, signal.SIGKILL)
    child.wait()
