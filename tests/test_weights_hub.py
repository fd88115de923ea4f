"""Downloads with the real huggingface_hub from a Hub on loopback: what arrives, and how often."""

import time

import pytest
from huggingface_hub import constants, hf_hub_download, scan_cache_dir
from local_hub import (
    BAD_TOKEN,
    COMMIT,
    DISABLED,
    FORBIDDEN,
    GATED_NO_TOKEN,
    GATED_NOT_ACCEPTED,
    NEXT_COMMIT,
    Fault,
    etag,
    weights,
)

from studio import weights_hub
from studio.errors import Cancelled, FetchFailed
from studio.weights_hub import Download, HubFile, Patience, cached, fetch_all

REPO = "org/model"
MODEL = "split/model.safetensors"
CONTENT = weights(1_500_000)
HALF = len(CONTENT) // 2
QUICK = Patience(stall_seconds=0.4, attempts=3, first_wait=0.01)
ONCE = Patience(stall_seconds=0.4, attempts=1)


@pytest.fixture(autouse=True)
def repos(hub):
    hub.repos[REPO] = {MODEL: CONTENT, "config.json": b'{"a": 1}', "empty.txt": b""}


@pytest.fixture
def file():
    return HubFile(REPO, MODEL, COMMIT, len(CONTENT))


def brought(file, patience=QUICK):
    return fetch_all([file], patience)[file].read_bytes()


def failure(file, patience=QUICK):
    with pytest.raises(FetchFailed) as raised:
        fetch_all([file], patience)
    sentence = str(raised.value)
    assert sentence.endswith(".") and "\n" not in sentence and "Error" not in sentence
    return raised.value.kind, sentence


def until(condition):
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def blob(tmp_path, path=MODEL, content=CONTENT):
    return tmp_path / "cache" / "models--org--model" / "blobs" / etag(path, content)


def test_fetch_all_brings_files_where_huggingface_hub_finds_them(hub, tmp_path):
    files = [HubFile(REPO, path) for path in hub.repos[REPO]]
    paths = fetch_all(files, QUICK)
    assert {file.path: path.read_bytes() for file, path in paths.items()} == hub.repos[REPO]
    asked = len(hub.requests)
    for file, path in paths.items():
        for offline in ({"local_files_only": True}, {"revision": COMMIT}):
            assert hf_hub_download(REPO, file.path, **offline) == str(path)
    assert len(hub.requests) == asked
    report = scan_cache_dir(tmp_path / "cache")
    assert not report.warnings and report.size_on_disk == sum(map(len, hub.repos[REPO].values()))


def test_fetch_all_takes_from_the_cache_without_asking(hub, file):
    branch = HubFile(REPO, MODEL)
    hf_hub_download(REPO, MODEL)
    asked = len(hub.requests)
    assert fetch_all([file, branch, file]) == {file: cached(file), branch: cached(branch)}
    assert len(hub.requests) == asked


def test_fetch_all_takes_a_blob_that_came_with_another_commit(hub, file):
    brought(file)
    hub.commit = NEXT_COMMIT
    newer = HubFile(REPO, MODEL, NEXT_COMMIT)
    assert brought(newer) == CONTENT
    assert hub.served[MODEL] == len(CONTENT) and NEXT_COMMIT in str(cached(newer))


def test_fetch_all_follows_the_hub_to_its_cdn_without_the_token(hub, file, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    hub.cdn = True
    hub.fail(MODEL, Fault(), Fault(cut=HALF))
    assert brought(file) == CONTENT
    sent = {(way.startswith("/cdn/"), token) for _, way, _, token in hub.requests}
    assert sent == {(False, "Bearer hf_secret"), (True, None)}
    assert hub.served[MODEL] == len(CONTENT)


def test_download_resumes_where_a_failed_one_ended(hub, file, tmp_path):
    hub.fail(MODEL, Fault(cut=HALF))
    assert failure(file, ONCE)[0] == "no-network"
    assert cached(file) is None and not blob(tmp_path).exists()
    download = Download([file], QUICK).start()
    assert download.wait()[file].read_bytes() == CONTENT
    assert download.progress.bytes_received == len(CONTENT) - HALF
    assert hub.served[MODEL] == len(CONTENT)


def test_download_survives_three_broken_connections(hub, file):
    hub.fail(MODEL, *(Fault(cut=count) for count in (300_000, 500_000, 1, 0)))
    assert brought(file) == CONTENT
    ranges = [asked for method, _, asked, _ in hub.requests if method == "GET"]
    assert ranges == [None, "bytes=300000-", "bytes=800000-", *["bytes=800001-"] * 2]
    assert hub.served[MODEL] == len(CONTENT)


def test_download_gives_up_when_nothing_more_comes(hub, file):
    hub.fail_always(MODEL, Fault(cut=0))
    kind, sentence = failure(file)
    assert kind == "no-network" and "keeps breaking at 'model.safetensors'" in sentence
    assert len(hub.requests) == 1 + QUICK.attempts


def test_download_goes_on_after_a_stall(hub, file):
    hub.fail(MODEL, Fault(stall=HALF))
    assert brought(file) == CONTENT
    assert hub.served[MODEL] == len(CONTENT)


def test_download_tells_of_a_line_that_stays_silent(hub, file):
    hub.fail_always(MODEL, Fault(stall=0))
    assert failure(file, Patience(0.1, 2, 0.01)) == (
        "stalled",
        "Nothing more came of 'model.safetensors': try again, what has arrived is kept.",
    )


def test_download_goes_on_after_a_short_body(hub, file):
    hub.fail(MODEL, Fault(short=HALF))
    assert brought(file) == CONTENT
    assert hub.served[MODEL] == len(CONTENT)


@pytest.mark.parametrize("cut", [None, 0, 1000])
def test_download_starts_anew_where_the_hub_ignores_the_range(hub, file, cut):
    hub.fail(MODEL, Fault(cut=HALF), Fault(no_range=True, cut=cut))
    assert brought(file) == CONTENT
    assert hub.served[MODEL] == len(CONTENT) + HALF


@pytest.mark.parametrize("path", [MODEL, "config.json"])
def test_download_fetches_wrong_content_once_more(hub, path):
    content = hub.repos[REPO][path]
    hub.fail(path, Fault(body=content[:-1] + b"!"))
    assert brought(HubFile(REPO, path)) == content


@pytest.mark.parametrize("wrong", [CONTENT[:-1] + b"!", CONTENT + b"more", CONTENT[:-9]])
def test_download_never_accepts_wrong_content(hub, file, tmp_path, wrong):
    hub.fail_always(MODEL, Fault(body=wrong))
    kind, sentence = failure(file)
    assert kind == "corrupt" and "arrived damaged twice" in sentence
    assert cached(file) is None and not blob(tmp_path).exists()


def test_download_throws_a_wrong_beginning_away(hub, file, tmp_path):
    partial = blob(tmp_path).with_name(blob(tmp_path).name + ".12345678.incomplete")
    partial.parent.mkdir(parents=True)
    partial.write_bytes(bytes(HALF))
    assert brought(file) == CONTENT
    assert [path.name for path in partial.parent.iterdir()] == [blob(tmp_path).name]


def test_download_repairs_a_cut_blob(hub, file, tmp_path):
    brought(file)
    with blob(tmp_path).open("r+b") as cut:
        cut.truncate(HALF)
    assert cached(file) is None
    assert brought(file) == CONTENT
    assert hub.served[MODEL] == len(CONTENT) + len(CONTENT) - HALF


def test_download_leaves_bytes_alone_that_others_share(hub, file, tmp_path):
    brought(file)
    original = tmp_path / "original"
    original.hardlink_to(blob(tmp_path))
    with original.open("r+b") as cut:
        cut.truncate(HALF)
    assert brought(file) == CONTENT
    assert original.stat().st_size == HALF


@pytest.mark.parametrize(
    ("fault", "token", "kind", "words"),
    [
        (GATED_NO_TOKEN, "", "no-token", "https://huggingface.co/settings/tokens"),
        (GATED_NO_TOKEN, "hf_x", "denied", "does not know the token in HF_TOKEN"),
        (GATED_NOT_ACCEPTED, "hf_x", "licence", "accept it at https://huggingface.co/org/model "),
        (BAD_TOKEN, "hf_x", "denied", "does not know the token in HF_TOKEN"),
        (FORBIDDEN, "hf_x", "denied", "(answer 403)"),
        (DISABLED, "", "denied", "has closed the repository org/model"),
        (Fault(stranger=True), "", "no-network", "is not the Hub"),
    ],
)
def test_refusals_are_told_apart(hub, file, monkeypatch, fault, token, kind, words):
    monkeypatch.setenv("HF_TOKEN", token)
    hub.fail_always(MODEL, fault, method="HEAD")
    found, sentence = failure(file)
    assert found == kind and words in sentence
    assert [method for method, *_ in hub.requests] == ["HEAD"]


@pytest.mark.parametrize(
    ("missing", "words"),
    [
        (HubFile("org/none", "x.bin"), "shows no repository org/none"),
        (HubFile(REPO, MODEL, "v9"), "has no revision 'v9'"),
        (HubFile(REPO, "x.bin"), "has no file 'x.bin' at 'main'"),
    ],
)
def test_what_is_not_there_is_named(missing, words):
    kind, sentence = failure(missing)
    assert kind == "not-found" and words in sentence


@pytest.mark.parametrize("method", ["HEAD", "GET"])
@pytest.mark.parametrize("fault", [Fault(429, retry_after=0), Fault(503), Fault(500)])
def test_a_busy_hub_is_asked_again(hub, file, method, fault):
    hub.fail(MODEL, fault, fault, method=method)
    assert brought(file) == CONTENT


@pytest.mark.parametrize(
    ("fault", "words"), [(Fault(429), "slow down"), (Fault(503), "(answer 503)")]
)
def test_a_hub_that_stays_busy_is_named(hub, file, fault, words):
    hub.fail_always(MODEL, fault)
    kind, sentence = failure(file)
    assert kind == "busy" and words in sentence


def test_retry_after_is_honoured(hub, file):
    hub.fail(MODEL, Fault(429, retry_after=1))
    started = time.monotonic()
    download = Download([file], QUICK).start()
    until(lambda: "Trying again in 1 s" in download.progress.note)
    download.wait()
    assert time.monotonic() - started >= 1


def test_a_wait_beyond_patience_is_a_failure(hub, file):
    hub.fail(MODEL, Fault(429, retry_after=100_000))
    assert failure(file)[0] == "busy"


def test_no_network_is_told(hub, file):
    hub.stop()
    kind, sentence = failure(file)
    assert kind == "no-network" and "cannot be reached" in sentence


def test_offline_asks_nothing_and_names_what_is_missing(hub, file, monkeypatch):
    config = HubFile(REPO, "config.json")
    brought(config)
    asked = len(hub.requests)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    assert brought(config) == b'{"a": 1}'
    kind, sentence = failure(file)
    assert kind == "offline" and "'model.safetensors' of org/model" in sentence
    assert len(hub.requests) == asked


def test_a_file_of_another_size_than_the_registry_knows_is_refused(hub):
    kind, sentence = failure(HubFile(REPO, MODEL, bytes=7))
    assert kind == "corrupt" and f"{len(CONTENT)} bytes instead of 7" in sentence
    assert not hub.served


def test_too_little_room_is_told_before_anything_is_fetched(hub, file, monkeypatch):
    monkeypatch.setattr(weights_hub, "SPARE_BYTES", 10**18)
    kind, sentence = failure(file)
    assert kind == "disk-full" and "GB are needed" in sentence
    assert not hub.served


@pytest.mark.parametrize(
    ("method", "fault"),
    [("GET", Fault(stall=HALF)), ("GET", Fault(mute=True)), ("HEAD", Fault(mute=True))],
)
def test_cancel_is_quick(hub, file, method, fault):
    hub.fail(MODEL, fault, method=method)
    download = Download([file]).start()
    assert hub.stalled.wait(5)
    started = time.monotonic()
    download.cancel()
    with pytest.raises(Cancelled):
        download.wait()
    assert time.monotonic() - started < 1
    assert download.progress.state == "cancelled"


def test_a_cancelled_download_is_gone_on_with_at_once(hub, file):
    hub.fail(MODEL, Fault(stall=HALF))
    download = Download([file]).start()
    assert hub.stalled.wait(5)
    until(lambda: download.progress.bytes_done == HALF)
    download.cancel()
    started = time.monotonic()
    assert brought(file) == CONTENT
    assert time.monotonic() - started < 1
    assert hub.served[MODEL] == len(CONTENT)


def test_progress_counts_files_and_bytes(hub, file):
    other = HubFile(REPO, "config.json")
    brought(other)
    hub.fail(MODEL, Fault(stall=HALF))
    download = Download([other, file], Patience(stall_seconds=1.5, first_wait=0.01))
    assert download.progress.state == "waiting"
    download.start()
    until(lambda: download.progress.bytes_received == HALF)
    middle = download.progress
    total = len(CONTENT) + 8
    assert (middle.state, middle.files_done, middle.files_total) == ("fetching", 1, 2)
    assert (middle.bytes_done, middle.bytes_total) == (HALF + 8, total)
    assert middle.current == ("model.safetensors",)
    assert middle.bytes_per_second > 0 and middle.seconds_left > 0
    download.wait()
    end = download.progress
    assert (end.state, end.files_done, end.bytes_done, end.current) == ("done", 2, total, ())
    assert end.seconds_left is None and not end.failure and not end.note


def test_a_second_download_waits_for_the_first_and_says_so(hub, file):
    hub.fail(MODEL, Fault(stall=HALF))
    first = Download([file], Patience(stall_seconds=1, first_wait=0.01)).start()
    assert hub.stalled.wait(5)
    second = Download([file], QUICK).start()
    until(lambda: second.progress.note == "Another download is at 'model.safetensors'.")
    assert first.wait() == second.wait()
    assert hub.served[MODEL] == len(CONTENT) and second.progress.bytes_received == 0


def test_one_failure_stops_the_rest(hub, file):
    hub.repos[REPO]["other.bin"] = bytes(1000)
    hub.fail(MODEL, Fault(stall=HALF))
    hub.fail_always("other.bin", FORBIDDEN)
    started = time.monotonic()
    with pytest.raises(FetchFailed) as raised:
        fetch_all([file, HubFile(REPO, "other.bin")])
    assert raised.value.kind == "denied" and time.monotonic() - started < 2
