"""A small Hub on loopback for the real huggingface_hub: counts what it serves, and fails on wish.

It knows HEAD and GET of `/<repo>/resolve/<revision>/<path>`, and what a repository holds. It does
not prove what a real CDN's signed addresses, Xet storage or rate limits do.
"""

import hashlib
import json
import socket
import struct
import threading
from collections import Counter, defaultdict, deque
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from random import Random
from urllib.parse import unquote

COMMIT = "a" * 40
NEXT_COMMIT = "b" * 40
_BLOCK = 64 * 1024


@dataclass(frozen=True)
class Fault:
    """What goes wrong with one request. Nothing does in `Fault()`."""

    status: int = 0
    """Answer with this, and `code` and `message` as the Hub's error headers."""
    code: str = ""
    message: str = ""
    retry_after: int | None = None
    cut: int | None = None
    """Drop the connection after so many bytes of the body."""
    stall: int | None = None
    """Send nothing more after so many bytes of the body, until the hub is stopped."""
    short: int | None = None
    """Say that the body ends after so many bytes, and end it there."""
    body: bytes | None = None
    """Serve other bytes than the etag was made of."""
    no_range: bool = False
    """Answer 200 with all of it where a part was asked for."""
    mute: bool = False
    """Take the request and never answer."""
    stranger: bool = False
    """Answer as no Hub does: a login page of some network."""


GATED_NO_TOKEN = Fault(401, "GatedRepo", "Access to this model is restricted. Please log in.")
GATED_NOT_ACCEPTED = Fault(403, "GatedRepo", "You are not in the authorized list.")
BAD_TOKEN = Fault(401, "", "Invalid credentials in Authorization header")
FORBIDDEN = Fault(403, "", "Forbidden")
DISABLED = Fault(403, "", "Access to this resource is disabled.")
NO_REPO = Fault(404, "RepoNotFound", "Repository not found")
NO_REVISION = Fault(404, "RevisionNotFound", "Invalid rev id")
NO_FILE = Fault(404, "EntryNotFound", "Entry not found")


@dataclass
class LocalHub:
    repos: dict[str, dict[str, bytes]] = field(default_factory=dict)
    cdn: bool = False
    """Send LFS files to another host, as the real Hub does."""
    commit: str = COMMIT
    """What `main` is."""
    served: Counter = field(default_factory=Counter)
    """Bytes of bodies by the path in the repository."""
    requests: list = field(default_factory=list)
    """(method, path on the server, Range, Authorization), in their order."""
    faults: dict = field(default_factory=lambda: defaultdict(deque))
    always: dict = field(default_factory=dict)
    stalled: threading.Event = field(default_factory=threading.Event)
    """Set once a connection stalls."""
    stopped: threading.Event = field(default_factory=threading.Event)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def fail(self, path: str, *faults: Fault, method: str = "GET") -> None:
        """The next requests for a file go wrong in these ways, one each."""
        self.faults[method, path].extend(faults)

    def fail_always(self, path: str, fault: Fault, method: str = "GET") -> None:
        self.always[method, path] = fault

    def next_fault(self, method: str, path: str) -> Fault:
        with self.lock:
            waiting = self.faults[method, path]
            return waiting.popleft() if waiting else self.always.get((method, path), Fault())

    def start(self) -> "LocalHub":
        hub = self

        class Handler(_Handler):
            pass

        Handler.hub = hub
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.server.handle_error = lambda *_: None  # clients that hang up belong to the tests
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, args=(0.02,), daemon=True).start()
        return self

    def stop(self) -> None:
        self.stopped.set()
        self.server.shutdown()
        self.server.server_close()


def etag(path: str, content: bytes) -> str:
    """As the Hub has it: SHA-256 of what is in LFS, git's own hash of small text."""
    if path.endswith((".safetensors", ".bin")):
        return hashlib.sha256(content).hexdigest()
    return hashlib.sha1(f"blob {len(content)}\0".encode() + content).hexdigest()


def weights(size: int, seed: int = 0) -> bytes:
    """The bytes of a safetensors file with one tensor."""
    header = json.dumps({"w": {"dtype": "U8", "shape": [size], "data_offsets": [0, size]}})
    return struct.pack("<Q", len(header)) + header.encode() + Random(seed).randbytes(size)


@contextmanager
def connected(hub: LocalHub, cache, monkeypatch):
    """huggingface_hub in this process uses `hub` and the folder `cache`."""
    import huggingface_hub
    from huggingface_hub import constants

    hub.start()
    monkeypatch.delenv("HF_TOKEN", raising=False)
    template = hub.url + "/{repo_id}/resolve/{revision}/{filename}"
    for name, value in {
        "HF_HUB_OFFLINE": False,
        "ENDPOINT": hub.url,
        "HUGGINGFACE_CO_URL_TEMPLATE": template,
        "HF_HUB_CACHE": str(cache),
        "HF_TOKEN_PATH": str(cache / "no-token"),
        "HF_STORED_TOKENS_PATH": str(cache / "no-tokens"),
    }.items():
        monkeypatch.setattr(constants, name, value)
    try:
        yield hub
    finally:
        hub.stop()
        huggingface_hub.close_session()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    hub: LocalHub

    def log_message(self, *_):
        pass

    def do_HEAD(self):
        self.answer()

    def do_GET(self):
        self.answer()

    def answer(self):
        way = unquote(self.path)
        asked = (self.command, way, self.headers["Range"], self.headers["Authorization"])
        self.hub.requests.append(asked)
        if way.startswith("/api/models/"):
            self.describe(*way.removeprefix("/api/models/").partition("?")[0].split("/"))
            return
        on_cdn = way.startswith("/cdn/")
        owner, name, _, revision, path = way.removeprefix("/cdn").lstrip("/").split("/", 4)
        repo = self.hub.repos.get(f"{owner}/{name}")
        fault = self.hub.next_fault(self.command, path)
        if fault.mute:
            self.hub.stalled.set()
            self.hub.stopped.wait(60)
            self.close_connection = True
        elif fault.stranger:
            self.head(200, {"Content-Length": 0})
        elif fault.status:
            self.refuse(fault)
        elif repo is None:
            self.refuse(NO_REPO)
        elif revision not in ("main", self.hub.commit, COMMIT):
            self.refuse(NO_REVISION)
        elif path not in repo:
            self.refuse(NO_FILE)
        else:
            self.give(path, repo[path], fault, on_cdn)

    def describe(self, owner, name, _, revision):
        repo = self.hub.repos.get(f"{owner}/{name}")
        fault = self.hub.next_fault("GET", f"{owner}/{name}")
        if fault.status or repo is None or revision not in ("main", self.hub.commit):
            self.refuse(fault if fault.status else NO_REPO if repo is None else NO_REVISION)
            return
        siblings = [{"rfilename": path, "size": len(one)} for path, one in repo.items()]
        about = {"id": f"{owner}/{name}", "sha": self.hub.commit, "siblings": siblings}
        body = json.dumps(about).encode()
        self.head(200, {"Content-Type": "application/json", "Content-Length": len(body)})
        self.wfile.write(body)

    def give(self, path, content, fault, on_cdn):
        tag = f'"{etag(path, content)}"'
        about = {
            "X-Repo-Commit": self.hub.commit,
            "X-Linked-Etag": tag,
            "X-Linked-Size": len(content),
            "ETag": tag,
        }
        if self.hub.cdn and not on_cdn and path.endswith((".safetensors", ".bin")):
            elsewhere = self.hub.url.replace("127.0.0.1", "localhost") + "/cdn" + self.path
            self.head(302, {**about, "Location": elsewhere, "Content-Length": 0})
            return
        self.send(path, content if fault.body is None else fault.body, fault, about)

    def send(self, path, content, fault, about):
        asked = self.headers["Range"]
        start = int(asked.removeprefix("bytes=").rstrip("-")) if asked else 0
        start = 0 if fault.no_range else start
        if start >= len(content) > 0:
            self.refuse(Fault(416))
            return
        body = content[start : None if fault.short is None else start + fault.short]
        part = {"Content-Range": f"bytes {start}-{len(content) - 1}/{len(content)}"}
        self.head(206 if start else 200, {**about, "Content-Length": len(body), **part})
        if self.command == "HEAD":
            return
        limit = next((one for one in (fault.cut, fault.stall) if one is not None), None)
        self.pour(path, body[:limit])
        if fault.stall is not None:
            self.hub.stalled.set()
            self.hub.stopped.wait(60)
        if limit is not None:
            self.close_connection = True
            self.connection.shutdown(socket.SHUT_RDWR)

    def pour(self, path, body):
        for at in range(0, len(body), _BLOCK):
            block = body[at : at + _BLOCK]
            self.wfile.write(block)
            with self.hub.lock:
                self.hub.served[path] += len(block)

    def refuse(self, fault):
        headers = {"X-Error-Code": fault.code, "X-Error-Message": fault.message}
        if fault.retry_after is not None:
            headers["Retry-After"] = fault.retry_after
        self.head(fault.status, {**headers, "Content-Length": 0})

    def head(self, status, headers):
        self.send_response(status)
        for name, value in headers.items():
            if value != "":
                self.send_header(name, str(value))
        self.end_headers()
