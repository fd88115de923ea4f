"""One visitor tries every route and every endpoint with the exact ids and paths of another.

The routes and endpoints are those that the page has: one that is added is tried, too.
"""

import json
import re
import time
from pathlib import Path

import httpx
import page_surface
import pytest
from PIL import Image

from studio.inputs import input_path

SECRET = "xyzzy plugh"
PATIENCE = httpx.Timeout(20, read=1)
"""Streams say nothing to who may not listen, and never end."""
MOST_BYTES = 5_000_000
RUNS_ANYTHING = re.compile("(api|run|call|call/v2)/{api_name}")
"""Gradio's ways to run an endpoint, which have a test of their own."""


class Ann:
    """A visitor who has made a video of her picture, and has uploaded another one."""

    def __init__(self, server, client, folder):
        self.server, self.client = server, client
        self.files = [self.upload(folder, shade) for shade in (40, 90)]
        data = {"path": self.files[0], "meta": {"_type": "gradio.FileData"}}
        info = client.get("/gradio_api/info").json()["named_endpoints"]["/i2v"]["parameters"]
        given = {"image": data, "prompt": f"{SECRET} slow"}
        values = [given.get(one["parameter_name"], one["parameter_default"]) for one in info]
        self.job = client.post("/gradio_api/run/i2v", json={"data": values}).json()["data"][0]
        server.work.go_on.set()
        end = time.monotonic() + 30
        while client.get(f"/jobs/{self.job}").json()["live"] and time.monotonic() < end:
            time.sleep(0.02)
        self.row = server.studio.table.get(self.job)
        self.output = server.home.root / self.row.outputs[0]
        self.kept = input_path(server.home, self.row.inputs["image"][0])
        assert client.get(f"/gallery/{self.job}/0/poster").status_code == 200

    def upload(self, folder, shade):
        path = folder / f"{shade}.png"
        Image.effect_noise((64, 48), shade).convert("RGB").save(path)
        with path.open("rb") as file:
            return self.client.post("/gradio_api/upload", files={"files": file}).json()[0]

    def paths(self):
        poster = self.server.home.scratch / "posters" / f"{self.job}-0.jpg"
        places = (*self.files, self.output, self.kept, poster, self.server.home.database)
        return [str(one) for one in places]

    def secrets(self):
        """What only she may be told; a piece from within stands for each file."""
        files = [Path(path).read_bytes() for path in self.paths()]
        pieces = [content[len(content) // 2 :][:60] for content in files]
        return [SECRET.encode(), self.client.cookies["aio_owner"].encode(), b"root:x:", *pieces]

    def world(self):
        """All that she has."""
        views = [self.client.get(way).json() for way in (f"/jobs/{self.job}", "/gallery")]
        return views, [Path(path).read_bytes() for path in self.paths()[:-1]]


@pytest.fixture(scope="module")
def ann(server, tmp_path_factory):
    with server.visitor() as client:
        yield Ann(server, client, tmp_path_factory.mktemp("ann"))


@pytest.fixture
def others(server):
    """Somebody with an owner of their own, a browser without any, and a program from here."""
    with httpx.Client(base_url=server.url, timeout=60) as eve:
        eve.get("/").raise_for_status()
        browser = {"Sec-Fetch-Site": "same-origin"}
        with (
            httpx.Client(base_url=server.url, timeout=60, headers=browser) as nobody,
            httpx.Client(base_url=server.url, timeout=60) as program,
        ):
            yield [eve, nobody, program]


def answer_to(client, method, way, body=None):
    """The beginning of the answer, of one that never ends too."""
    got = bytearray()
    try:
        sent = body if method == "POST" else None
        with client.stream(method, way, json=sent, timeout=PATIENCE) as answer:
            for part in answer.iter_raw():
                got += part
                if len(got) > MOST_BYTES:
                    break
    except httpx.ReadTimeout:
        pass
    return bytes(got)


def test_no_route_tells_or_changes_what_is_anothers(server, ann, others):
    before, secrets = ann.world(), ann.secrets()
    found = sorted(set(page_surface.routes(server.page.app)))
    assert ("GET", "/media/{job_id}/{item:int}") in found
    assert ("GET", "/gradio_api/file={path_or_url:path}") in found
    assert ("POST", "/gradio_api/mcp/") in found
    known = {"job_id": ann.job, "control": "image", "direction": "sooner", "session_hash": "ann"}
    ids = re.compile(r"{(\w+)(:\w+)?}")
    body = {"data": [ann.job], "session_hash": "ann", "fn_index": 0, "event_id": "0"}
    told = []
    for method, route in found:
        if RUNS_ANYTHING.search(route):
            continue
        tails = (
            [*ann.paths(), "/etc/passwd", "../../../../etc/passwd"] if ":path}" in route else [""]
        )
        for tail in tails:
            way = ids.sub(
                lambda one, t=tail: known.get(one[1], t if one[2] == ":path" else "0"), route
            )
            for client in others:
                got = answer_to(client, method, way, body)
                told += [(method, way) for secret in secrets if secret in got]
    assert told == []
    assert ann.world() == before


def test_no_endpoint_tells_or_uses_what_is_anothers(server, ann, others):
    before, secrets = ann.world(), ann.secrets()
    eve, nobody, program = others
    file = ann.row.inputs["image"][0]
    hers = {"image": [{"sha256": file.sha256, "name": file.name, "suffix": ".png"}]}
    wish = {"mode": "i2v", "settings": {}, "whole": True, "lost": [], "inputs": hers}
    files = [{"path": path, "meta": {"_type": "gradio.FileData"}} for path in ann.paths()[:4]]
    asked = [
        {"job": ann.job, "item": 0},
        {"job": ann.job, "item": 0, "control": "image", "part": "last"},
        {"wish": wish},
    ]
    told = []
    found = list(page_surface.endpoints(eve))
    assert {name for _, name, _ in found} >= {"fill", "generate", "i2v", "say_numbers"}
    for number, name, values in found:
        for one in asked if len(values) == 1 else files:
            # In every control, and where no text or number is.
            for data in ([one] * len(values), [one if v is None else v for v in values]):
                body = {"data": data, "fn_index": number, "session_hash": "eve"}
                got = answer_to(eve, "POST", "/gradio_api/run/predict", body)
                told += [(name, one) for secret in secrets if secret in got]
        for client in (nobody, program):
            got = answer_to(client, "POST", "/gradio_api/run/predict", body)
            told += [(name, "without a cookie") for secret in secrets if secret in got]
    assert told == []
    made = server.studio.table.list_for(eve.cookies["aio_owner"], limit=1000)
    hers = {file.sha256}
    assert not [
        job for job in made for all_ in job.inputs.values() if {f.sha256 for f in all_} & hers
    ]
    assert ann.world() == before


def test_uploads_stay_in_their_folder(server, others):
    """Whatever they are called."""
    eve, *_ = others
    uploads = (server.home.scratch / "uploads").resolve()
    names = ["../../../../tmp/x.png", "..\\..\\x.png", "/etc/x.png", "\\\\host\\x.png", "..", "CON"]
    names += ["a" * 400, "x.png\0.html", ".. /x", "<img src=x onerror=alert(1)>.png"]
    before = {path for path in server.home.root.rglob("*") if uploads not in path.parents}
    for name in names:
        answer = eve.post("/gradio_api/upload", files={"files": (name, b"content")})
        told = answer.json() if answer.status_code == 200 else []
        assert all(Path(path).resolve().is_relative_to(uploads) for path in told), json.dumps(told)
    assert {path for path in server.home.root.rglob("*") if uploads not in path.parents} == before
