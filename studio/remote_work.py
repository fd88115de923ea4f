"""Makes items on other machines: the runner's end, the worker's end, and what is said between.

A worker is a call that takes an `Order` and gives what it says, one thing after the other; how
the call gets there is the host's matter. A worker never opens the job table: what it says ends
in the runner's report, and the result arrives as the bytes of a file, so that one process alone
writes the home.
"""

import logging
import queue
import secrets
import threading
import time
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, TypeVar

from studio import disk
from studio.errors import (
    BadInput,
    Cancelled,
    EngineFailed,
    MissingWeights,
    OutOfMemory,
    StudioError,
    WorkerLost,
)
from studio.events import StageStarted, StillAtWork
from studio.home import Home
from studio.inputs import input_path, store_input
from studio.jobs import Failure, InputFile, Item, Job, Progress
from studio.modes import MODES
from studio.outputs import publish
from studio.runner import ItemResult, JobEvent, Planned, StageClock, failure_from
from studio.runner_report import Report, advance, stage_id

logger = logging.getLogger(__name__)

LOOK_SECONDS = 0.25
"""How soon a wish to cancel is noticed on either end while nothing is said."""

PART_BYTES = 1024**2
"""Of a file on its way; Modal sends values above 2 MiB through a storage in between."""

WAITING = Planned({"worker": "Waiting for a GPU"}, "", "")
"""Said until the worker says what it will run: a machine may have to be started first."""

LOST = "The machine that made this was lost, or could not be reached: run the job again."

READ_THERE = ("models", "workflows", "comfyui")
"""Folders of the page's home that a worker reads."""


@dataclass(frozen=True)
class Order:
    """One item to make. `id` names this try alone, so that a cancel cannot meet a later one."""

    id: str
    job: Job
    item: Item
    inputs: Mapping[InputFile, bytes]
    """The content of the files that the item is made of."""


@dataclass(frozen=True)
class FilePart:
    """The next bytes of the finished file."""

    content: bytes


@dataclass(frozen=True)
class Made:
    """The last thing said of an item that was made: all parts of its file have been sent."""

    extension: str
    findings: tuple[str, ...]
    details: Mapping[str, Any]


Said = JobEvent | FilePart | Made | Failure
"""What crosses from a worker. A `Failure` is the last thing said of an item that was not made."""

Performed = JobEvent | ItemResult | Failure
"""The same where both ends share a disk: the result is where `publish` has put it."""

T = TypeVar("T")

Files = Mapping[str, Sequence[tuple[str, bytes]]]
"""What a script sends for the media controls: names and contents by control."""

MakeItem = Callable[[Job, Item, Report], ItemResult]
"""The work as a worker does it: `production.Production`."""


class Workers(Protocol):
    """The machines that make items."""

    def make(self, order: Order) -> Iterator[Said]:
        """Have the item made. Blocks between two things said.

        A `StudioError` is how the item has ended; anything else that is raised says that the
        worker was lost.
        """
        ...

    def cancel(self, order_id: str) -> None:
        """Ask whoever makes the order to stop at its next event."""
        ...


class RemoteWork:
    """The runner's work where `workers` make the items."""

    def __init__(self, home: Home, workers: Workers) -> None:
        self._home = home
        self._workers = workers

    def __call__(self, job: Job, item: Item, report: Report) -> ItemResult:
        """Have the item made and publish its file. What `report` raises passes through."""
        report(WAITING)
        report(StageStarted(0))
        order = Order(secrets.token_hex(16), job, item, _inputs_of(self._home, job, item))
        scratch = self._home.scratch
        with disk.disk_errors(scratch, EngineFailed), disk.partial_file(scratch) as file:
            try:
                made = _receive(self._workers.make(order), report, file)
            # One that is only out of reach must not go on with what another will make.
            except (Cancelled, OSError, WorkerLost):
                self._call_off(order)
                raise
            seed = int(made.details["seed"])
            output = publish(file, self._home, job.mode, seed, made.extension)
        return ItemResult(output, made.findings, made.details)

    def _call_off(self, order: Order) -> None:
        try:
            self._workers.cancel(order.id)
        # Whatever the way there raises: the job is cancelled all the same.
        except Exception:
            logger.warning("Job %s: its worker could not be told to stop.", order.job.id)


def worker_home(home: Path, own: Path) -> Home:
    """A home at `own`, on the worker's disk, that reads models and graphs from the one at `home`.

    A worker writes nothing there: the page's process alone does.
    """
    own.mkdir(parents=True, exist_ok=True)
    for name in READ_THERE:
        link = own / name
        if not link.is_symlink():
            link.symlink_to(home / name, target_is_directory=True)
    return Home(own)


def serve(
    make: MakeItem, home: Home, order: Order, is_cancelled: Callable[[], bool]
) -> Iterator[Said]:
    """The worker's end: makes the order's item and says all that the runner has to know.

    `home` is the worker's own; its copies of the inputs stay, its copy of the result does not.
    `is_cancelled` and closing the iterator are as in `perform`.
    """

    def bring_and_make(job: Job, item: Item, report: Report) -> ItemResult:
        _bring_inputs(home, order)
        return make(job, item, report)

    with closing(perform(bring_and_make, order, is_cancelled)) as performed:
        for one in performed:
            if not isinstance(one, ItemResult):
                yield one
                continue
            yield from _parts(one.output)
            yield Made(one.output.suffix.removeprefix("."), one.findings, one.details)
            one.output.unlink()


def perform(
    make: MakeItem, order: Order, is_cancelled: Callable[[], bool]
) -> Generator[Performed, None, None]:
    """Makes the order's item in a thread and says all of it, the result or the failure last.

    `is_cancelled` is asked a few times a second. Closing the iterator stops the work and waits
    for that, so that a GPU never has two items at a time.
    """
    report = _WorkerReport()
    outcome: queue.SimpleQueue[ItemResult | Failure] = queue.SimpleQueue()

    def run() -> None:
        try:
            outcome.put(make(order.job, order.item, report))
        # A library may raise even SystemExit, and the other end waits for an answer.
        except BaseException as error:
            outcome.put(failure_from(error, report.progress.label))
        finally:
            report.said.put(None)

    thread = threading.Thread(target=run, name="worker", daemon=True)
    thread.start()
    try:
        yield from _listen(report, is_cancelled)
    finally:
        report.stop.set()
        thread.join()
    yield outcome.get()


class _WorkerReport:
    """The `Report` of a worker: keeps the time and hands every event to whoever listens."""

    def __init__(self) -> None:
        self.said: queue.SimpleQueue[JobEvent | None] = queue.SimpleQueue()
        self.stop = threading.Event()
        self.progress = Progress()
        self._clock = StageClock()

    def __call__(self, event: JobEvent) -> None:
        self.progress = advance(self.progress, event)
        if isinstance(event, StageStarted):
            self._clock.start(stage_id(self.progress))
        if not isinstance(event, StillAtWork):
            self.said.put(event)
        if self.stop.is_set():
            raise Cancelled("The job was cancelled.")

    def timings(self) -> dict[str, float]:
        return self._clock.seconds()


def _listen(report: _WorkerReport, is_cancelled: Callable[[], bool]) -> Iterator[JobEvent]:
    """What the report is told, until the work has ended."""
    next_look = 0.0
    while True:
        try:
            event = report.said.get(timeout=LOOK_SECONDS)
        except queue.Empty:
            event = StillAtWork()
        if event is None:
            return
        if time.monotonic() > next_look:
            if is_cancelled():
                report.stop.set()
            next_look = time.monotonic() + LOOK_SECONDS
        yield event


def _bring_inputs(home: Home, order: Order) -> None:
    for file, content in order.inputs.items():
        with disk.partial_file(home.scratch) as partial:
            partial.write_bytes(content)
            store_input(home, partial, file.name)


def _inputs_of(home: Home, job: Job, item: Item) -> dict[InputFile, bytes]:
    """The content of the files that the item is made of. Raises BadInput where one is gone."""
    batch = MODES[job.mode].batch
    shared = [file for name, files in job.inputs.items() if name != batch for file in files]
    wanted = [*shared, item.source] if item.source else shared
    return {file: input_path(home, file).read_bytes() for file in wanted}


def _parts(path: Path) -> Iterator[FilePart]:
    with path.open("rb") as file:
        for content in iter(lambda: file.read(PART_BYTES), b""):
            yield FilePart(content)


def _receive(said: Iterator[Said], report: Report, file: Path) -> Made:
    """Passes on what the worker says and writes the file. Raises what the worker's item raised."""
    with file.open("xb") as writer:
        for one in without_blocking(said, _lost):
            if isinstance(one, FilePart):
                writer.write(one.content)
                report(StillAtWork())
            elif isinstance(one, Made):
                return one
            elif isinstance(one, Failure):
                raise error_of(one)
            else:
                report(one)
    raise WorkerLost(LOST)


def _lost(error: BaseException) -> Exception:
    return error if isinstance(error, StudioError) else WorkerLost(LOST)


def without_blocking(
    said: Iterator[T], lost: Callable[[BaseException], Exception]
) -> Iterator[T | StillAtWork]:
    """What is said, and `StillAtWork` whenever that takes long.

    What the way to the worker raises is raised as `lost` says.
    """
    heard: queue.SimpleQueue[T | BaseException | None] = queue.SimpleQueue()

    def listen() -> None:
        try:
            for one in said:
                heard.put(one)
            heard.put(None)
        # Whatever the way to the worker raises is for the other thread to say.
        except BaseException as error:
            heard.put(error)

    threading.Thread(target=listen, name="listener", daemon=True).start()
    while True:
        try:
            one = heard.get(timeout=LOOK_SECONDS)
        except queue.Empty:
            yield StillAtWork()
            continue
        if one is None:
            return
        if isinstance(one, BaseException):
            error = lost(one)
            raise error from (None if error is one else one)
        yield one


class WorkerTraceback(Exception):
    """What was raised on the worker, as its text: the classes may not even be known here."""


_PLAIN = {one.__name__: one for one in (BadInput, MissingWeights, Cancelled)}
_STAGED = {one.__name__: one for one in (EngineFailed, OutOfMemory)}


def error_of(failure: Failure) -> Exception:
    """The error that the worker told of, to be raised here."""
    cause = WorkerTraceback(failure.details)
    if failure.kind == "Unexpected":
        return cause
    error: StudioError
    if failure.kind in _STAGED:
        error = _STAGED[failure.kind](failure.sentence, failure.stage)
    else:
        error = _PLAIN.get(failure.kind, StudioError)(failure.sentence)
    error.__cause__ = cause
    return error
