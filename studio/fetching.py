"""The download of models that the page asks for: one at a time, owned by the studio."""

import secrets
import threading
from collections.abc import Iterable
from dataclasses import dataclass

from studio.errors import BadInput
from studio.home import Home
from studio.registry import Model
from studio.weights_fetch import Fetch
from studio.weights_hub import FetchProgress, Patience

LIVE = frozenset({"waiting", "asking", "fetching"})


@dataclass(frozen=True)
class Order:
    """What is fetched, and what for."""

    mode: str
    variant: str
    models: tuple[Model, ...]


@dataclass(frozen=True)
class FetchStatus:
    """The newest download: it runs, or says how it ended."""

    id: str
    order: Order
    progress: FetchProgress

    @property
    def live(self) -> bool:
        return self.progress.state in LIVE


class Fetching:
    """Runs on when a tab is closed. After a restart, a new start goes on with what arrived."""

    def __init__(self, home: Home, patience: Patience | None = None) -> None:
        self._home, self._patience = home, patience
        self._lock = threading.Lock()
        self._newest: tuple[str, Order, Fetch] | None = None

    def start(self, mode: str, variant: str, models: Iterable[Model]) -> FetchStatus:
        """Fetches what of `models` is not here; the same again gives the one that runs.

        Raises BadInput where all is here, and while something else is fetched.
        """
        order = Order(mode, variant, tuple(models))
        with self._lock:
            running = self.status
            if running is not None and running.live:
                return _same(running, order)
            fetch = Fetch(self._home, order.models, self._patience)
            if not fetch.models:
                raise BadInput("Everything that this needs is here already.")
            self._newest = (secrets.token_hex(8), order, fetch.start())
            return self._status(*self._newest)

    def again(self) -> FetchStatus:
        """Starts the newest download once more, after it failed. Raises BadInput."""
        newest = self.status
        if newest is None:
            raise BadInput("Nothing was fetched since the studio was started: choose a mode's.")
        return self.start(newest.order.mode, newest.order.variant, newest.order.models)

    @property
    def status(self) -> FetchStatus | None:
        """None where nothing has been fetched since the studio was started."""
        return self._status(*self._newest) if self._newest else None

    def cancel(self) -> FetchStatus | None:
        """Stops within a second; what has arrived is kept. Does nothing to one that has ended."""
        if self._newest is not None:
            self._newest[2].cancel()
        return self.status

    def _status(self, id: str, order: Order, fetch: Fetch) -> FetchStatus:
        return FetchStatus(id, order, fetch.progress)


def _same(running: FetchStatus, order: Order) -> FetchStatus:
    if set(running.order.models) == set(order.models):
        return running
    raise BadInput(
        f"{running.order.variant} is being fetched: wait until it is here, or cancel that first."
    )
