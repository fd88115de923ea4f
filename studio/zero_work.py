"""The runner's work on ZeroGPU: every item is one call for a GPU, in the visitor's name.

The worker is a fork of this process on the same disk: it makes and publishes the file, and what
it says are small events. No Gradio here; `host_zero` has the decorated call.
"""

import contextvars
import logging
import secrets
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TypeVar

from studio.errors import Cancelled, GpuFailed
from studio.events import Note, StageStarted
from studio.home import Home
from studio.jobs import Failure, Item, Job
from studio.planning import plan_item
from studio.remote_work import WAITING, Order, Performed, error_of, without_blocking
from studio.runner import ItemResult
from studio.runner_report import Report
from studio.submission import stored_request
from studio.zero_failures import RETRIES, RETRYING, Held, failure_of
from studio.zero_visits import Visits

logger = logging.getLogger(__name__)

T = TypeVar("T")

GpuCall = Callable[[Order, str, int], Iterator[Performed]]
"""Takes the order, the home's folder and the seconds that are asked for."""


class ZeroWork:
    """`Work` for a runner whose jobs run side by side: ZeroGPU itself has them wait."""

    def __init__(self, home: Home, visits: Visits, call: GpuCall) -> None:
        self._home = home
        self._visits = visits
        self._call = call

    def __call__(self, job: Job, item: Item, report: Report) -> ItemResult:
        """Have the item made. What `report` raises passes through.

        Raises Interrupted where the visitor is not known any more, GpuFailed, and what the worker
        tells of.
        """
        # What is wrong with the request is said here, where it costs no GPU time.
        plan = plan_item(stored_request(self._home, job, item.index), 0)
        held = self._visits.claim(job, item, plan)
        context = self._visits.context_of(job.owner)
        report(WAITING)
        report(StageStarted(0))
        if held.again:
            report(Note(RETRYING))
        order = Order(secrets.token_hex(16), job, item, {})
        said = _within(context, self._call(order, str(self._home.root), held.declared))
        try:
            return _listen(said, report, partial(self._failure, job, item, held))
        except (Cancelled, OSError):
            call_off(self._home, order)
            raise

    def _failure(
        self, job: Job, item: Item, held: Held, error: BaseException, seconds: float
    ) -> GpuFailed:
        failure = failure_of(error, replace(held, seconds=seconds))
        if failure.kind == "gpu-duration":
            self._visits.refused(job.owner, held.declared)
        if failure.kind in RETRIES:
            self._visits.ran_out(job, item)
        return failure


def _listen(
    said: Iterator[Performed],
    report: Report,
    failure: Callable[[BaseException, float], GpuFailed],
) -> ItemResult:
    """Passes on what the worker says. `failure` is told how long that was, in seconds."""
    begun: float | None = None

    def heard() -> Iterator[Performed]:
        nonlocal begun
        for one in said:
            begun = time.monotonic() if begun is None else begun
            yield one

    def lost(error: BaseException) -> GpuFailed:
        return failure(error, 0.0 if begun is None else time.monotonic() - begun)

    for one in without_blocking(heard(), lost):
        if isinstance(one, ItemResult):
            return one
        if isinstance(one, Failure):
            raise error_of(one)
        report(one)
    raise lost(RuntimeError("The worker has ended without a result."))


def call_off(home: Home, order: Order) -> None:
    """Has the order's worker stop at its next event, or at its first."""
    flag = stop_flag(home, order)
    try:
        flag.parent.mkdir(parents=True, exist_ok=True)
        flag.touch()
    except OSError:
        logger.warning("Job %s: its worker could not be told to stop.", order.job.id)


def stop_flag(home: Home, order: Order) -> Path:
    """A file that is there once the order is called off: seen from a worker of any age."""
    return home.scratch / "called-off" / order.id


def _within(context: contextvars.Context, said: Iterator[T]) -> Iterator[T]:
    """Every step of the generator in the context, in whatever thread."""
    end = object()
    while (one := context.run(next, said, end)) is not end:
        yield one  # type: ignore[misc]
