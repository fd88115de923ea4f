"""What the package `spaces` asks ZeroGPU's device API, answered on loopback.

Learned by reading spaces 0.51.3 (`zero/api.py`, `zero/client.py`). It grants, and refuses by
script; it knows nothing of quotas and has no GPU.
"""

import json
import os
import signal
import threading
import time
import uuid
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qsl, urlsplit

REFUSALS = {
    "quota": (429, {"left": 12, "wait": 3600}, {"X-Approve-Result": "quota-exceeded"}),
    "runs": (429, {"left": 0, "wait": 0}, {"X-Approve-Result": "runs-exceeded"}),
    "illegal": (429, {"left": 0, "wait": -1}, {"X-Approve-Result": "illegal-duration"}),
    "pending": (429, {"left": 0, "wait": 60}, {"X-Approve-Result": "pending-overquota-exceeded"}),
    "expired": (401, {}, {}),
    "none": (503, {}, {}),
    "broken": (500, {}, {}),
}
"""Status, body and headers of `/schedule` by what they mean."""


class DeviceApi:
    """One GPU, which any number of workers may hold at a time."""

    def __init__(self):
        self.calls = []
        """Path and query of every request."""
        self.answers = []
        """What `/schedule` answers next: a key of REFUSALS; "wait" and "in vain" mean its queue."""
        self.workers = {}
        """Process ids by allow token, of calls that go on."""
        self.pids = set()
        self.last = None
        self.idle = False
        """Whether the newest worker has ended well and waits for more."""
        api = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self):
                url = urlsplit(self.path)
                query = dict(parse_qsl(url.query))
                api.calls.append((url.path, query))
                getattr(api, url.path.strip("/").replace("-", "_"))(self, query)

            def log_message(self, *arguments):
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def stop(self):
        """Workers outlive a studio that was killed, and hold its output."""
        for pid in self.pids:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self.server.shutdown()

    def end(self):
        """Takes the GPU back from the one call that goes on, once there is but one."""
        while len(self.workers) != 1:
            time.sleep(0.01)
        os.kill(self.workers.popitem()[1], signal.SIGKILL)

    def scheduled(self):
        """The queries of all calls for a GPU."""
        return [query for path, query in self.calls if path == "/schedule"]

    # Answers

    def startup_report(self, request, query):
        answer(request)

    def schedule(self, request, query):
        what = self.answers.pop(0) if self.answers else "grant"
        if what in REFUSALS:
            answer(request, *REFUSALS[what])
        elif what == "grant":
            answer(request, 200, self._grant(query))
        else:
            self._queue(request, query, what)

    def allow(self, request, query):
        self.last = int(query["pid"])
        self.pids.add(self.last)
        self.workers[query["allowToken"]] = self.last
        answer(request)

    def release(self, request, query):
        self.idle = query["fail"] == "false"
        known = self.workers.pop(query["allowToken"], None)
        answer(request, 200 if known else 404)

    def _grant(self, query):
        token = uuid.uuid4().hex
        idle, self.idle = self.idle and not self.workers, False
        if idle:
            # The worker of before is used again, and does not ask.
            self.workers[token] = self.last
        return {"idle": idle, "nvidiaIndex": 0, "nvidiaUUID": "GPU-none", "allowToken": token}

    def _queue(self, request, query, what):
        request.send_response(200)
        request.send_header("Content-Type", "text/event-stream")
        request.send_header("X-Queuing-Reason", "node")
        request.end_headers()
        end = "event: failed\n\n"
        if what == "wait":
            end = f"event: succeeded\ndata: {json.dumps(self._grant(query))}\n\n"
        for event in ("event: ping\n\n", end):
            request.wfile.write(event.encode())
            request.wfile.flush()
            # The package takes what arrives at once for one event.
            time.sleep(0.1)


def answer(request, status=200, body=None, headers=None):
    content = json.dumps(body).encode() if body is not None else b""
    request.send_response(status)
    request.send_header("Content-Type", "application/json")
    request.send_header("Content-Length", str(len(content)))
    for name, value in (headers or {}).items():
        request.send_header(name, value)
    request.end_headers()
    request.wfile.write(content)
