"""Publishing results: names, never overwriting, never half a file, and full or closed disks."""

import errno
import os
import signal
import subprocess
import sys
import time
from datetime import datetime
from pathlib import Path

import pytest

from studio.errors import BadInput, EngineFailed
from studio.outputs import copy_to, ensure_room, free_bytes, output_name, publish

WHEN = datetime(2026, 9, 3, 7, 5, 9)

needs_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")

LINKS = pytest.mark.parametrize("links", [True, False], ids=["links", "no-links"])

PUBLISHER = """
import errno, os, sys, time
from datetime import datetime
from pathlib import Path
from studio.home import Home
from studio.outputs import publish

def no_links(*paths):
    raise OSError(errno.EPERM, "Operation not permitted")

exists = Path.exists

def slow_exists(path):
    # Whoever looks first and writes later loses a race now, every time.
    answer = exists(path)
    time.sleep(0.002)
    return answer

Path.exists = slow_exists
root, label, count, size, links = sys.argv[1:]
if links == "False":
    os.link = no_links
home = Home(Path(root))
home.scratch.mkdir(parents=True, exist_ok=True)
print("ready", flush=True)
sys.stdin.readline()
for number in range(int(count)):
    temporary = home.scratch / f"{label}-{number}.mp4"
    temporary.write_bytes(f"{label} {number} ".encode().ljust(int(size), b"."))
    publish(temporary, home, "t2v", 7, "mp4", datetime(2026, 9, 3, 7, 5, 9))
"""


@pytest.fixture
def finished(home):
    home.scratch.mkdir(parents=True)
    path = home.scratch / "finished.tmp"
    path.write_bytes(b"picture")
    return path


def refuse_links(monkeypatch, number=errno.EPERM):
    def link(*paths, **options):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "link", link)


def start_publisher(home, label, count, size, links):
    arguments = [str(home.root), label, str(count), str(size), str(links)]
    project = Path(__file__).parent.parent
    process = subprocess.Popen(
        [sys.executable, "-c", PUBLISHER, *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        cwd=project,
    )
    assert process.stdout.readline() == b"ready\n"
    return process


def release(process):
    process.stdin.write(b"go\n")
    process.stdin.flush()


def kill_at_disk_call(step):
    """Ends this process, as a power cut would, before its `step`th call that changes the disk."""
    left = [step]

    def count(event, arguments):
        if event in {"open", "os.link", "os.rename", "os.remove", "os.mkdir", "os.rmdir"}:
            left[0] -= 1
            if left[0] == 0:
                os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(count)


def contents(home):
    return [path.read_bytes() for path in home.outputs.rglob("*") if path.is_file()]


def test_output_name_sorts_by_time():
    assert output_name("t2v", 42, WHEN) == "070509_t2v_42"


@LINKS
def test_publish_moves_the_file_to_its_day(home, finished, monkeypatch, links):
    if not links:
        refuse_links(monkeypatch)
    path = publish(finished, home, "photo", 42, "png", WHEN)
    assert path == home.outputs / "2026-09-03" / "070509_photo_42.png"
    assert path.read_bytes() == b"picture"
    assert list(home.scratch.iterdir()) == []


@LINKS
def test_publish_never_overwrites(home, finished, monkeypatch, links):
    if not links:
        refuse_links(monkeypatch)
    names = []
    for content in (b"one", b"two", b"three"):
        finished.write_bytes(content)
        path = publish(finished, home, "photo", 42, "png", WHEN)
        names.append((path.name, path.read_bytes()))
    assert names == [
        ("070509_photo_42.png", b"one"),
        ("070509_photo_42_2.png", b"two"),
        ("070509_photo_42_3.png", b"three"),
    ]


def test_publish_uses_the_local_time_by_default(home, finished):
    before = datetime.now().replace(microsecond=0)
    path = publish(finished, home, "photo", 1, "png")
    made = datetime.strptime(f"{path.parent.name} {path.name[:6]}", "%Y-%m-%d %H%M%S")
    assert before <= made <= datetime.now()


def test_publish_reaches_outputs_on_another_disk(home, finished, monkeypatch):
    link, here = os.link, home.scratch

    def link_on_one_disk(source, target):
        if Path(source).parent == here:
            raise OSError(errno.EXDEV, "Invalid cross-device link")
        link(source, target)

    monkeypatch.setattr(os, "link", link_on_one_disk)
    path = publish(finished, home, "photo", 42, "png", WHEN)
    assert path.read_bytes() == b"picture"
    assert [one.name for one in path.parent.iterdir()] == [path.name]
    assert list(here.iterdir()) == []


def test_publish_passes_over_a_claim_that_a_killed_process_left(home, finished, monkeypatch):
    refuse_links(monkeypatch)
    (home.scratch / ".claim-2026-09-03-070509_photo_42.png").mkdir()
    assert publish(finished, home, "photo", 42, "png", WHEN).name == "070509_photo_42_2.png"


@LINKS
def test_publish_keeps_every_file_when_processes_race(home, links):
    racers = [start_publisher(home, label, 10, 50, links) for label in "abc"]
    for racer in racers:
        release(racer)
    for racer in racers:
        racer.communicate(timeout=60)
        assert racer.returncode == 0
    expected = {
        f"{label} {number} ".encode().ljust(50, b".") for label in "abc" for number in range(10)
    }
    found = contents(home)
    assert set(found) == expected
    assert len(found) == 30


@LINKS
def test_publish_shows_nothing_half_even_when_killed(home, links):
    size, seen = 3_000_000, set()
    for attempt in range(4):
        process = start_publisher(home, f"run{attempt}", 10_000, size, links)
        release(process)
        end = time.monotonic() + 0.2 + attempt * 0.037
        while time.monotonic() < end:
            seen |= {path.stat().st_size for path in home.outputs.glob("*/*")}
        process.kill()
        process.communicate()
    found = contents(home)
    assert {len(one) for one in found} | seen == {size}
    assert len(set(found)) == len(found)


@needs_fork
@LINKS
def test_publish_loses_nothing_wherever_it_is_killed(home, finished, monkeypatch, links):
    if not links:
        refuse_links(monkeypatch)
    for step in range(1, 30):
        finished.write_bytes(b"picture")
        child = os.fork()
        if child == 0:
            try:
                kill_at_disk_call(step)
                publish(finished, home, "photo", step, "png", WHEN)
                os._exit(0)
            finally:
                os._exit(1)
        status = os.waitpid(child, 0)[1]
        published = contents(home)
        assert published in ([], [b"picture"])
        assert published or finished.read_bytes() == b"picture"
        for path in home.outputs.rglob("*.png"):
            path.unlink()
        if status == 0:
            break
    assert step > 4
    assert status == 0


@pytest.mark.parametrize(
    "number, said",
    [
        (errno.ENOSPC, "is full: free some space"),
        (errno.EDQUOT, "is full: free some space"),
        (errno.EROFS, "is read-only"),
        (errno.EIO, r"could not be used \(Input/output error\)"),
    ],
)
def test_publish_says_why_the_disk_refuses(home, finished, monkeypatch, number, said):
    refuse_links(monkeypatch, number)
    with pytest.raises(EngineFailed, match=said):
        publish(finished, home, "photo", 42, "png", WHEN)
    assert finished.read_bytes() == b"picture"


def test_publish_says_that_a_file_has_the_place_of_the_folder(home, finished):
    home.outputs.write_text("a file")
    with pytest.raises(EngineFailed, match="cannot be used as a folder"):
        publish(finished, home, "photo", 42, "png", WHEN)


def test_publish_says_that_the_result_is_gone(home, finished):
    finished.unlink()
    with pytest.raises(EngineFailed, match="no longer there"):
        publish(finished, home, "photo", 42, "png", WHEN)


@needs_fork
def test_publish_says_that_it_may_not_write(home, finished):
    # The administrator may write anywhere, so a child without that right tries.
    home.outputs.mkdir()
    home.outputs.chmod(0o555)
    for folder in (home.root, *home.root.parents[:2]):
        folder.chmod(folder.stat().st_mode | 0o055)
    finished.chmod(0o666)
    child = os.fork()
    if child == 0:
        said = 1
        try:
            if os.geteuid() == 0:
                os.setuid(65534)
            publish(finished, home, "photo", 42, "png", WHEN)
        except EngineFailed as refused:
            said = 0 if "may not write" in str(refused) else 2
        finally:
            os._exit(said)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def test_copy_to_replaces_the_destination(tmp_path, finished):
    destination = tmp_path / "new folder" / "mine.png"
    assert copy_to(finished, destination) == destination
    finished.write_bytes(b"second")
    copy_to(finished, destination)
    assert destination.read_bytes() == b"second"
    assert [one.name for one in destination.parent.iterdir()] == ["mine.png"]


def test_copy_to_a_folder_keeps_the_name(tmp_path, finished):
    assert copy_to(finished, tmp_path) == tmp_path / "finished.tmp"


def test_copy_to_leaves_no_half_file_when_the_disk_fills(tmp_path, finished, monkeypatch):
    destination = tmp_path / "mine.png"
    destination.write_bytes(b"older")

    def fill(descriptor):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", fill)
    with pytest.raises(BadInput, match="is full"):
        copy_to(finished, destination)
    assert destination.read_bytes() == b"older"
    assert sorted(one.name for one in tmp_path.iterdir()) == ["home", "mine.png"]


def test_copy_to_makes_a_file_that_others_may_read(tmp_path, finished):
    finished.chmod(0o600)
    mask = os.umask(0o022)
    try:
        copy = copy_to(finished, tmp_path / "mine.png")
    finally:
        os.umask(mask)
    assert copy.stat().st_mode & 0o777 == 0o644


def test_free_bytes_answers_before_the_home_exists(home):
    assert free_bytes(home) > 0
    assert not home.root.exists()


def test_ensure_room_refuses_what_does_not_fit(home):
    ensure_room(home, 0)
    with pytest.raises(BadInput, match="MB free and this needs"):
        ensure_room(home, free_bytes(home))
