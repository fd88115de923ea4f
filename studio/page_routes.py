"""What the page fetches of jobs: their state, results and previews, each only for its owner."""

import time
from collections.abc import Sequence
from typing import cast, get_args

from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from studio.errors import BadInput, StudioError
from studio.inputs import input_path, stored_input
from studio.jobs import CancelOutcome, Job
from studio.jobs_queue import Direction
from studio.page_answers import UNSTORED, answer, foreign, not_found, refused, send_file
from studio.page_job import CANCELLED, job_view, row_view
from studio.page_owner import KnownOwner, is_same_origin, owner_of
from studio.studio import Studio

PAGE_OF_JOBS = 20
"""Jobs in one answer of `/jobs`."""

MOST_LIVE = 200
"""Waiting jobs that are listed with the newest ones however old they are."""


class PageRoutes:
    """The routes of one studio. Somebody else's job is answered exactly as an unknown one."""

    def __init__(
        self,
        studio: Studio,
        tell_details: bool,
        more: Sequence[Route] = (),
        around: Sequence[Middleware] = (),
        framed: bool = False,
        alone: bool = False,
    ) -> None:
        """`around` goes around all routes, Gradio's too. `framed`, `alone` as in `KnownOwner`."""
        self._around = [Middleware(KnownOwner, alone=alone, framed=framed), *around]
        self._studio = studio
        self._tell_details = tell_details
        self._more = more

    def app_kwargs(self) -> dict[str, object]:
        """What `launch(app_kwargs=…)` takes; routes given there come before Gradio's own."""
        return {
            "routes": self.routes(),
            "middleware": self._around,
            "exception_handlers": {
                StudioError: _refuse,
                TypeError: _refuse_arguments,
                KeyError: _refuse_arguments,
            },
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
        owner = owner_of(request)
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
        owner = owner_of(request)
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
        return Response(jpeg, media_type="image/jpeg", headers=UNSTORED)

    def _job(self, request: Request) -> Job | None:
        owner = owner_of(request)
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


def _refuse(request: Request, error: Exception) -> Response:
    return refused(cast(StudioError, error), 409)


def _refuse_arguments(request: Request, error: Exception) -> Response:
    """Gradio's route for values by name fails at a wrong name; any other error is one of ours."""
    _, named, endpoint = request.url.path.partition("/gradio_api/call/v2/")
    if not named:
        raise error
    if isinstance(error, KeyError):
        return not_found(f"There is no endpoint '{endpoint}'.")
    # What comes after it is about Gradio's own pages.
    sentence = str(error).partition(". Please")[0].rstrip(".")
    return refused(BadInput(f"{sentence}: see /gradio_api/info for what '{endpoint}' takes."), 422)
