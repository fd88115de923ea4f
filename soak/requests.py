"""Random requests at every endpoint and route of the page, as somebody with bad intentions sends.

    make soak ARGS="requests --seed 9 --requests 3000"

An answer may be a job, or a refusal in a sentence. It may not be an error of the server's own,
show a traceback, name a file of the server, or come with the server's end.
"""

import json
import random
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
from page_server import Server

from studio.home import Home
from studio.modes import MODES

METHODS = ("GET", "POST", "PUT", "DELETE", "HEAD")
MEDIA = "/etc/passwd"


@dataclass(frozen=True)
class Requests:
    """What came of it."""

    requests: int
    answers: str
    """How many of each status."""
    jobs: int
    errors_of_the_server: tuple[str, ...]
    tracebacks: tuple[str, ...]
    files_told: tuple[str, ...]
    alive: bool

    @property
    def well(self) -> bool:
        return self.alive and not (self.errors_of_the_server or self.tracebacks or self.files_told)


def campaign(folder: Path, seed: int, count: int) -> Requests:
    """Sends `count` requests to a page that makes its jobs at once."""
    chance, home = random.Random(seed), Home(folder / "home")
    server = Server(home, strangers=True)
    try:
        with server.visitor() as client:
            fuzz = _Fuzz(client, chance, _parameters(client))
            sent = [fuzz.send() for _ in range(count)]
            alive = client.get("/jobs").status_code == 200
            jobs = len(server.studio.table.list_for(client.cookies["aio_owner"], limit=count))
    finally:
        server.stop()
    return Requests(
        requests=count,
        answers=str(dict(sorted(Counter(answer.status_code for _, answer in sent).items()))),
        jobs=jobs,
        errors_of_the_server=_such(sent, lambda one: one.status_code >= 500 and not _gradios(one)),
        tracebacks=_such(sent, lambda one: "Traceback" in one.text),
        files_told=_such(sent, lambda one: str(folder) in one.text or "root:x:" in one.text),
        alive=alive,
    )


Sent = tuple[str, httpx.Response]
Drawn = tuple[str, str, bytes | None]
"""Method, path and body."""


def _such(sent: list[Sent], wrong: Callable[[httpx.Response], bool]) -> tuple[str, ...]:
    """The first few requests whose answer is wrong."""
    found = [f"{name} -> {answer.text[:200]}" for name, answer in sent if wrong(answer)]
    return (*found[:5], *([f"and {len(found) - 5} more"] if len(found) > 5 else []))


def _gradios(answer: httpx.Response) -> bool:
    """Gradio answers with 500 to what an endpoint refuses, in the sentence of the refusal.

    To too few values, and to a file that nobody has uploaded, it has none.
    """
    if answer.status_code != 500 or not answer.text.startswith('{"error":'):
        return False
    sentence = answer.json()["error"]
    return sentence is None or (len(sentence) > 10 and "\n" not in sentence)


def _parameters(client: httpx.Client) -> dict[str, list[dict[str, Any]]]:
    told = client.get("/gradio_api/info").json()["named_endpoints"]
    return {mode_id: told[f"/{mode_id}"]["parameters"] for mode_id in MODES}


class _Fuzz:
    """Draws requests and sends them."""

    def __init__(
        self, client: httpx.Client, chance: random.Random, known: dict[str, list[dict[str, Any]]]
    ) -> None:
        self._client, self._chance, self._known = client, chance, known

    def send(self) -> Sent:
        draw = self._endpoint if self._chance.random() < 0.6 else self._route
        method, path, body = draw()
        try:
            got = self._client.request(method, path, content=body, headers=_JSON)
        except httpx.TransportError as error:
            got = httpx.Response(599, text=f"no answer: {error}")
        return f"{method} {path} {(body or b'')[:300]!r}", got

    def _endpoint(self) -> Drawn:
        mode_id = self._chance.choice(tuple(MODES))
        data = [self._parameter(one) for one in self._known[mode_id]]
        if self._chance.random() < 0.1:
            data = data[: self._chance.randrange(len(data))]
        path = f"/gradio_api/run/{mode_id}"
        return "POST", path, _json({"data": data})

    def _parameter(self, parameter: dict[str, Any]) -> object:
        usual = parameter["parameter_default"] if parameter["parameter_has_default"] else "a cat"
        return usual if self._chance.random() < 0.95 else self._value()

    def _value(self, depth: int = 2) -> object:
        kinds = [*_VALUES, *([self._list, self._mapping] if depth else [])]
        kind = self._chance.choice(kinds)
        return kind(depth - 1) if kind in (self._list, self._mapping) else kind(self._chance)

    def _list(self, depth: int) -> object:
        return [self._value(depth) for _ in range(self._chance.randrange(4))]

    def _mapping(self, depth: int) -> object:
        names = ("path", "url", "image", "meta", "file", "strength", "_type", "x")
        return {self._chance.choice(names): self._value(depth) for _ in range(3)}

    def _route(self) -> Drawn:
        path = self._chance.choice(_PATHS).format(*(self._part() for _ in range(3)))
        method = self._chance.choice(METHODS)
        body = _json(self._value()) if method in ("POST", "PUT") else None
        return method, path, body

    def _part(self) -> str:
        return self._chance.choice(
            ("0", "-1", "99999999999999999999", "a" * 32, "..%2f..%2fetc%2fpasswd", "%00", "%F0%9F",
             "'; DROP TABLE jobs; --", "x" * 3000, "sooner", "image", "photo", "inf")
        )  # fmt: skip


_JSON = {"Content-Type": "application/json"}

_PATHS = (
    "/jobs?before={}", "/jobs/{}", "/jobs/{}/cancel", "/jobs/{}/rerun?item={}",
    "/jobs/{}/move/{}", "/media/{}/{}", "/media/{}/input/{}/{}", "/preview/{}",
    "/gallery?mode={}&text={}&before={}", "/gallery/{}/{}/poster", "/gallery/{}/{}/delete",
    "/gallery/{}/{}/undo", "/gallery/{}/{}/again?seed={}", "/recipe?name={}&mode={}", "/models",
    "/machine", "/fetch", "/fetch/again", "/fetch/cancel", "/unload", "/gradio_api/file={}",
    "/gradio_api/file=/etc/passwd", "/gradio_api/file=../../etc/passwd", "/{}",
)  # fmt: skip

_VALUES: tuple[Callable[[random.Random], object], ...] = (
    lambda chance: None,
    lambda chance: chance.choice((True, False)),
    lambda chance: chance.choice((0, -1, 1e308, 2**70, float("nan"), float("inf"), 0.5)),
    lambda chance: chance.choice(
        ("", " ", MEDIA, "../../x", "<script>", "\0", "\ud800", "9" * 400)
    ),
    lambda chance: "x" * chance.choice((9000, 100_000)),
    lambda chance: {"path": MEDIA, "meta": {"_type": "gradio.FileData"}},
    lambda chance: {"path": "/proc/self/environ", "orig_name": "a.png"},
    lambda chance: ["a.safetensors:1", "../../etc/passwd:0.5"],
)


def _json(value: object) -> bytes:
    """With what JSON does not have (NaN) and text that is not UTF-8, as a client may send it."""
    return json.dumps(value).encode()
