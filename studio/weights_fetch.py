"""Brings models of the registry to this machine: listed, fetched, linked to where they belong."""

import logging
import threading
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from studio import model_places
from studio.errors import Cancelled, FetchFailed, StudioError
from studio.home import Home
from studio.hub_file import HubFile
from studio.registry import Model, ModelFile, ModelFolder
from studio.weights_hub import Download, FetchProgress, Patience
from studio.weights_hub_listing import list_files
from studio.weights_link import link_into

log = logging.getLogger(__name__)

UNKNOWN = "The download failed in an unknown way: see the studio's log, and try again."

_ASKING = FetchProgress("asking", 0, 0, 0, 0, 0, 0.0, None, (), "", "")


class Fetch:
    """Fetches what of `models` is not here, in threads of its own.

    Files are linked into the home's `models`; folders stay in the Hub's cache, where they are
    found. After a break or a kill, another fetch of the same goes on with what has arrived.
    """

    def __init__(
        self, home: Home, models: Iterable[Model], patience: Patience | None = None
    ) -> None:
        self._home = home
        self._models = tuple(one for one in models if model_places.find(home, one) is None)
        self._patience = patience
        self._cancelled, self._ended = threading.Event(), threading.Event()
        self._download: Download | None = None
        self._error: Exception | None = None

    @property
    def models(self) -> tuple[Model, ...]:
        """Those that are not here."""
        return self._models

    def start(self) -> "Fetch":
        threading.Thread(target=self._run, name="fetch", daemon=True).start()
        return self

    def cancel(self) -> None:
        """Stops within a second; what has arrived is kept."""
        self._cancelled.set()
        if self._download is not None:
            self._download.cancel()

    def wait(self, seconds: float | None = None) -> bool:
        """Whether all is here, after `seconds` at the latest. Raises FetchFailed or Cancelled."""
        ended = self._ended.wait(seconds)
        if self._error is not None:
            raise self._error
        return ended

    @property
    def progress(self) -> FetchProgress:
        said = self._download.progress if self._download else _ASKING
        if not self._ended.is_set():
            # The last links are still to be made.
            return replace(said, state="fetching") if said.state == "done" else said
        if self._error is None:
            return replace(said, state="done")
        if isinstance(self._error, Cancelled):
            return replace(said, state="cancelled")
        sentence = str(self._error) if isinstance(self._error, StudioError) else UNKNOWN
        return replace(said, state="failed", failure=sentence)

    def _run(self) -> None:
        try:
            self._fetch()
        except Exception as error:
            if not isinstance(error, StudioError):
                log.exception("Models could not be fetched for an unknown reason.")
            self._error = error
        finally:
            self._ended.set()

    def _fetch(self) -> None:
        files = [file for model in self._models for file in self._files(model)]
        self._raise_if_cancelled()
        indexes = {
            (model.repo, model.index) for model in self._models if isinstance(model, ModelFolder)
        }
        last = [file for file in files if (file.repo, file.path) in indexes]
        self._download = Download(files, self._patience, last)
        if self._cancelled.is_set():
            self._download.cancel()
        paths = self._download.start().wait()
        for model in self._models:
            if isinstance(model, ModelFile):
                self._link(model, paths[model.source])

    def _files(self, model: Model) -> Iterable[HubFile]:
        self._raise_if_cancelled()
        return list_files(model) if isinstance(model, ModelFolder) else (model.source,)

    def _link(self, model: ModelFile, path: Path) -> None:
        target = model_places.target(self._home, model)
        if not link_into(path, target):
            raise FetchFailed(
                f"A file of yours is at '{target}', but it is not whole: move it away and fetch"
                " again.",
                "disk",
            )

    def _raise_if_cancelled(self) -> None:
        if self._cancelled.is_set():
            raise Cancelled("The download was cancelled.")
