"""What the page fetches of the gallery, and the files that are dropped on it.

Another owner's files are answered exactly as unknown ones.
"""

import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TypeVar

from anyio import CapacityLimiter
from anyio.to_thread import run_sync
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from studio import disk
from studio.errors import BadInput
from studio.gallery import Gallery, Made
from studio.inputs import display_name
from studio.jobs import Job
from studio.modes import MODES
from studio.page_answers import answer, foreign, not_found, refused, send_file
from studio.page_job import row_view
from studio.page_owner import is_same_origin, owner_of
from studio.recipe_read import read_recipe
from studio.restore import Restored, Wish, restore, wish_of_file, wish_to_json
from studio.studio import Studio
from studio.submission import submit_again

MOST_RECIPE_BYTES = 512 * 1024**2
"""Of a file that is dropped: far above any clip that carries a recipe."""

DECODERS = 2
"""Files that are opened at once: a picture of the largest size takes 300 MB."""

GONE = "This file is no longer there."

T = TypeVar("T")


class GalleryRoutes:
    """The routes of one studio's gallery. What was deleted before is removed when it is made."""

    def __init__(self, studio: Studio) -> None:
        self._studio = studio
        self._gallery = Gallery(studio.home, studio.table)
        self._gallery.empty_trash()
        # Threads of their own: those that answer for jobs must not wait for a page of posters.
        self._decoding = CapacityLimiter(DECODERS)

    def routes(self) -> list[Route]:
        item = "/gallery/{job_id}/{item:int}"
        return [
            Route("/gallery", self.list_made),
            Route(f"{item}/poster", self.poster),
            Route(f"{item}/delete", self.delete, methods=["POST"]),
            Route(f"{item}/undo", self.undo, methods=["POST"]),
            Route(f"{item}/again", self.again, methods=["POST"]),
            Route("/recipe", self.recipe, methods=["POST"]),
        ]

    def list_made(self, request: Request) -> Response:
        """The owner's files, newest first; `?mode=`, `?text=`, and `?before=` with a `next`."""
        owner = owner_of(request)
        if owner is None:
            return answer({"items": [], "next": None})
        query = request.query_params
        page = self._gallery.page(
            owner, query.get("mode", ""), query.get("text", ""), query.get("before")
        )
        return answer({"items": [made_view(made) for made in page.items], "next": page.next})

    async def poster(self, request: Request) -> Response:
        owner = owner_of(request)
        if owner is None:
            return not_found(GONE)
        find = partial(self._gallery.poster, owner, *_place(request))
        try:
            path = await self._in_thread(find)
        except BadInput as error:
            return not_found(str(error))
        return send_file(path, path.name, False) if path else not_found(GONE)

    def delete(self, request: Request) -> Response:
        """Takes the file out of the gallery; `undo` puts it back for a while."""
        return self._change(request, self._gallery.delete)

    def undo(self, request: Request) -> Response:
        return self._change(request, self._gallery.undo)

    def again(self, request: Request) -> Response:
        """Queues the item once more: with its seed, or with `?seed=new`."""
        if not is_same_origin(request.headers):
            return foreign()
        job = self._job(request)
        number = request.path_params["item"]
        if job is None or number >= len(job.items):
            return not_found()
        seed = None
        if request.query_params.get("seed") != "new":
            seed = job.items[number].details.get("seed", job.seed)
        table, home = self._studio.table, self._studio.home
        queued = submit_again(table, home, job, number, seed)
        self._studio.runner.wake()
        return answer(row_view(queued, None, time.time()))

    async def recipe(self, request: Request) -> Response:
        """Which mode and settings the file in the body restores, and what it cannot.

        `?name=` is the file's name, `?mode=` the mode that is open. `wish` is what the page's
        script hands to the form.
        """
        if not is_same_origin(request.headers):
            return foreign()
        owner = owner_of(request)
        if owner is None:
            return not_found("Allow cookies for this page and load it again.")
        name = display_name(request.query_params.get("name", ""))
        mode = request.query_params.get("mode", "")
        scratch = self._studio.home.scratch
        try:
            with disk.disk_errors(scratch, BadInput), disk.partial_file(scratch) as path:
                if not await _receive(request, path):
                    return refused(BadInput(f"'{name}' is too large to carry a recipe."), 413)
                wish = await self._in_thread(partial(_wish, path, mode))
                restored = await self._in_thread(partial(self._restored, owner, wish))
        except BadInput as error:
            return refused(BadInput(str(error).replace(path.name, name)), 422)
        return answer({**restored_view(restored), "wish": wish_to_json(wish)})

    def _restored(self, owner: str, wish: Wish) -> Restored:
        return restore(self._studio.home, partial(self._gallery.owns_input, owner), wish)

    def _job(self, request: Request) -> Job | None:
        owner = owner_of(request)
        return self._studio.table.get_for(owner, request.path_params["job_id"]) if owner else None

    def _change(self, request: Request, change: Callable[[str, str, int], bool]) -> Response:
        if not is_same_origin(request.headers):
            return foreign()
        owner = owner_of(request)
        if owner is None or not change(owner, *_place(request)):
            return not_found(GONE)
        return answer({})

    async def _in_thread(self, work: Callable[[], T]) -> T:
        return await run_sync(work, limiter=self._decoding)


def made_view(made: Made) -> dict[str, object]:
    """A file as the page's script reads it."""
    mode = MODES.get(made.mode)
    frames, fps = made.details.get("frames"), made.details.get("fps")
    return {
        "job": made.job_id,
        "index": made.index,
        "mode": made.mode,
        "tag": mode.tag if mode else made.mode.upper(),
        "title": mode.label if mode else made.mode,
        "kind": mode.makes if mode else None,
        "prompt": made.prompt,
        "seed": made.seed,
        "serial": made.serial,
        "created": made.created,
        "name": Path(made.output).name,
        "seconds": frames / fps if frames and fps else None,
        "url": f"media/{made.job_id}/{made.index}",
        "poster": f"gallery/{made.job_id}/{made.index}/poster",
    }


def restored_view(restored: Restored) -> dict[str, object]:
    """What the page says of restored settings."""
    return {
        "mode": restored.mode.id,
        "title": restored.mode.label,
        "restored": list(restored.labels),
        "lost": list(restored.lost),
    }


def _place(request: Request) -> tuple[str, int]:
    return request.path_params["job_id"], request.path_params["item"]


def _wish(path: Path, mode: str) -> Wish:
    found = read_recipe(path)
    with path.open("rb") as file:
        makes = "image" if file.read(4) == b"\x89PNG" else "video"
    return wish_of_file(found, makes, mode)


async def _receive(request: Request, path: Path) -> bool:
    """Writes the body to `path`; False when it is larger than what is taken. Raises OSError."""
    if int(request.headers.get("content-length") or 0) > MOST_RECIPE_BYTES:
        return False
    stream = request.stream()
    try:
        with path.open("xb") as file:
            size = 0
            async for chunk in stream:
                size += len(chunk)
                if size > MOST_RECIPE_BYTES:
                    return False
                await run_sync(file.write, chunk)
    except OSError:
        # Who still sends would not hear the answer.
        async for _ in stream:
            pass
        raise
    return True
