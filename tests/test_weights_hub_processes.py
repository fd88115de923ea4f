"""Downloads of processes that are killed, run at once, or fill the disk."""

import os
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import pytest
from huggingface_hub import constants
from local_hub import COMMIT, Fault, etag, weights

from studio import weights_hub
from studio.errors import FetchFailed
from studio.weights_hub import HubFile, Patience, cached, fetch_all

REPO = "org/model"
MODEL = "model.safetensors"
CONTENT = weights(2_000_000)
HALF = len(CONTENT) // 2
FILE = HubFile(REPO, MODEL, COMMIT)
QUICK = Patience(stall_seconds=0.4, attempts=3, first_wait=0.01)

FETCH = f"""
from studio.errors import StudioError
from studio.weights_hub import HubFile, Patience, fetch_all
try:
    print(*fetch_all([HubFile({REPO!r}, {MODEL!r})], Patience(1.0, 3, 0.01)).values())
except StudioError as error:
    raise SystemExit(str(error))
"""
FETCH_BARE = f"import huggingface_hub; huggingface_hub.hf_hub_download({REPO!r}, {MODEL!r})"


@pytest.fixture
def start(hub, tmp_path):
    """Starts a program with the local Hub; it is killed at the end of the test."""
    hub.repos[REPO] = {MODEL: CONTENT}
    running = []

    def start(program, **variables):
        environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith("HF_")},
            "HF_ENDPOINT": hub.url,
            **(variables or {"HF_HUB_CACHE": str(tmp_path / "cache")}),
        }
        process = subprocess.Popen(
            [sys.executable, "-c", program],
            env=environment,
            cwd=Path(__file__).parent.parent,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        running.append(process)
        return process

    yield start
    for process in running:
        process.kill()
        process.communicate()


def result(process):
    """The path that a process printed."""
    out, err = process.communicate(timeout=20)
    assert process.returncode == 0, err
    return Path(out.strip())


def kill_at(process, hub, size):
    """SIGKILL once `size` bytes are on the disk, and the hub serves no more for now."""
    assert hub.stalled.wait(20)
    blobs = Path(constants.HF_HUB_CACHE) / "models--org--model" / "blobs"
    deadline = time.monotonic() + 10
    while sum(path.stat().st_size for path in blobs.iterdir()) < size:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    process.kill()
    process.wait()


def test_download_resumes_after_its_process_was_killed(hub, start):
    hub.fail(MODEL, Fault(stall=HALF))
    kill_at(start(FETCH), hub, HALF)
    assert cached(FILE) is None
    assert result(start(FETCH)).read_bytes() == CONTENT
    assert hub.served[MODEL] == len(CONTENT)


def test_download_goes_on_with_what_a_killed_huggingface_hub_left(hub, start):
    block = constants.DOWNLOAD_CHUNK_SIZE
    hub.repos[REPO][MODEL] = content = weights(block + 500_000)
    hub.fail(MODEL, Fault(stall=block + 1000))
    kill_at(start(FETCH_BARE), hub, block)
    assert fetch_all([FILE], QUICK)[FILE].read_bytes() == content
    assert hub.requests[-1][2] == f"bytes={block}-"
    blobs = Path(constants.HF_HUB_CACHE) / "models--org--model" / "blobs"
    assert [path.name for path in blobs.iterdir()] == [etag(MODEL, content)]


def test_two_processes_fetch_a_file_once(hub, start):
    hub.fail(MODEL, Fault(stall=HALF))
    processes = [start(FETCH), start(FETCH)]
    assert [result(process).read_bytes() for process in processes] == [CONTENT] * 2
    assert hub.served[MODEL] == len(CONTENT)


def test_a_waiting_process_goes_on_where_the_killed_one_was(hub, start):
    hub.fail(MODEL, Fault(stall=HALF))
    first = start(FETCH)
    assert hub.stalled.wait(20)
    second = start(FETCH)
    time.sleep(0.3)
    kill_at(first, hub, HALF)
    assert result(second).read_bytes() == CONTENT
    assert hub.served[MODEL] == len(CONTENT)


def test_home_and_offline_are_read_from_the_environment(hub, start, tmp_path):
    home = tmp_path / "hf-home"
    path = result(start(FETCH, HF_HOME=str(home)))
    assert path.is_relative_to(home / "hub") and path.read_bytes() == CONTENT
    asked = len(hub.requests)
    offline = {"HF_HUB_OFFLINE": "1"}
    assert result(start(FETCH, HF_HOME=str(home), **offline)) == path
    empty = start(FETCH, HF_HOME=str(tmp_path / "empty"), **offline)
    assert "HF_HUB_OFFLINE is set" in empty.communicate(timeout=20)[1]
    assert empty.returncode == 1 and len(hub.requests) == asked


@pytest.fixture
def small_disk(tmp_path, monkeypatch):
    """A disk of 3 MB with huggingface_hub's cache on it."""
    folder = tmp_path / "disk"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=3m", "tmpfs", str(folder)]
    with suppress(OSError):
        if subprocess.run(command, capture_output=True, check=False).returncode == 0:
            monkeypatch.setattr(constants, "HF_HUB_CACHE", str(folder))
            monkeypatch.setattr(weights_hub, "SPARE_BYTES", 0)
            yield folder
            subprocess.run(["umount", "-l", str(folder)], check=True)
            return
    pytest.skip("may not mount a small disk here")


def test_a_disk_that_fills_up_is_told_and_costs_nothing(hub, small_disk):
    hub.repos[REPO] = {MODEL: CONTENT}
    hub.fail(MODEL, Fault(stall=HALF))
    download = weights_hub.Download([FILE], QUICK).start()
    while download.progress.bytes_done < HALF:
        time.sleep(0.01)
    filler = small_disk / "filler"
    with suppress(OSError), filler.open("wb", buffering=0) as file:
        while file.write(bytes(4096)):
            pass
    with pytest.raises(FetchFailed, match="full: free some space") as raised:
        download.wait()
    assert raised.value.kind == "disk-full" and cached(FILE) is None
    filler.unlink()
    assert fetch_all([FILE], QUICK)[FILE].read_bytes() == CONTENT
    here = [asked[2] for asked in hub.requests if asked[2]]
    assert here[0] == f"bytes={HALF}-" and len(here) == 2


def test_a_disk_that_is_too_small_is_told_before(hub, small_disk):
    hub.repos[REPO] = {MODEL: weights(4_000_000)}
    with pytest.raises(FetchFailed, match="GB are needed") as raised:
        fetch_all([FILE], QUICK)
    assert raised.value.kind == "disk-full" and not hub.served
