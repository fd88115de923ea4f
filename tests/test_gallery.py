"""What an owner has made, on a real job table and real files."""

import json
import time

import numpy as np
import pytest
from PIL import Image

from studio.errors import BadInput, StudioError
from studio.gallery import Gallery
from studio.inputs import InputFile
from studio.jobs import Failure
from studio.media_clips import write_clip
from studio.runner import ItemResult, Runner

CAT = InputFile("a" * 64, "cat.png", ".png")
DOG = InputFile("b" * 64, "dog.png", ".png")


@pytest.fixture
def gallery(home, table):
    return Gallery(home, table)


def make(home, table, prompt="a red circle", owner="ann", mode="photo", items=(None,), live=False):
    """A job whose every item has a picture on the disk."""
    job = table.submit(owner, mode, {"prompt": prompt}, 7, {}, items)
    table.claim(job.id)
    for item in job.items:
        path = home.outputs / "2026-11-21" / f"{job.id}_{item.index}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (900, 600), (90, 140, 60)).save(path)
        output = path.relative_to(home.root).as_posix()
        table.finish_item(job.id, item.index, output, (), {"width": 900, "seed": 7}, {})
    if not live:
        table.finish(job.id, "done")
    return job


def prompts(page):
    return [made.prompt for made in page.items]


# Listing


def test_page_lists_the_newest_files_first_in_pages(home, table, gallery):
    for number in range(5):
        make(home, table, f"picture {number}")
    first = gallery.page("ann", limit=2)
    second = gallery.page("ann", before=first.next, limit=2)
    third = gallery.page("ann", before=second.next, limit=2)
    assert [prompts(page) for page in (first, second, third)] == [
        ["picture 4", "picture 3"],
        ["picture 2", "picture 1"],
        ["picture 0"],
    ]
    assert third.next is None


def test_page_ends_between_the_items_of_a_batch(home, table, gallery):
    job = make(home, table, mode="edit", items=(CAT, DOG, CAT))
    first = gallery.page("ann", limit=2)
    second = gallery.page("ann", before=first.next, limit=2)
    assert [made.index for made in (*first.items, *second.items)] == [2, 1, 0]
    assert first.items[0].id == f"{job.id}-2"


def test_page_leaves_out_what_failed_and_what_is_gone(home, table, gallery):
    gone, kept = make(home, table, "gone"), make(home, table, "kept")
    failed = table.submit("ann", "photo", {"prompt": "failed"}, 1, {})
    table.claim(failed.id)
    table.fail_item(failed.id, 0, Failure("It failed.", "EngineFailed"), {})
    table.finish(failed.id, "failed")
    (home.outputs / "2026-11-21" / f"{gone.id}_0.png").unlink()
    assert prompts(gallery.page("ann")) == ["kept"]
    assert gallery.path_of("ann", gone.id, 0) is None
    assert gallery.path_of("ann", kept.id, 0).is_file()


@pytest.mark.parametrize(
    ("search", "found"),
    [
        ("CIRCLE red", ["a red circle"]),
        ("straße", ["Eine STRASSE"]),
        ("100%", ["100% wool"]),
        ("%", ["100% wool"]),
        ("<img", ['<img src=x onerror="alert(1)">']),
        ("' OR 1=1 --", []),
        ("  ", ['<img src=x onerror="alert(1)">', "100% wool", "Eine STRASSE", "a red circle"]),
    ],
)
def test_page_finds_prompts_with_every_word(home, table, gallery, search, found):
    for prompt in ("a red circle", "Eine STRASSE", "100% wool", '<img src=x onerror="alert(1)">'):
        make(home, table, prompt)
    assert prompts(gallery.page("ann", text=search)) == found


def test_page_is_of_one_mode(home, table, gallery):
    make(home, table, "drawn", mode="image")
    make(home, table, "taken", mode="photo")
    assert prompts(gallery.page("ann", mode="image")) == ["drawn"]
    assert prompts(gallery.page("ann", mode="no such mode")) == []


def test_others_have_an_empty_gallery_and_unknown_files(home, table, gallery):
    old, job = make(home, table, owner="bob"), make(home, table)
    for ids in ((job.id, 0), ("0" * 32, 0), (old.id, 5), (old.id, -1)):
        assert gallery.path_of("bob", *ids) is None
        assert gallery.poster("bob", *ids) is None
        assert gallery.delete("bob", *ids) is False
        assert gallery.undo("bob", *ids) is False
    for cursor in (f"{job.id}-0", f"{'0' * 32}-0", "nonsense", "-", ""):
        assert gallery.page("bob", before=cursor).items == ()
    assert table.list_for("bob", before=job.id) == table.list_for("bob", before="0" * 32) == ()
    assert gallery.path_of("ann", job.id, 0) is not None


def test_input_belongs_to_whom_ever_made_something_from_it(table, gallery):
    table.submit("ann", "i2v", {"prompt": "a"}, 1, {"image": (CAT,)})
    assert gallery.owns_input("ann", CAT.sha256)
    assert not gallery.owns_input("ann", DOG.sha256)
    assert not gallery.owns_input("bob", CAT.sha256)


# Posters


def test_poster_is_a_small_jpeg_that_is_kept(home, table, gallery):
    job = make(home, table)
    poster = gallery.poster("ann", job.id, 0)
    with Image.open(poster) as image:
        assert (image.format, image.size) == ("JPEG", (512, 341))
    changed = poster.stat().st_mtime_ns
    assert gallery.poster("ann", job.id, 0).stat().st_mtime_ns == changed


def test_poster_of_a_clip_is_its_first_frame(home, table, gallery):
    job = table.submit("ann", "t2v", {"prompt": "moving"}, 1, {})
    table.claim(job.id)
    path = home.outputs / "2026-11-21" / "clip.mp4"
    path.parent.mkdir(parents=True)
    write_clip(path, np.full((9, 64, 96, 3), 200, np.uint8), 24, None, {})
    table.finish_item(job.id, 0, path.relative_to(home.root).as_posix(), (), {}, {})
    with Image.open(gallery.poster("ann", job.id, 0)) as image:
        assert image.size == (96, 64)


def test_poster_of_a_damaged_file_is_refused_with_a_sentence(home, table, gallery):
    job = make(home, table)
    gallery.path_of("ann", job.id, 0).write_bytes(b"no picture")
    with pytest.raises(BadInput):
        gallery.poster("ann", job.id, 0)


# Deleting


def test_delete_can_be_undone(home, table, gallery):
    job = make(home, table)
    path = gallery.path_of("ann", job.id, 0)
    content, written = path.read_bytes(), path.stat().st_mtime
    assert gallery.delete("ann", job.id, 0)
    assert (path.exists(), prompts(gallery.page("ann"))) == (False, [])
    assert gallery.delete("ann", job.id, 0) is False
    assert gallery.undo("ann", job.id, 0)
    assert (path.read_bytes(), path.stat().st_mtime) == (content, written)
    assert prompts(gallery.page("ann")) == ["a red circle"]
    assert list((home.scratch / "trash").iterdir()) == []
    assert gallery.undo("ann", job.id, 0) is False


def test_delete_leaves_a_live_jobs_file(home, table, gallery):
    job = make(home, table, items=(CAT, DOG), live=True)
    with pytest.raises(BadInput, match="still at work"):
        gallery.delete("ann", job.id, 0)
    assert gallery.path_of("ann", job.id, 0).is_file()


def test_undo_overwrites_nothing(home, table, gallery):
    job = make(home, table)
    path = gallery.path_of("ann", job.id, 0)
    gallery.delete("ann", job.id, 0)
    path.write_bytes(b"another file")
    with pytest.raises(BadInput, match="taken again"):
        gallery.undo("ann", job.id, 0)
    assert path.read_bytes() == b"another file"


def test_trash_is_emptied_by_age_and_at_the_next_start(home, table, gallery):
    job = make(home, table)
    gallery.poster("ann", job.id, 0)
    gallery.delete("ann", job.id, 0)
    gallery.empty_trash(older_than=60)
    assert len(list((home.scratch / "trash").iterdir())) == 1
    Gallery(home, table).empty_trash()
    assert list((home.scratch / "trash").iterdir()) == []
    assert list((home.scratch / "posters").iterdir()) == []
    assert gallery.undo("ann", job.id, 0) is False


def test_trash_is_emptied_by_itself(home, table):
    gallery = Gallery(home, table, undo_seconds=0.1)
    job = make(home, table)
    gallery.delete("ann", job.id, 0)
    end = time.monotonic() + 10
    while list((home.scratch / "trash").iterdir()):
        assert time.monotonic() < end
        time.sleep(0.02)


# One item of a batch again


def test_rerun_of_one_item_leaves_the_others(home, table):
    made = []

    def work(job, item, report):
        made.append(item.index)
        if len(made) <= 3:
            raise BadInput("Not this time.")
        path = home.outputs / f"{item.index}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
        return ItemResult(path, (), {})

    job = table.submit("ann", "edit", {"prompt": "a"}, 1, {}, (CAT, DOG, CAT))
    runner = Runner(table, work, home)
    runner.run_one(job.id)
    table.rerun("ann", job.id, 1)
    again = runner.run_one(job.id)
    assert made == [0, 1, 2, 1]
    assert [item.state for item in again.items] == ["failed", "done", "failed"]
    for index in (1, 3):
        with pytest.raises(StudioError, match="finished"):
            table.rerun("ann", job.id, index)


# Speed


def test_gallery_is_fast_with_a_hundred_thousand_jobs(home, table, gallery):
    """10,000 files of 100,000 jobs; the bounds are ten times what a laptop needs."""
    fill(home, table, jobs=100_000, files=10_000)
    took = {}
    for name, search in {
        "first page": {},
        "common word": {"text": "circle"},
        "rare words": {"text": "number 17 circle"},
        "nothing found": {"text": "zebra"},
        "mode": {"mode": "t2v"},
    }.items():
        start = time.perf_counter()
        page = gallery.page("ann", **search)
        took[name] = time.perf_counter() - start
        assert (len(page.items) == 24) == (name not in ("nothing found",))
    assert took.pop("first page") < 0.2
    assert max(took.values()) < 4


def fill(home, table, jobs, files):
    """Every tenth job has a file that is still there; nine have lost theirs, or are bob's."""
    folder = home.outputs / "2026-11-21"
    folder.mkdir(parents=True)
    for number in range(files):
        (folder / f"{number}.png").touch()
    table.has_work()
    params = json.dumps({"preset": "fast", "loras": [], "negative": "blurry", "width": 1024})
    with table._file.writing() as connection:
        connection.executemany(
            "INSERT INTO jobs (id, owner, mode, params, seed, inputs, state, position, created)"
            " VALUES (?, ?, ?, json_set(?, '$.prompt', ?), '7', '{}', 'done', 0, 0)",
            (
                (
                    f"{number:032x}",
                    "bob" if number % 10 == 9 else "ann",
                    "t2v" if number % 3 else "photo",
                    params,
                    f"a red circle, number {number}, moving slowly to the left in the evening",
                )
                for number in range(jobs)
            ),
        )
        connection.executemany(
            "INSERT INTO items (job_id, item_index, state, output) VALUES (?, 0, 'done', ?)",
            (
                (f"{number:032x}", f"outputs/2026-11-21/{_name(number)}.png")
                for number in range(jobs)
            ),
        )


def _name(number):
    return f"gone{number}" if number % 10 else str(number // 10)
