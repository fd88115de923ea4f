"""What a Space deletes of its visitors' files, and what it never does."""

import os
import time

import pytest

from studio.inputs import input_path, store_input
from studio.retention import GRACE_SECONDS, Limits, Retention, swept

HOUR = 3600.0
PLENTY = 10**12
NEVER = Limits(10**9, PLENTY, 0)


def retention(home, limits, free=PLENTY):
    return Retention(home, limits, free_bytes=lambda folder: free)


def age(path, hours):
    then = time.time() - hours * HOUR
    os.utime(path, (then, then))
    return path


def output(home, name, hours, size=100):
    path = home.outputs / "2025-01-31" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(bytes(size))
    return age(path, hours)


def brought(home, tmp_path, content, hours):
    source = tmp_path / "face.png"
    source.write_bytes(content)
    stored = store_input(home, source)
    age(input_path(home, stored), hours)
    return stored


def there(*paths):
    return [path.is_file() for path in paths]


def test_old_files_go_with_their_folder(home, table, tmp_path):
    old, new = output(home, "old.png", 30), output(home, "new.png", 20)
    face = input_path(home, brought(home, tmp_path, b"face", 30))
    retention(home, Limits(24 * HOUR, PLENTY, 0)).sweep()
    assert there(old, new, face) == [False, True, False]
    age(new, 30)
    retention(home, Limits(24 * HOUR, PLENTY, 0)).sweep()
    assert list(home.outputs.iterdir()) == list(home.inputs.iterdir()) == []


def test_oldest_go_until_the_rest_is_small_enough(home, table):
    files = [output(home, f"{hours}.png", hours) for hours in (5, 4, 3, 2)]
    retention(home, Limits(10**9, 250, 0)).sweep()
    assert there(*files) == [False, False, True, True]


def test_oldest_go_until_the_disk_has_room(home, table):
    files = [output(home, f"{hours}.png", hours) for hours in (5, 4, 3, 2)]
    retention(home, Limits(10**9, PLENTY, 1000), free=850).sweep()
    assert there(*files) == [False, False, True, True]


def test_nothing_goes_that_was_made_just_now(home, table):
    new = output(home, "new.png", GRACE_SECONDS / HOUR / 2)
    retention(home, Limits(0, 0, PLENTY), free=0).sweep()
    assert there(new) == [True]


@pytest.mark.parametrize("running", [False, True])
def test_files_of_a_live_job_stay(home, table, tmp_path, running):
    face = brought(home, tmp_path, b"face", 99)
    other = brought(home, tmp_path, b"other", 99)
    job = table.submit("ann", "edit", {"prompt": "a"}, 7, {"image": (face,)}, (face, face))
    if running:
        table.claim(job.id)
    made = output(home, "made.png", 99)
    table.finish_item(job.id, 0, made.relative_to(home.root).as_posix(), (), {}, {})
    latents = home.scratch / job.id / "1" / "latents.safetensors"
    latents.parent.mkdir(parents=True)
    latents.write_bytes(b"")
    age(latents, 99)
    strict = retention(home, Limits(HOUR, 0, PLENTY), free=0)
    strict.sweep()
    files = (input_path(home, face), made, latents)
    assert there(*files) == [True, True, True]
    with pytest.raises(Exception, match="no longer here"):
        input_path(home, other)
    table.claim(job.id)
    table.finish(job.id, "failed")
    strict.sweep()
    assert there(*files[1:]) == [False, False]


def test_input_that_is_brought_again_is_new(home, table, tmp_path):
    brought(home, tmp_path, b"face", 99)
    stored = store_input(home, tmp_path / "face.png")
    retention(home, Limits(HOUR, 0, PLENTY), free=0).sweep()
    assert input_path(home, stored).is_file()


def test_scratch_keeps_what_is_not_a_jobs(home, table):
    kept = [home.scratch / name for name in ("comfy/failed packs.txt", "uploads/a/face.png")]
    poster = home.scratch / "posters" / "x-0.jpg"
    for path in (*kept, poster):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"")
        age(path, 99)
    retention(home, Limits(HOUR, 0, 0)).sweep()
    assert there(*kept, poster) == [True, True, False]


def test_swept_goes_on_after_a_failure(home, table):
    old = output(home, "old.png", 99)
    looks = []

    def free(folder):
        looks.append(folder)
        if len(looks) == 1:
            raise OSError("the disk is away")
        return PLENTY

    with swept(Retention(home, Limits(HOUR, PLENTY, 0), free_bytes=free), seconds=0.01):
        deadline = time.monotonic() + 30
        while old.is_file():
            assert time.monotonic() < deadline
            time.sleep(0.01)


@pytest.mark.parametrize("jump", [48 * HOUR, -48 * HOUR])
def test_clock_that_is_set_makes_no_file_older(home, table, jump):
    clock = [time.time()]
    swept = Retention(home, Limits(24 * HOUR, 0, 0), lambda: clock[0], lambda folder: PLENTY)
    old, new = output(home, "old.png", 30), output(home, "new.png", 0)
    clock[0] += jump
    later = output(home, "later.png", -jump / HOUR)
    swept.sweep()
    assert there(old, new, later) == [jump < 0, True, True]
    clock[0] -= jump
    swept.sweep()
    assert there(old, new) == [False, True]
