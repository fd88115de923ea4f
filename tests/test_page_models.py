"""Models over HTTP: the page's list, its card, and the download that the studio owns."""

from contextlib import contextmanager
from functools import partial

import httpx
import pytest
from fetched_models import (
    EPIC,
    LIGHTNING,
    PART,
    QWEN,
    serve_lightning,
    serve_photo,
    wait_until,
)
from local_hub import GATED_NOT_ACCEPTED, Fault, weights
from model_files import put
from page_server import Server, answered

from studio.fetching import Fetching
from studio.fitting import GIB, Machine
from studio.home import Home
from studio.modes import MODES
from studio.page_models import machine_view
from studio.page_preflight import preflight_card
from studio.weights import installed
from studio.weights_demo import ensure_demo
from studio.weights_hub import Patience

PHOTO = {"mode": "photo"}


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    server = Server(Home(tmp_path_factory.mktemp("models-home")))
    yield server
    server.stop()


@pytest.fixture
def server(served, tmp_path, hub):
    """The page with an empty home and no download yet; one server for all tests."""
    served.work.home = served.home = Home(tmp_path / "home")
    change(served, home=served.home, fetching=Fetching(served.home, Patience(attempts=1)))
    yield served
    served.studio.fetching.cancel()


def change(server, **parts):
    """Other parts for a studio that is frozen: starting a page takes more than a second."""
    for name, part in parts.items():
        object.__setattr__(server.studio, name, part)


def progress(visitor, *states):
    fetch = visitor.get("/fetch").json()["fetch"]
    return fetch if fetch and fetch["state"] in states else None


def wait_for(visitor, *states):
    return wait_until(partial(progress, visitor, *states))


def wait_for_bytes(visitor, count):
    wait_until(lambda: visitor.get("/fetch").json()["fetch"]["bytes_received"] >= count)


def start(visitor, order):
    answer = visitor.post("/fetch", json=order)
    assert answer.status_code == 200, answer.text
    return answer.json()["fetch"]


def set_of(visitor, mode_id, variant):
    modes = {one["id"]: one for one in visitor.get("/models").json()["modes"]}
    return next(one for one in modes[mode_id]["sets"] if one["variant"] == variant)


# The list


def test_models_tell_of_every_mode_and_of_no_path(server, visitor):
    put(server.home, LIGHTNING)
    answer = visitor.get("/models")
    told = answer.json()
    assert [mode["id"] for mode in told["modes"]] == list(MODES)
    assert {mode["runs"] for mode in told["modes"]} == {"demo weights"}
    assert told["canFetch"] is True
    assert str(server.home.root) not in answer.text and "/tmp" not in answer.text
    photo = set_of(visitor, "photo", "epiCRealism XL")
    assert photo["missing"] == photo["missingOfAll"] == pytest.approx(6.9)
    assert photo["licences"] == [{"name": EPIC.licence, "page": EPIC.page}]
    qwen = set_of(visitor, "image", "Qwen-Image")
    states = {one["name"]: one["state"] for one in qwen["models"]}
    assert states == {
        "Qwen-Image": "missing",
        LIGHTNING.name: "here",
        "Qwen-Image-Lightning-8steps-V1.1.safetensors": "missing",
    }
    clip = set_of(visitor, "t2v", "LTX-2.3")
    assert clip["missingOfAll"] > clip["missing"] > 70


def test_machine_is_told_to_its_owner(server, visitor, monkeypatch):
    monkeypatch.setenv("AIO_VRAM", "low")
    told = visitor.get("/machine").json()
    options = {one["name"]: one["value"] for one in told["options"]}
    assert options["ComfyUI's VRAM"] == "low (AIO_VRAM)"
    assert options["Engine"] == "the best one here"
    assert {"name": "Models", "path": str(server.home.models)} in told["folders"]
    assert told["memory"] is None
    assert told["disk"].endswith("GB free for models")
    card = Machine("cuda", 24 * GIB, 22 * GIB, 64 * GIB, 60 * GIB)
    memory = machine_view(server.home, card)["memory"]
    assert memory == "GPU, 26 GB of VRAM (24 free at the start), 69 GB of RAM"


# The download


def test_fetch_brings_exactly_what_is_missing(server, hub, visitor):
    serve_photo(hub)
    begun = start(visitor, PHOTO)
    assert (begun["what"], begun["mode"], begun["live"]) == ("epiCRealism XL", "Photo", True)
    done = wait_for(visitor, "done")
    assert (done["id"], done["live"]) == (begun["id"], False)
    assert done["bytes_done"] == done["bytes_total"] > len(weights(5000))
    assert installed(server.home, "sdxl")[0].label == "epiCRealism XL"
    assert set_of(visitor, "photo", "epiCRealism XL")["missing"] == 0
    again = visitor.post("/fetch", json=PHOTO)
    assert (again.status_code, again.json()["error"]) == (
        409,
        "Everything that this needs is here already.",
    )


def test_values_and_all_decide_what_is_fetched(server, hub, visitor):
    put(server.home, QWEN)
    serve_lightning(hub)
    start(visitor, {"mode": "image", "variant": "Qwen-Image", "values": {"preset": "fast"}})
    wait_for(visitor, "done")
    assert set(hub.served) == {LIGHTNING.source.path}
    start(visitor, {"mode": "image", "variant": "Qwen-Image", "all": True})
    failed = wait_for(visitor, "failed")
    assert "Qwen-Image-Lightning-8steps" in failed["failure"]


def test_one_download_at_a_time(hub, visitor):
    serve_photo(hub)
    hub.fail(PART, Fault(stall=1000))
    first = start(visitor, PHOTO)
    wait_for_bytes(visitor, 1000)
    assert start(visitor, PHOTO)["id"] == first["id"]
    refused = visitor.post("/fetch", json={"mode": "image"})
    assert refused.status_code == 409
    assert refused.json()["error"].startswith("epiCRealism XL is being fetched")


def test_cancel_keeps_what_arrived_and_a_restart_goes_on(server, hub, visitor):
    serve_photo(hub)
    hub.fail(PART, Fault(stall=1000))
    start(visitor, PHOTO)
    wait_for_bytes(visitor, 1000)
    assert visitor.post("/fetch/cancel").status_code == 200
    wait_for(visitor, "cancelled")
    # A studio of the same home, as after a restart.
    change(server, fetching=Fetching(server.home))
    assert visitor.get("/fetch").json()["fetch"] is None
    assert "choose a mode" in visitor.post("/fetch/again").json()["error"]
    start(visitor, PHOTO)
    wait_for(visitor, "done")
    assert hub.served[PART] == len(weights(5000))


def test_failure_is_told_and_can_be_tried_again(hub, visitor):
    serve_photo(hub)
    hub.fail(EPIC.repo, GATED_NOT_ACCEPTED)
    start(visitor, PHOTO)
    failed = wait_for(visitor, "failed")
    assert f"accept it at {EPIC.page} and try again" in failed["failure"]
    again = visitor.post("/fetch/again").json()["fetch"]
    assert again["id"] != failed["id"]
    wait_for(visitor, "done")


@pytest.mark.parametrize(
    ("body", "says"),
    [
        (b"{", "as a JSON object"),
        (b"[]", "as a JSON object"),
        (b'{"mode": "paint"}', "There is no mode 'paint'"),
        (b'{"mode": "photo", "variant": "SD 1"}', "There are no weights called 'SD 1'"),
        (b'{"mode": "photo", "values": 3}', "must be an object"),
        (b'{"mode": "image", "values": {"preset": "best"}}', "choose fast, balanced or quality"),
        (b'{"mode": "image", "values": {"preset": ["a"]}}', "choose fast, balanced or quality"),
    ],
)
def test_order_that_cannot_be_is_refused(visitor, body, says):
    answer = visitor.post("/fetch", content=body)
    assert (answer.status_code, says in answer.json()["error"]) == (409, True), answer.text
    assert visitor.get("/fetch").json()["fetch"] is None


CHANGES = ("/fetch", "/fetch/again", "/fetch/cancel", "/unload")


@pytest.mark.parametrize("path", CHANGES)
def test_another_page_changes_nothing(server, visitor, path):
    foreign = visitor.post(path, json=PHOTO, headers={"Origin": "https://example.com"})
    assert foreign.status_code == 403
    same_page = {"Sec-Fetch-Site": "same-origin"}
    unknown = httpx.post(f"{server.url}{path}", json=PHOTO, headers=same_page)
    assert unknown.status_code == 403 and "cookie" in unknown.json()["error"]
    assert server.studio.fetching.status is None


def test_strangers_change_nothing_and_hear_nothing_of_the_machine(tmp_path):
    server = Server(Home(tmp_path / "shared"), strangers=True)
    try:
        with server.visitor() as visitor:
            for path in CHANGES:
                answer = visitor.post(path, json=PHOTO)
                assert answer.status_code == 403 and "Only whoever runs" in answer.text
            assert server.studio.fetching.status is None
            server.studio.fetching.start("photo", "epiCRealism XL", [EPIC])
            assert visitor.get("/fetch").json()["fetch"] is None
            assert visitor.get("/machine").status_code == 403
            told = visitor.get("/models")
            assert told.json()["canFetch"] is False and str(tmp_path) not in told.text
            page = visitor.get("/config").text
            assert "Whoever runs this studio can fetch them" in page
            assert "data-fetch=" not in page and "of memory" not in page
    finally:
        server.stop()


# The memory


def test_unload_waits_for_the_job_that_runs(server, visitor):
    answer = visitor.post("/unload").json()
    assert answer["sentence"].startswith("The memory is given back")
    assert server.work.released.wait(5)
    server.work.released.clear()
    with slow_job(server, visitor):
        assert visitor.post("/unload").json()["sentence"].startswith("A job runs")
        assert not server.work.released.wait(0.6)
    assert server.work.released.wait(5)


def test_unload_says_where_the_memory_is_the_workers(server, visitor, monkeypatch):
    # As the runner is where its work is made elsewhere.
    monkeypatch.setattr(server.studio.runner, "_release", None)
    assert visitor.post("/unload").json()["sentence"].startswith("The workers keep their weights")
    assert not server.studio.runner._unloading.is_set()


@contextmanager
def slow_job(server, visitor):
    owner = visitor.cookies["aio_owner"]
    job = server.studio.submit(owner, "photo", {"prompt": "slow"})
    wait_until(lambda: visitor.get(f"/jobs/{job.id}").json()["state"] == "running")
    yield
    server.work.go_on.set()
    wait_until(lambda: not visitor.get(f"/jobs/{job.id}").json()["live"])


# The card, and the forms once models have arrived


def card(server, mode_id="photo", raw=(), strangers=False):
    return preflight_card(server.studio, "", MODES[mode_id], dict(raw), strangers)


def test_card_offers_what_is_missing(server):
    html = card(server).html
    assert "diffusers · demo weights" in html
    assert "epiCRealism XL for diffusers, 6.9 GB to fetch" in html
    assert f'<a href="{EPIC.page}" target="_blank" rel="noopener">{EPIC.licence}</a>' in html
    assert ">Fetch 6.9 GB</button>" in html
    assert card(server).button == "Generate on demo weights"


def test_card_is_calm_where_all_is_here(server):
    put(server.home, EPIC)
    shown = card(server)
    assert shown.button == "Generate"
    assert "epiCRealism XL" in shown.html and "data-fetch" not in shown.html


def test_card_says_where_the_disk_is_too_small(server, monkeypatch):
    monkeypatch.setattr("studio.preflight.free_gigabytes", lambda: 3.2)
    assert "Only 3.2 GB of disk are free" in card(server).html


def test_card_tells_of_the_memory_once_it_is_known(server, monkeypatch):
    large = Machine("cuda", 80 * GIB, 78 * GIB, 128 * GIB, 64 * GIB)
    assert "memory" not in card(server).html
    monkeypatch.setattr(server.studio.machine, "_machine", large)
    assert "Needs 8 of 84 GB of memory" in card(server).html


def test_card_escapes_what_it_is_given(server):
    html = card(server, raw={"weights": "<img src=x onerror=alert(1)>"}).html
    assert "<img" not in html and "&lt;img" in html


def test_card_needs_what_the_form_says(server):
    put(server.home, QWEN)
    missing = card(server, "image", {"preset": "fast"})
    assert "These settings need 0.8 GB more" in missing.html
    assert missing.button == "Generate"
    assert "data-fetch" not in card(server, "image", {"preset": "quality"}).html


def test_forms_choose_the_weights_that_have_come(server, hub, visitor):
    serve_photo(hub)
    before = answered(visitor, "refresh-forms")["photo-weights"]
    assert (before["value"], before["visible"]) == ("demo", False)
    start(visitor, PHOTO)
    wait_for(visitor, "done")
    after = answered(visitor, "refresh-forms")
    assert after["photo-weights"]["value"] == "epiCRealism XL"
    assert [label for label, _ in after["photo-weights"]["choices"]] == ["epiCRealism XL", "demo"]
    assert after["image-weights"]["value"] == "demo"
    numbers = answered(visitor, "photo-count", photo_weights="epiCRealism XL")
    assert "Fetch" not in numbers["photo-preflight"]
    assert "1024 x 1024" in numbers["photo-read-out"]


def test_mode_runs_on_what_was_fetched(tmp_path, hub, demo_home):
    folder = ensure_demo(demo_home, "sdxl")
    files = [path for path in folder.rglob("*") if path.is_file() and path.name != "demo.json"]
    hub.repos[EPIC.repo] = {
        path.relative_to(folder).as_posix(): path.read_bytes() for path in files
    }
    server = Server(Home(tmp_path / "home"), real=True)
    try:
        with server.visitor() as visitor:
            start(visitor, PHOTO)
            wait_for(visitor, "done")
            raw = {"prompt": "a cat", "width": "512", "height": "512", "preset": "fast"}
            job = server.studio.submit(visitor.cookies["aio_owner"], "photo", raw)
            done = wait_until(partial(ended, visitor, job.id), 120)
            assert done["state"] == "done", done["failure"]
            assert (done["items"][0]["weights"], done["items"][0]["demo"]) == (
                "epiCRealism XL",
                False,
            )
    finally:
        server.stop()


def ended(visitor, job_id):
    job = visitor.get(f"/jobs/{job_id}").json()
    return None if job["live"] else job
