"""What a script asks of its jobs: list them, look at one or wait for it, cancel it."""

import asyncio
import json
import time
from dataclasses import dataclass
from typing import cast

import gradio as gr
from gradio.route_utils import get_root_url
from starlette.requests import Request

from studio.errors import NotAllowed, NotFound
from studio.fields import NumberControl
from studio.jobs import CancelOutcome, Item, Job
from studio.modes import MODES
from studio.page_job import CANCELLED, View, row_view
from studio.page_owner import NO_OWNER, owner_of
from studio.studio import COMMAND_LINE, Studio

LIMIT = NumberControl(
    name="limit", label="Limit", minimum=1, maximum=100, default=20, integer=True, unit="jobs"
)
WAIT = NumberControl(
    name="wait", label="Wait", minimum=0, maximum=300, default=0, integer=False, unit="seconds"
)
"""The most is what MCP's own client waits for a word of the server."""

LOOK_SECONDS = 0.25
"""Between two looks at a job that is waited for; one indexed query."""

GONE = "This file is no longer there."


@dataclass(frozen=True)
class JobEndpoints:
    """The three endpoints. Somebody else's job is answered exactly as an unknown one."""

    studio: Studio

    def jobs(self, request: gr.Request, before: str = "", limit: int = 20) -> dict[str, object]:
        """Lists your jobs, newest first, each as 'job' gives it. 'next' is the 'before' of the
        next page, null on the last.

        Args:
            before: Only those older than the job with this id. Left out: from the newest.
            limit: How many, 1 to 100.
        """
        owner, most = _owner(request), cast(int, LIMIT.parse(limit))
        found = self.studio.table.list_for(owner, limit=most + 1, before=str(before) or None)
        shown = found[:most]
        listed: View = {
            "jobs": [self._view(job, request) for job in shown],
            "next": shown[-1].id if len(found) > most else None,
        }
        return _told(listed, request)

    async def job(self, request: gr.Request, id: str, wait: float = 0) -> dict[str, object]:
        """Tells of one of your jobs: 'state', 'percent', 'stage', 'ended'; 'files' with the
        address of each result; 'error' and 'kind' where it failed.

        Args:
            id: The id of the job.
            wait: Seconds, 0 to 300, to wait for its end. If it has not ended by then, ask again.
        """
        owner, seconds = _owner(request), cast(float, WAIT.parse(wait))
        end = time.monotonic() + seconds
        # The table may be busy; the page answers others meanwhile.
        while (job := await asyncio.to_thread(self._job, owner, id)).is_live:
            if time.monotonic() >= end:
                break
            await asyncio.sleep(LOOK_SECONDS)
        return _told(await asyncio.to_thread(self._view, job, request), request)

    def cancel(self, request: gr.Request, id: str) -> dict[str, object]:
        """Takes one of your jobs out of the queue, or stops it after its current step. Gives the
        job; one that has ended stays as it is.

        Args:
            id: The id of the job.
        """
        owner = _owner(request)
        if self.studio.runner.cancel(owner, str(id)) is CancelOutcome.UNKNOWN:
            raise NotFound(CANCELLED[CancelOutcome.UNKNOWN])
        return _told(self._view(self._job(owner, id), request), request)

    def _job(self, owner: str, job_id: str) -> Job:
        job = self.studio.table.get_for(owner, str(job_id))
        if job is None:
            raise NotFound(CANCELLED[CancelOutcome.UNKNOWN])
        return job

    def _view(self, job: Job, request: gr.Request) -> View:
        position = None
        if job.state == "queued":
            position = self.studio.table.queue_positions(job.owner).get(job.id)
        now, failure, forecast = time.time(), job.failure, job.progress.forecast
        row = row_view(job, position, now)
        told = ("id", "mode", "prompt", "seed", "state", "position", "percent", "created")
        made = [item for item in job.items if item.output and self._is_here(item)]
        return {
            **{name: row[name] for name in told},
            "ended": not job.is_live,
            "stopping": job.cancel_requested and job.is_live,
            "stage": job.progress.label if job.state == "running" else None,
            "seconds": row["elapsed"],
            "seconds_left": forecast.remaining(now) if forecast and job.is_live else None,
            "files": [self._file(job, item, request) for item in made],
            "notes": list(job.notes),
            "error": failure.sentence if failure else None,
            "kind": failure.kind if failure else None,
            "failed": [_failed(item) for item in job.items if item not in made and not job.is_live],
        }

    def _is_here(self, item: Item) -> bool:
        return (self.studio.home.root / str(item.output)).is_file()

    def _file(self, job: Job, item: Item, request: gr.Request) -> View:
        path = self.studio.home.root / str(item.output)
        details = item.details
        frames, fps = details.get("frames"), details.get("fps")
        return {
            "name": path.name,
            "url": f"{_root(request)}/media/{job.id}/{item.index}?download",
            # Not "path", which has gradio_client ask for it where only Gradio's own files are.
            **({"local_path": str(path)} if job.owner == COMMAND_LINE else {}),
            "of": item.source.name if item.source else None,
            "media": MODES[job.mode].makes,
            "seed": details.get("seed", job.seed),
            "width": details.get("width"),
            "height": details.get("height"),
            "seconds": frames / fps if frames and fps else None,
            "demo": bool(details.get("demo")),
            "notes": [*details.get("notes", ()), *item.findings],
        }


def _failed(item: Item) -> View:
    """An item without a file, and why; no reason where the job was ended before its turn."""
    failure = item.failure
    gone = item.output is not None
    return {
        "of": item.source.name if item.source else None,
        "state": item.state,
        "error": failure.sentence if failure else GONE if gone else None,
        "kind": failure.kind if failure else NotFound.__name__ if gone else None,
    }


def _owner(request: gr.Request) -> str:
    owner = owner_of(request)
    if owner is None:
        raise NotAllowed(NO_OWNER)
    return owner


def _plain(request: gr.Request) -> Request:
    """Gradio wraps what its own routes get, and hands on as it is what MCP's gets."""
    return cast(Request, getattr(request, "request", None) or request)


def _told(view: View, request: gr.Request) -> View:
    """For MCP as JSON: Gradio writes what a tool gives as Python would."""
    if "/gradio_api/mcp" in _plain(request).url.path:
        return cast(View, json.dumps(view))
    return view


def _root(request: gr.Request) -> str:
    """The page's address as the one who asks knows it, with no slash at its end."""
    plain = _plain(request)
    _, api, rest = plain.url.path.partition("/gradio_api")
    return str(get_root_url(plain, api + rest, None))
