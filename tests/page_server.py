"""A page to test: a real server whose jobs are made by a stand-in for the engine."""

import io
import os
import socket
import threading
import time
from contextlib import contextmanager

import httpx
from PIL import Image

import app
from studio.errors import EngineFailed
from studio.events import MemoryUsed, Note, PreviewReady, StageStarted, StepDone
from studio.fetching import Fetching
from studio.jobs import Extent, JobTable
from studio.runner import ItemResult, Planned, Runner
from studio.studio import Studio, open_studio
from studio.weights_hub import Patience

STAGES = {"load": "Loading weights", "sample1": "Sampling", "save": "Saving"}


MEMORY = MemoryUsed("VRAM", 12_300_000_000, 24_000_000_000)
EXTENT = Extent(64 * 48, 1, (4,))


def jpeg(colour=(200, 90, 40)):
    buffer = io.BytesIO()
    Image.new("RGB", (48, 32), colour).save(buffer, "JPEG")
    return buffer.getvalue()


class Work:
    """Makes a plain picture at once; a prompt with "slow" waits, a name with "fail" fails."""

    def __init__(self, home):
        self.home = home
        self.go_on = threading.Event()
        """Ends the waiting of slow jobs."""
        self.released = threading.Event()

    def __call__(self, job, item, report):
        report(Planned(STAGES, "diffusers", "demo", EXTENT))
        report(StageStarted(0))
        report(StageStarted(1, 4))
        report(StepDone(1, 4))
        report(PreviewReady(jpeg()))
        report(MEMORY)
        while "slow" in job.params["prompt"] and not self.go_on.wait(0.02):
            report(StepDone(2, 4))
        if "fail" in (item.source.name if item.source else job.params["prompt"]):
            raise EngineFailed("The picture could not be made: choose a smaller size.")
        report(Note("A fallback was taken."))
        output = self.home.outputs / "2025-01-31" / f"{job.id}_{item.index}.png"
        output.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (64, 48), (90, 140, 60)).save(output)
        details = {"width": 64, "height": 48, "frames": 1, "fps": None, "seed": job.seed}
        return ItemResult(output, ("The picture is one colour.",), {**details, "demo": True})

    def release(self):
        self.released.set()


class Server:
    """A page with a studio of its own in this process; `real` runs the demo weights."""

    def __init__(self, home, real=False, auth=None, strangers=False):
        self.home, self.real, self.auth, self.work = home, real, auth, Work(home)
        self.strangers = strangers
        self.port = free_port()
        self.start()

    def start(self):
        self._uploads_of_another = os.environ.get("GRADIO_TEMP_DIR", "")
        app.prepare_gradio(self.home)
        from studio.page import build_page, launch_page

        self.studio = open_studio(self.home) if self.real else studio_with(self.home, self.work)
        self.studio.runner.start()
        self.page = build_page(self.studio, strangers=self.strangers)
        options = {"port": self.port, "auth": self.auth, "strangers": self.strangers}
        self.url = launch_page(self.page, self.studio, **options)[0].rstrip("/")

    @contextmanager
    def visitor(self):
        """An HTTP client that has opened the page; its jobs are cancelled when it leaves."""
        with httpx.Client(base_url=self.url, timeout=20) as client:
            client.get("/").raise_for_status()
            yield client
            while live := [job["id"] for job in client.get("/jobs").json()["jobs"] if job["live"]]:
                for job_id in live:
                    client.post(f"/jobs/{job_id}/cancel")

    def end_slow_jobs(self):
        """Has all that wait end; those that come later wait again."""
        self.work.go_on.set()
        end = time.monotonic() + 30
        while self.studio.table.has_work() and time.monotonic() < end:
            time.sleep(0.02)
        self.work.go_on.clear()

    def stop(self):
        self.studio.runner.stop()
        self.page.close()
        os.environ["GRADIO_TEMP_DIR"] = self._uploads_of_another


def studio_with(home, work):
    table = JobTable(home.database)
    runner = Runner(table, work, home, release=work.release)
    return Studio(home, table, runner, Fetching(home, Patience(attempts=1)))


def answered(client, elem_id="", event="click", **values):
    """What the page's event changes by the id of the element, the controls as they were built.

    Without an element it is that of the page, which has one where the server answers. `values`
    are those of the controls with the same id, its dashes written as underscores.
    """
    config = client.get("/config").json()
    props = {one["id"]: one["props"] for one in config["components"]}
    (found,) = [
        one
        for one in config["dependencies"]
        if one["backend_fn"] and [elem_id, event] in _targets(one, props)
    ]
    names = [props[one].get("elem_id") for one in found["inputs"]]
    values = {name.replace("_", "-"): value for name, value in values.items()}
    data = [
        values.get(n, props[i].get("value")) for n, i in zip(names, found["inputs"], strict=True)
    ]
    body = {"data": data, "fn_index": found["id"], "session_hash": "test"}
    answer = client.post("/gradio_api/run/predict", json=body)
    assert answer.status_code == 200, answer.text
    changed = [props[one].get("elem_id") for one in found["outputs"]]
    return dict(zip(changed, answer.json()["data"], strict=True))


def _targets(dependency, props):
    return [[props.get(id, {}).get("elem_id", ""), event] for id, event in dependency["targets"]]


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]
