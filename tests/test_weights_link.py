"""Links into the models tree, and telling whole files from broken ones."""

import os
import struct
from pathlib import Path

import pytest
from local_hub import weights

from studio.errors import FetchFailed
from studio.weights_link import is_whole, link_into

CONTENT = weights(3_000_000)


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "cache" / "model.safetensors"
    path.parent.mkdir()
    path.write_bytes(CONTENT)
    return path


@pytest.fixture
def target(tmp_path):
    return tmp_path / "models" / "loras" / "name-of-the-graph.safetensors"


def write(path: Path, content: bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


@pytest.mark.parametrize(
    ("name", "content", "size", "whole"),
    [
        ("a.safetensors", CONTENT, None, True),
        ("a.safetensors", CONTENT, len(CONTENT), True),
        ("a.safetensors", CONTENT, 7, False),
        ("a.safetensors", CONTENT[:-1], None, False),
        ("a.safetensors", CONTENT + b"x", None, False),
        ("a.safetensors", CONTENT[:40], None, False),
        ("a.safetensors", b"", None, False),
        ("a.safetensors", struct.pack("<Q", 1 << 60) + b"{}", None, False),
        ("a.safetensors", b"<html>no such page</html>", None, False),
        ("a.bin", b"x", None, True),
        ("a.bin", b"x", 2, False),
        ("a.bin", b"", None, False),
        ("a.bin", b"", 0, True),
    ],
)
def test_is_whole_goes_by_size_and_header(tmp_path, name, content, size, whole):
    assert is_whole(write(tmp_path / name, content), size) is whole


def test_is_whole_of_what_is_not_there(tmp_path):
    (tmp_path / "dangling.bin").symlink_to("nowhere")
    assert not is_whole(tmp_path / "dangling.bin") and not is_whole(tmp_path / "none.bin")
    assert not is_whole(tmp_path)


def test_link_into_links_once(path, target):
    assert link_into(path, target) and link_into(path, target)
    assert target.is_symlink() and not target.readlink().is_absolute()
    assert target.read_bytes() == CONTENT
    assert [one.name for one in target.parent.iterdir()] == [target.name]


def test_link_into_a_folder_that_is_elsewhere(path, target, tmp_path):
    deep = tmp_path / "a" / "big" / "disk"
    deep.mkdir(parents=True)
    target.parent.parent.mkdir()
    target.parent.symlink_to(deep)
    assert link_into(path, target) and target.read_bytes() == CONTENT


@pytest.mark.parametrize("content", [b"", CONTENT[:100], CONTENT[:-1], CONTENT[:2_000_000]])
def test_link_into_replaces_an_empty_or_cut_file(path, target, content):
    write(target, content)
    assert link_into(path, target) and target.samefile(path)


def test_link_into_replaces_a_dangling_link(path, target):
    target.parent.mkdir(parents=True)
    target.symlink_to(target.parent / "nowhere")
    assert link_into(path, target) and target.samefile(path)


def test_link_into_replaces_a_link_to_a_cut_file_and_leaves_that_file(path, target, tmp_path):
    cut = write(tmp_path / "cut", CONTENT[:-1])
    target.parent.mkdir(parents=True)
    target.symlink_to(cut)
    assert link_into(path, target) and target.samefile(path)
    assert cut.read_bytes() == CONTENT[:-1]


@pytest.mark.parametrize("content", [weights(2_999_999, seed=1), CONTENT, CONTENT + b"x", b"mine"])
def test_link_into_never_replaces_another_file_of_the_user(path, target, content):
    write(target, content)
    assert not link_into(path, target)
    assert target.read_bytes() == content and not target.is_symlink()


def test_link_into_leaves_a_folder_alone(path, target):
    target.mkdir(parents=True)
    assert not link_into(path, target) and target.is_dir()


@pytest.mark.parametrize("hard", [True, False])
def test_link_into_does_without_symbolic_links(path, target, monkeypatch, hard):
    def refuse(*_, **__):
        raise OSError(1314, "A required privilege is not held by the client")

    monkeypatch.setattr(os, "symlink", refuse)
    if not hard:
        monkeypatch.setattr(os, "link", refuse)
    assert link_into(path, target) and target.read_bytes() == CONTENT
    assert not target.is_symlink() and target.samefile(path) is hard


def test_link_into_tells_why_it_cannot(path, tmp_path):
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(FetchFailed, match="cannot be used as a folder") as raised:
        link_into(path, tmp_path / "file" / "model.safetensors")
    assert raised.value.kind == "disk"
