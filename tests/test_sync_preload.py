"""The README tells a Space to fetch what the registry says, within a Space's limits."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT / "tools"))

import sync_preload  # noqa: E402

from studio.families import FAMILIES  # noqa: E402
from studio.registry import ModelFolder  # noqa: E402


def run(*arguments):
    command = [sys.executable, ROOT / "tools" / "sync_preload.py", *arguments]
    return subprocess.run(command, capture_output=True, text=True)


def test_readme_has_the_list_of_the_registry():
    checked = run("--check")
    assert checked.returncode == 0, checked.stderr


@pytest.mark.parametrize("change", [lambda text: text.replace("  - ", "  - x/", 1)])
def test_another_list_is_found_and_mended(tmp_path, monkeypatch, change, capsys):
    readme = tmp_path / "README.md"
    readme.write_text(change(sync_preload.README.read_text()))
    monkeypatch.setattr(sync_preload, "README", readme)
    monkeypatch.setattr(sys, "argv", ["sync_preload.py", "--check"])
    assert sync_preload.main() == 1
    assert "run tools/sync_preload.py" in capsys.readouterr().err
    monkeypatch.setattr(sys, "argv", ["sync_preload.py"])
    assert sync_preload.main() == 0
    assert readme.read_text() == (ROOT / "README.md").read_text()


def place(model):
    """Its repository and its path in it; no path for a whole repository."""
    if isinstance(model, ModelFolder):
        return model.repo, ""
    return model.source.repo, model.source.path


def test_list_keeps_to_the_limits_and_names_each_repository_once():
    entries = sync_preload.preload_entries()
    repositories = [entry.split(" ")[0] for entry in entries]
    assert len(entries) <= 10 and len(set(repositories)) == len(entries)
    assert all(re.fullmatch(r"[\w.-]+/[\w.-]+( [^ ]+)?", entry) for entry in entries)
    sizes = {
        place(model): model.gigabytes
        for family in FAMILIES.values()
        for variant in family.variants
        for model in (
            *(one for choices in variant.parts.values() for one in choices),
            *(adapter.model for adapter in variant.adapters.values()),
            *family.control_models.values(),
        )
    }
    total = 0
    for entry in entries:
        repo, _, files = entry.partition(" ")
        total += sum(sizes[repo, file] for file in files.split(","))
    assert 0 < total <= 150


def test_sets_are_taken_whole_or_not_at_all(monkeypatch):
    monkeypatch.setattr(sync_preload, "MOST_GIGABYTES", 50.0)
    small = sync_preload.preload_entries()
    assert any("dev-fp8" in one for one in small) and not any("Qwen" in one for one in small)
    monkeypatch.setattr(sync_preload, "MOST_GIGABYTES", 20.0)
    # The video set does not fit any more, but the pictures of SDXL do.
    assert sync_preload.preload_entries() == ["glides/epicrealismxl"]
