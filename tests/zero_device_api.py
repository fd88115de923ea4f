"""What the package `spaces` asks ZeroGPU's device API, answered on loopback.

Learned by reading spaces 0.51.3 (`zero/api.py`, `zero/client.py`). It grants, refuses by script,
and kills workers as the real one does; it knows nothing of quotas, and has no GPU.
"""

import json
import os
import signal
import threading
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
        self.enforces = False
        """Whether a worker is killed when the seconds that it has asked for are over."""
        self.workers = {}
        """Process ids by allow token, of calls that go on."""
        self.pids = set()
        self.released = False
        self.seconds = {}
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
        token, pid = query["allowToken"], int(query["pid"])
        self.workers[token] = pid
        self.pids.add(pid)
        if self.enforces:
            # Late, as the studio counts from the worker's first word.
            timer = threading.Timer(self.seconds[token] + 0.5, self._end, [token])
            timer.daemon = True
            timer.start()
        answer(request)

    def release(self, request, query):
        self.released = query.get("fail") != "True" and query.get("fail") != "true"
        known = self.workers.pop(query["allowToken"], None)
        self.seconds.pop(query["allowToken"], None)
        answer(request, 200 if known or self.released else 404)

    def _grant(self, query):
        token = uuid.uuid4().hex
        self.seconds[token] = float(query["durationSeconds"])
        idle, self.released = self.released and not self.workers, False
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
            threading.Event().wait(0.1)

    def _end(self, token):
        pid = self.workers.pop(token, None)
        if pid is not None:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


def answer(request, status=200, body=None, headers=None):
    content = json.dumps(body).encode() if body is not None else b""
    request.send_response(status)
    request.send_header("Content-Type", "application/json")
    request.send_header("Content-Length", str(len(content)))
    for name, value in (headers or {}).items():
        request.send_header(name, value)
    request.end_headers()
    request.wfile.write(content)
