"""What the page fetches of jobs: their state, results and previews, each only for its owner."""

import json
import re
import secrets
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import get_args
from urllib.parse import urlsplit

from starlette.datastructures import MutableHeaders
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import FileResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from studio.errors import BadInput, StudioError
from studio.inputs import input_path, stored_input
from studio.jobs import CancelOutcome, Job
from studio.jobs_queue import Direction
from studio.page_job import CANCELLED, job_view, row_view
from studio.studio import Studio

OWNER_COOKIE = "aio_owner"
_OWNER = re.compile(r"[A-Za-z0-9_-]{43}")
"""What `secrets.token_urlsafe(32)` gives."""

_KEPT_SECONDS = 400 * 24 * 3600
"""The longest that browsers keep a cookie; every visit starts it anew."""

_FIRST_PATHS = ("/", "/config")
"""What a browser, and what gradio_client, asks for first. Only there is an owner made up: answers
to requests sent without cookies (a manifest, a font) would replace the owner's."""

PAGE_OF_JOBS = 20
"""Jobs in one answer of `/jobs`."""

MOST_LIVE = 200
"""Waiting jobs that are listed with the newest ones however old they are."""

MEDIA_TYPES: Mapping[str, str] = {
    ".png": "image/png",
    ".jpg": "image/jpeg",
    ".jpeg": "image/jpeg",
    ".webp": "image/webp",
    ".gif": "image/gif",
    ".bmp": "image/bmp",
    ".avif": "image/avif",
    ".wav": "audio/wav",
    ".mp3": "audio/mpeg",
    ".m4a": "audio/mp4",
    ".flac": "audio/flac",
    ".ogg": "audio/ogg",
    ".opus": "audio/ogg",
    ".mp4": "video/mp4",
    ".m4v": "video/mp4",
    ".mov": "video/quicktime",
    ".webm": "video/webm",
}
"""What is shown by a browser; anything else is only downloaded."""


def owner_of(cookies: Mapping[str, str]) -> str | None:
    """Whose request it is; None where there is no cookie of ours."""
    owner = cookies.get(OWNER_COOKIE, "")
    return owner if _OWNER.fullmatch(owner) else None


class OwnerCookie:
    """ASGI middleware that gives every new visitor an owner of their own."""

    def __init__(self, app: ASGIApp, framed: bool = False) -> None:
        self._app = app
        self._framed = framed

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"] not in _FIRST_PATHS:
            await self._app(scope, receive, send)
            return
        cookie = _owner_cookie(Request(scope), self._framed)

        async def send_with_cookie(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).append("set-cookie", cookie)
            await send(message)

        await self._app(scope, receive, send_with_cookie)


def _owner_cookie(request: Request, framed: bool) -> str:
    """`framed`: the page is shown in a frame of another site, where browsers keep cookies away
    that are `Lax`. One that is `Partitioned` is known only within frames of that same site.
    """
    owner = owner_of(request.cookies) or secrets.token_urlsafe(32)
    forwarded = request.headers.get("x-forwarded-proto", "").split(",")[0].strip()
    secure = "https" in (request.url.scheme, forwarded)
    site = "None; Secure; Partitioned" if framed and secure else "Lax" + "; Secure" * secure
    attributes = f"Max-Age={_KEPT_SECONDS}; Path=/; HttpOnly; SameSite={site}"
    return f"{OWNER_COOKIE}={owner}; {attributes}"


def is_same_origin(headers: Mapping[str, str]) -> bool:
    """Whether a request that changes something comes from this page, or from no page at all.

    Browsers leave `Sec-Fetch-Site` out on plain HTTP beyond localhost, hence the look at `Origin`.
    """
    site = headers.get("sec-fetch-site")
    if site:
        return site in ("same-origin", "none")
    origin = headers.get("origin")
    return origin is None or urlsplit(origin).netloc == headers.get("host")


class PageRoutes:
    """The routes of one studio. Somebody else's job is answered exactly as an unknown one."""

    def __init__(
        self,
        studio: Studio,
        tell_details: bool,
        more: Sequence[Route] = (),
        around: Sequence[Middleware] = (),
        framed: bool = False,
    ) -> None:
        """`around` goes around all routes, Gradio's too. `framed` as in `Host`."""
        self._around = around
        self._framed = framed
        self._studio = studio
        self._tell_details = tell_details
        self._more = more

    def app_kwargs(self) -> dict[str, object]:
        """What `launch(app_kwargs=…)` takes; routes given there come before Gradio's own."""
        return {
            "routes": self.routes(),
            "middleware": [Middleware(OwnerCookie, framed=self._framed), *self._around],
            "exception_handlers": {StudioError: _refuse},
        }

    def routes(self) -> list[Route]:
        return [
            Route("/jobs", self.list_jobs),
            Route("/jobs/{job_id}", self.show_job),
            Route("/jobs/{job_id}/cancel", self.cancel, methods=["POST"]),
            Route("/jobs/{job_id}/move/{direction}", self.move, methods=["POST"]),
            Route("/jobs/{job_id}/rerun", self.rerun, methods=["POST"]),
            Route("/media/{job_id}/{item:int}", self.output),
            Route("/media/{job_id}/input/{control}/{number:int}", self.input),
            Route("/preview/{job_id}", self.preview),
            *self._more,
        ]

    def list_jobs(self, request: Request) -> Response:
        """The owner's newest jobs and all that wait or run; `?before=ID` for the page after it.

        `next` is the id to ask for the page after this one with, None on the last.
        """
        owner = owner_of(request.cookies)
        if owner is None:
            return answer({"jobs": [], "next": None})
        table = self._studio.table
        before = request.query_params.get("before")
        page = table.list_for(owner, limit=PAGE_OF_JOBS + 1, before=before)
        shown = page[:PAGE_OF_JOBS]
        live = () if before else table.list_for(owner, ("queued", "running"), MOST_LIVE)
        jobs = {job.id: job for job in (*shown, *live)}
        positions, now = table.queue_positions(owner), time.time()
        return answer(
            {
                "jobs": [row_view(job, positions.get(job.id), now) for job in jobs.values()],
                "next": shown[-1].id if len(page) > PAGE_OF_JOBS else None,
            }
        )

    def show_job(self, request: Request) -> Response:
        job = self._job(request)
        return answer(self._view(job)) if job else not_found()

    def cancel(self, request: Request) -> Response:
        if not is_same_origin(request.headers):
            return foreign()
        owner = owner_of(request.cookies)
        if owner is None:
            return not_found()
        outcome = self._studio.runner.cancel(owner, request.path_params["job_id"])
        status = 404 if outcome is CancelOutcome.UNKNOWN else 200
        return answer({"outcome": outcome.value, "sentence": CANCELLED[outcome]}, status)

    def move(self, request: Request) -> Response:
        """Has a waiting job run before or after the owner's next one: "sooner" or "later"."""
        if not is_same_origin(request.headers):
            return foreign()
        job, direction = self._job(request), request.path_params["direction"]
        if job is None or direction not in get_args(Direction):
            return not_found()
        self._studio.table.move(job.owner, job.id, direction)
        return answer({"position": self._studio.table.queue_positions(job.owner).get(job.id)})

    def rerun(self, request: Request) -> Response:
        """Makes what is unfinished of a job again; with `?item=` only that one."""
        if not is_same_origin(request.headers):
            return foreign()
        job = self._job(request)
        if job is None:
            return not_found()
        item = request.query_params.get("item")
        number = int(item) if item and item.isdecimal() else None
        queued = self._studio.table.rerun(job.owner, job.id, number)
        self._studio.runner.wake()
        return answer(self._view(queued))

    def output(self, request: Request) -> Response:
        """A result, inline; with `?download` as a file to keep."""
        job = self._job(request)
        number = request.path_params["item"]
        if job is None or number >= len(job.items):
            return not_found()
        output = job.items[number].output
        path = self._studio.home.root / output if output else None
        if path is None or not path.is_file():
            return not_found("This file is no longer there.")
        return send_file(path, path.name, "download" in request.query_params)

    def input(self, request: Request) -> Response:
        """A file that the job was made from."""
        job = self._job(request)
        files = job.inputs.get(request.path_params["control"], ()) if job else ()
        number = request.path_params["number"]
        if number >= len(files):
            return not_found()
        stored = stored_input(files[number].sha256, files[number].name)
        try:
            path = input_path(self._studio.home, stored)
        except BadInput as error:
            return not_found(str(error))
        return send_file(path, stored.name, "download" in request.query_params)

    def preview(self, request: Request) -> Response:
        job = self._job(request)
        jpeg = self._studio.runner.latest_preview(job.id) if job else None
        if jpeg is None:
            return not_found()
        return Response(jpeg, media_type="image/jpeg", headers=_UNSTORED)

    def _job(self, request: Request) -> Job | None:
        owner = owner_of(request.cookies)
        return self._studio.table.get_for(owner, request.path_params["job_id"]) if owner else None

    def _view(self, job: Job) -> dict[str, object]:
        position = None
        if job.state == "queued":
            position = self._studio.table.queue_positions(job.owner).get(job.id)
        runner = self._studio.runner
        preview, memory = runner.latest_preview(job.id), runner.memory_used(job.id)
        root = self._studio.home.root
        gone = [output for output in job.outputs if not (root / output).is_file()]
        return job_view(job, position, preview, time.time(), self._tell_details, gone, memory)


_SAFE = {"X-Content-Type-Options": "nosniff"}
_UNSTORED = {**_SAFE, "Cache-Control": "no-store"}


def answer(value: object, status: int = 200) -> Response:
    """JSON that no cache keeps. In ASCII: a file's name may hold what UTF-8 cannot."""
    return Response(json.dumps(value), status, _UNSTORED, "application/json")


def not_found(sentence: str = CANCELLED[CancelOutcome.UNKNOWN]) -> Response:
    """What is unknown, another owner's, or gone."""
    return answer({"error": sentence}, 404)


def foreign() -> Response:
    """To a request that `is_same_origin` is not content with."""
    return answer({"error": "Another page has asked for this; do it on the studio's page."}, 403)


def _refuse(request: Request, error: Exception) -> Response:
    return answer({"error": str(error)}, 409)


def send_file(path: Path, name: str, download: bool) -> Response:
    """The file, in ranges where asked, which videos are; only its owner's browser keeps a copy."""
    kind = MEDIA_TYPES.get(path.suffix.lower())
    return FileResponse(
        path,
        media_type=kind or "application/octet-stream",
        filename=name,
        content_disposition_type="inline" if kind and not download else "attachment",
        headers={**_SAFE, "Cache-Control": "private, max-age=3600"},
    )
