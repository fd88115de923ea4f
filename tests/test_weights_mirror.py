"""A writable mirror of a read-only Hub cache, read and written by the real huggingface_hub."""

import hashlib
import multiprocessing
import os
import pwd
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest
from huggingface_hub import constants, hf_hub_download, scan_cache_dir
from local_hub import COMMIT, NEXT_COMMIT, weights

from studio.errors import BadInput
from studio.weights_hub import HubFile, Patience, fetch_all
from studio.weights_mirror import mirror_cache, use_writable_cache

REPO = "org/model"
MODEL = "split/model.safetensors"
LATER = "later.bin"
CONTENT = weights(100_000)


@pytest.fixture
def place():
    """A folder that every user may enter, with the preload cache at `preload/hub`."""
    folder = Path(tempfile.mkdtemp())
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)


@pytest.fixture
def memory():
    """A folder on a disk that no other program slows down."""
    shm = Path("/dev/shm")
    folder = Path(tempfile.mkdtemp(dir=shm if shm.is_dir() else None))
    yield folder
    shutil.rmtree(folder)


@pytest.fixture
def preload(hub, place, monkeypatch):
    """A cache that huggingface_hub itself has filled."""
    hub.repos[REPO] = {MODEL: CONTENT, "config.json": b"{}", LATER: b"later"}
    folder = place / "preload" / "hub"
    use(monkeypatch, folder)
    monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(place / "no-token"))
    hf_hub_download(REPO, MODEL)
    hf_hub_download(REPO, "config.json")
    (folder / "models--org--model" / "blobs" / ("f" * 64 + ".incomplete")).write_bytes(b"half")
    return folder


def tree(folder):
    """Every path below with what it is: two equal trees have changed in nothing."""
    return {
        path.relative_to(folder): (path.lstat().st_ino, path.lstat().st_mtime_ns)
        for path in sorted(folder.rglob("*"))
        if not path.is_dir()
    }


def use(monkeypatch, folder):
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(folder))


def one_blob(cache):
    return cache / "models--org--model" / "blobs" / hashlib.sha256(CONTENT).hexdigest()


def check_mirror(mirror):
    """It reads and takes new files. Must not need the test's fixtures: another user runs it too."""
    constants.HF_HUB_CACHE = str(mirror)
    assert Path(hf_hub_download(REPO, MODEL)).read_bytes() == CONTENT
    later = HubFile(REPO, LATER)
    assert fetch_all([later], Patience(attempts=1))[later].read_bytes() == b"later"


def test_mirror_shares_blobs_and_takes_new_files(hub, preload, place, monkeypatch):
    before = tree(preload)
    mirror = place / "rw" / "hub"
    mirror_cache(preload, mirror)
    use(monkeypatch, mirror)
    check_mirror(mirror)
    assert hub.served[MODEL] == len(CONTENT)
    assert one_blob(mirror).samefile(one_blob(preload)) and not one_blob(mirror).is_symlink()
    pointer = mirror / "models--org--model" / "snapshots" / COMMIT / MODEL
    assert not pointer.readlink().is_absolute() and pointer.resolve().is_relative_to(mirror)
    assert not list(mirror.rglob("*.incomplete")) and not scan_cache_dir(mirror).warnings
    assert tree(preload) == before


def test_mirror_gives_refs_of_its_own(hub, preload, place, monkeypatch):
    mirror = place / "rw" / "hub"
    mirror_cache(preload, mirror)
    use(monkeypatch, mirror)
    reference = Path("models--org--model", "refs", "main")
    assert not (mirror / reference).samefile(preload / reference)
    hub.commit = NEXT_COMMIT
    hf_hub_download(REPO, "config.json")
    mirror_cache(preload, mirror)
    assert (mirror / reference).read_text() == NEXT_COMMIT
    assert (preload / reference).read_text() == COMMIT


def test_mirror_again_changes_nothing(preload, place):
    mirror = place / "rw" / "hub"
    mirror_cache(preload, mirror)
    before = tree(mirror)
    mirror_cache(preload, mirror)
    assert tree(mirror) == before


def test_mirror_goes_on_where_it_was_stopped(preload, place):
    mirror = place / "rw" / "hub"
    mirror_cache(preload, mirror)
    one_blob(mirror).unlink()
    mirror_cache(preload, mirror)
    assert one_blob(mirror).read_bytes() == CONTENT


def test_mirror_keeps_blobs_that_are_links(preload, place, monkeypatch):
    """huggingface_hub 2.4 may keep a blob once for all repositories."""
    shared = preload / "blobs" / "ab" / "abc"
    shared.parent.mkdir(parents=True)
    one_blob(preload).rename(shared)
    one_blob(preload).symlink_to(Path("../../blobs/ab/abc"))
    outside = place / "outside"
    outside.write_bytes(b"far away")
    far = preload / "models--org--model" / "blobs" / ("e" * 64)
    far.symlink_to(Path("../../../../outside"))
    mirror = place / "elsewhere" / "deep" / "hub"
    mirror_cache(preload, mirror)
    use(monkeypatch, mirror)
    assert Path(hf_hub_download(REPO, MODEL)).read_bytes() == CONTENT
    assert one_blob(mirror).readlink() == Path("../../blobs/ab/abc")
    assert (mirror / "blobs" / "ab" / "abc").samefile(shared)
    assert (mirror / "models--org--model" / "blobs" / ("e" * 64)).read_bytes() == b"far away"


def test_mirror_on_another_disk_links_to_the_original(hub, preload, memory):
    if memory.stat().st_dev == preload.stat().st_dev:
        pytest.skip("no second disk here")
    mirror = memory / "hub"
    mirror_cache(preload, mirror)
    check_mirror(mirror)
    assert one_blob(mirror).readlink() == one_blob(preload)


def as_nobody(work, *arguments):
    """Runs `work` as the user nobody in a fork, which has all modules already."""
    nobody = pwd.getpwnam("nobody")

    def run():
        os.setgroups([])
        os.setgid(nobody.pw_gid)
        os.setuid(nobody.pw_uid)
        os.environ["HOME"] = str(arguments[-1].parent)
        work(*arguments)

    process = multiprocessing.get_context("fork").Process(target=run)
    process.start()
    process.join(30)
    assert process.exitcode == 0
    return nobody.pw_uid


def mirror_and_check(preload, mirror):
    with pytest.raises(PermissionError):
        (preload / "mine").write_bytes(b"")
    mirror_cache(preload, mirror)
    check_mirror(mirror)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
@pytest.mark.parametrize("mode", [0o444, 0o644])
def test_mirror_of_files_that_another_user_owns(hub, preload, place, mode):
    for blob in preload.rglob("blobs/*"):
        blob.chmod(mode)
    before = tree(preload)
    home = place / "home"
    home.mkdir(mode=0o777)
    home.chmod(0o777)
    user = as_nobody(mirror_and_check, preload, home / "hub")
    protected = Path("/proc/sys/fs/protected_hardlinks")
    if protected.is_file() and protected.read_text().strip() == "1":
        assert one_blob(home / "hub").readlink() == one_blob(preload)
    assert one_blob(home / "hub").read_bytes() == CONTENT
    assert (home / "hub").stat().st_uid == user and tree(preload) == before


def use_and_check(preload, home):
    environ = {"HF_HOME": str(preload.parent)}
    use_writable_cache(home, environ)
    assert environ == {"HF_HOME": str(home / "huggingface")}
    check_mirror(home / "huggingface" / "hub")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_cache_that_cannot_be_written_is_used_by_its_mirror(hub, preload, place):
    home = place / "home"
    home.mkdir(mode=0o777)
    home.chmod(0o777)
    as_nobody(use_and_check, preload, home)


@pytest.mark.parametrize("environ", [{}, {"HF_HUB_CACHE": "/somewhere"}])
def test_cache_that_can_be_written_is_used_as_it_is(hub, preload, place, environ):
    before = {"HF_HOME": str(preload.parent), **environ}
    after = dict(before)
    use_writable_cache(place / "home", after)
    assert after == before and not (place / "home").exists()


def test_mirror_of_ten_thousand_files_is_quick(memory):
    cache = memory / "preload" / "hub"
    for number in range(5):
        repo = cache / f"models--org--m{number}"
        for folder in ("blobs", f"snapshots/{COMMIT}", "refs"):
            (repo / folder).mkdir(parents=True)
        (repo / "refs" / "main").write_text(COMMIT)
        for count in range(1000):
            (repo / "blobs" / f"{count:064d}").write_bytes(b"x")
            (repo / "snapshots" / COMMIT / f"{count}").symlink_to(f"../../blobs/{count:064d}")
    seconds = []
    for _ in range(2):
        # Of the processor, the system's share included: other programs take their time too.
        started = time.process_time()
        mirror_cache(cache, memory / "rw" / "hub")
        seconds.append(time.process_time() - started)
    assert seconds[0] < 2 and seconds[1] < 0.2
    assert len(tree(memory / "rw" / "hub")) == 10_005


def test_mirror_tells_why_it_cannot(preload, place):
    (place / "file").write_bytes(b"")
    with pytest.raises(BadInput, match="cannot be used as a folder"):
        mirror_cache(preload, place / "file")


def test_mirror_imports_nothing_that_reads_the_cache(place):
    program = (
        "import sys; from studio.weights_mirror import mirror_cache, use_writable_cache;"
        "print(*({'huggingface_hub', 'torch', 'gradio', 'diffusers'} & set(sys.modules)))"
    )
    root = Path(__file__).parent.parent
    found = subprocess.run([sys.executable, "-c", program], cwd=root, capture_output=True)
    assert found.returncode == 0 and found.stdout.strip() == b""
