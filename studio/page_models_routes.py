"""What the page fetches of models: which there are, the download of some, and their memory back.

Where strangers can open the page nobody may start or stop anything, and nothing tells of the
machine.
"""

import json
from collections.abc import Callable, Mapping

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from studio.errors import BadInput, NotAllowed
from studio.fetching import FetchStatus
from studio.modes import Mode
from studio.needs import choose_variant, every_model_for, model_settings, models_for, variants_of
from studio.page_answers import answer, foreign, refused
from studio.page_models import fetch_view, machine_view, modes_view
from studio.page_owner import is_same_origin, owner_of
from studio.preflight import preflight
from studio.registry import Variant
from studio.request import mode_called
from studio.studio import Studio

CLOSED = "Only whoever runs this studio can do this, on a page that is not shared."
NO_COOKIE = "Your browser sent no cookie: allow cookies for this page and load it again."
UNLOADED = {
    True: "The memory is given back; the next job loads its weights again.",
    False: "A job runs: the memory is given back when it has ended.",
}
KEPT = "The workers keep their weights until the studio is stopped."


class ModelsRoutes:
    """The routes of one studio; `engine` is forced for the modes that it can run."""

    def __init__(self, studio: Studio, engine: str = "", strangers: bool = False) -> None:
        self._studio, self._engine, self._strangers = studio, engine, strangers

    def routes(self) -> list[Route]:
        return [
            Route("/models", self.list_models),
            Route("/machine", self.show_machine),
            Route("/fetch", self.show_fetch),
            Route("/fetch", self.start_fetch, methods=["POST"]),
            Route("/fetch/again", self.fetch_again, methods=["POST"]),
            Route("/fetch/cancel", self.cancel_fetch, methods=["POST"]),
            Route("/unload", self.unload, methods=["POST"]),
        ]

    def list_models(self, request: Request) -> Response:
        """Every mode with its sets of weights; never a path of the server."""
        modes = modes_view(self._studio.home, self._engine)
        return answer({"modes": modes, "canFetch": not self._strangers})

    def show_machine(self, request: Request) -> Response:
        """Memory, disk and folders."""
        if self._strangers:
            return _closed()
        return answer(machine_view(self._studio.home, self._studio.machine.machine, self._engine))

    def show_fetch(self, request: Request) -> Response:
        """The newest download; `memoryKnown` once the forms can tell of the memory."""
        if self._strangers:
            # A failure may name a folder.
            return answer({"fetch": None, "memoryKnown": False})
        known = self._studio.machine.machine is not None
        return answer({"fetch": fetch_view(self._studio.fetching.status), "memoryKnown": known})

    async def start_fetch(self, request: Request) -> Response:
        """`{mode}` with its `variant` or its form's `values`, or both; `all` for any settings."""
        refused = self._refused(request)
        if refused is not None:
            return refused
        order = _order(await request.body())
        return await run_in_threadpool(self._changed, lambda: self._start(order))

    def fetch_again(self, request: Request) -> Response:
        return self._refused(request) or self._changed(self._studio.fetching.again)

    def cancel_fetch(self, request: Request) -> Response:
        return self._refused(request) or self._changed(self._studio.fetching.cancel)

    def unload(self, request: Request) -> Response:
        """The engine's memory, given back between two jobs."""
        if refused := self._refused(request):
            return refused
        runner = self._studio.runner
        return answer({"sentence": UNLOADED[runner.unload()] if runner.can_unload else KEPT})

    def _refused(self, request: Request) -> Response | None:
        if self._strangers:
            return _closed()
        if not is_same_origin(request.headers):
            return foreign()
        if owner_of(request) is None:
            return refused(NotAllowed(NO_COOKIE), 403)
        return None

    def _changed(self, change: Callable[[], FetchStatus | None]) -> Response:
        return answer({"fetch": fetch_view(change())})

    def _start(self, order: Mapping[str, object]) -> FetchStatus:
        mode = mode_called(str(order.get("mode")))
        values = order.get("values") or {}
        if not isinstance(values, Mapping):
            raise BadInput("The values of a form must be an object.", "values")
        variant = self._variant(mode, str(order.get("variant") or ""), values)
        settings = model_settings(mode, values)
        every = order.get("all") is True
        models = every_model_for(mode, variant) if every else models_for(mode, variant, settings)
        return self._studio.fetching.start(mode.id, variant.label, models)

    def _variant(self, mode: Mode, label: str, values: Mapping[str, object]) -> Variant:
        """The named set of weights, else the one that the values need."""
        home = self._studio.home
        if not label:
            found = preflight(home, mode, values, engine=self._engine).variant
            if found is None:
                raise BadInput("These weights are a file of your own: nothing is to be fetched.")
            return found
        engines = {one.label: one.engine for one in variants_of(mode, mode.engines)}
        return choose_variant(home, mode, engines.get(label, mode.engines[0]), label)


def _order(body: bytes) -> Mapping[str, object]:
    try:
        order = json.loads(body)
    except ValueError:
        order = None
    if not isinstance(order, Mapping):
        raise BadInput("Say what to fetch as a JSON object with a mode.")
    return order


def _closed() -> Response:
    return refused(NotAllowed(CLOSED), 403)
