"""Who asks for a GPU: a visitor's latest request, which their quota hangs on, and their limits.

ZeroGPU finds the visitor by a header of the request in whose context a GPU is called for
(https://huggingface.co/docs/hub/spaces-zerogpu). The studio's jobs outlive their requests, so the
context is kept here, by owner and not by job: each request brings a fresh token, and a queued job
is better off with the latest one.
"""

import contextvars
import threading
from collections import OrderedDict

from studio.errors import Interrupted
from studio.estimates import predict
from studio.jobs import Item, Job, JobTable
from studio.plan import Plan
from studio.zero_failures import Held
from studio.zero_seconds import LIMITS, limit_below, seconds_for

MOST_VISITORS = 1000
"""A request's context is some kilobytes; whoever was longest away is forgotten."""


class Visits:
    """What is known of the visitors of this process. Safe for threads."""

    def __init__(self, table: JobTable) -> None:
        self._table = table
        self._lock = threading.Lock()
        self._contexts: OrderedDict[str, contextvars.Context] = OrderedDict()
        self._limits: dict[str, int] = {}
        self._times: dict[tuple[str, int], int] = {}

    def keep(self, owner: str) -> None:
        """Called in a visitor's request, before a job of theirs is queued."""
        with self._lock:
            self._contexts[owner] = contextvars.copy_context()
            self._contexts.move_to_end(owner)
            if len(self._contexts) > MOST_VISITORS:
                forgotten, _ = self._contexts.popitem(last=False)
                self._limits.pop(forgotten, None)

    def context_of(self, owner: str) -> contextvars.Context:
        """A copy to run one call in. Raises Interrupted where the visitor has not come yet."""
        with self._lock:
            kept = self._contexts.get(owner)
        if kept is None:
            raise Interrupted(
                "The studio was started anew since you asked for this, and ZeroGPU lends a GPU"
                " only to visitors who are there: run it again."
            )
        return kept.copy()

    def seconds(self, plan: Plan) -> int:
        """What a plan asks for where nothing is known of the visitor. Raises StudioError."""
        return min(LIMITS[0], seconds_for(plan, predict(self._table, plan)))

    def claim(self, job: Job, item: Item, plan: Plan) -> Held:
        """What the item is to declare now. Raises StudioError."""
        with self._lock:
            times = self._times.get((job.id, item.index), 1)
            limit = self._limits.get(job.owner, LIMITS[0])
        return Held(min(limit, self.seconds(plan) * times), limit, 0.0, times > 1)

    def refused(self, owner: str, declared: int) -> None:
        """The visitor's account may not ask for so many seconds at once."""
        with self._lock:
            self._limits[owner] = limit_below(declared)

    def ran_out(self, job: Job, item: Item) -> None:
        """The item's next try is to ask for twice the time."""
        with self._lock:
            self._times[job.id, item.index] = 2 * self._times.get((job.id, item.index), 1)
