"""The store of what users bring in: by content, under a harmless name."""

import errno
import hashlib
import os

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from studio import inputs
from studio.errors import BadInput
from studio.inputs import InputFile, display_name, input_path, store_input, stored_input

SHA = hashlib.sha256(b"meow").hexdigest()


@pytest.fixture
def cat(tmp_path):
    path = tmp_path / "Größe 猫.PNG"
    path.write_bytes(b"meow")
    return path


def test_store_input_keeps_the_file_by_its_content(home, cat):
    stored = store_input(home, cat)
    assert stored == InputFile(SHA, "Größe 猫.PNG", ".png")
    path = input_path(home, stored)
    assert path == home.inputs / SHA[:2] / f"{SHA}.png"
    assert path.read_bytes() == cat.read_bytes() == b"meow"


def test_store_input_keeps_the_same_content_once(home, cat, tmp_path):
    first = input_path(home, store_input(home, cat))
    made = first.stat().st_ino
    again = store_input(home, cat, "other name.png")
    assert again.name == "other name.png"
    assert input_path(home, again).stat().st_ino == made
    assert [one for one in home.inputs.rglob("*") if one.is_file()] == [first]


def test_store_input_mends_a_copy_that_was_cut(home, cat):
    path = input_path(home, store_input(home, cat))
    path.write_bytes(b"me")
    store_input(home, cat)
    assert path.read_bytes() == b"meow"


def test_store_input_takes_the_name_of_an_upload(home, cat):
    stored = store_input(home, cat, r"C:\fakepath\holiday.final.JPEG")
    assert (stored.name, stored.suffix) == ("holiday.final.JPEG", ".jpeg")


@pytest.mark.parametrize("name", ["script.sh", "page.html", "picture.svg", "none", "x.png/.."])
def test_store_input_keeps_only_suffixes_of_media(home, cat, name):
    stored = store_input(home, cat, name)
    assert stored.suffix == ""
    assert input_path(home, stored).name == SHA


def test_stored_input_finds_an_input_of_a_recipe_again(home, cat):
    stored = store_input(home, cat)
    assert stored_input(stored.sha256, stored.name) == stored


def test_store_input_refuses_what_is_too_large(home, tmp_path):
    path = tmp_path / "long.mp4"
    with path.open("wb") as file:
        file.truncate(inputs.MAX_UPLOAD_BYTES + 1)
    with pytest.raises(BadInput, match=r"'long\.mp4' is larger than 2 GB"):
        store_input(home, path)
    assert not home.inputs.exists()


def test_store_input_refuses_what_is_not_a_file(home, tmp_path):
    for path in (tmp_path, tmp_path / "gone.png"):
        with pytest.raises(BadInput, match="is not a file"):
            store_input(home, path)


def test_store_input_says_that_the_disk_is_full_and_leaves_nothing(home, cat, monkeypatch):
    def fill(descriptor):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", fill)
    with pytest.raises(BadInput, match="is full: free some space"):
        store_input(home, cat)
    assert list(home.inputs.iterdir()) == []


@pytest.mark.parametrize(
    "sha256, suffix",
    [
        ("../" * 21 + "a", ""),
        ("A" * 64, ""),
        ("a" * 63, ""),
        ("a" * 64 + "\n", ""),
        ("", ""),
        (SHA, "/../../x"),
        (SHA, ".sh"),
    ],
)
def test_input_path_refuses_forged_records(home, sha256, suffix):
    with pytest.raises(BadInput, match="is not one of the studio's"):
        input_path(home, InputFile(sha256, "x.png", suffix))


def test_input_path_says_that_an_input_is_gone(home):
    with pytest.raises(BadInput, match=r"The input 'x\.png' is no longer here"):
        input_path(home, InputFile(SHA, "x.png", ".png"))


@pytest.mark.parametrize(
    "name, shown",
    [
        ("../../etc/passwd", "passwd"),
        ("a\0b\nc\x7f.png", "abc.png"),
        ("gpj.\u202eexe", "gpj.exe"),
        ("half \ud83d.png", "half .png"),
        ("👨\u200d👩\u200d👧 שבת.mp4", "👨\u200d👩\u200d👧 שבת.mp4"),
        ("x" * 110 + " " * 20 + "y", "x" * 110),
        ("", "input"),
        ("..", "input"),
        (" \t ", "input"),
        ("folder/", "input"),
        ("x" * 300 + ".mp4", "x" * 116 + ".mp4"),
        ("x." + "y" * 300, "x." + "y" * 118),
    ],
)
def test_display_name_is_harmless(name, shown):
    assert display_name(name) == shown


@settings(deadline=None)
@given(st.text(st.characters(exclude_categories=())))
def test_display_name_is_short_and_stays_the_same(name):
    shown = display_name(name)
    assert 0 < len(shown) <= 120
    assert "/" not in shown
    assert shown.encode()
    assert display_name(shown) == shown
