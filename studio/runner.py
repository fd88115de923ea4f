"""Takes jobs from the table one at a time and runs them, whatever becomes of each.

What running means is injected as `Work`; see `Runner` for what is kept from harm.
"""

import logging
import threading
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

from studio.errors import (
    Cancelled,
    EngineFailed,
    GpuFailed,
    Interrupted,
    StudioError,
    WorkerLost,
)
from studio.events import MemoryUsed
from studio.home import Home
from studio.jobs import CancelOutcome, Failure, Item, Job, JobTable, State
from studio.runner_report import (
    ItemReport,
    JobEvent,
    Listener,
    LiveJob,
    Planned,
    StageClock,
    events_between,
)
from studio.runner_turns import Turns

__all__ = ["ItemResult", "JobEvent", "Listener", "Planned", "Runner", "StageClock", "Work"]

logger = logging.getLogger(__name__)

POLL_SECONDS = 0.25
"""How soon another process's job, cancel or unlock is noticed; one indexed query a look."""

RETRY_SECONDS = 1.0
"""Between two tries to write how a job ended."""

UNEXPECTED = "The studio hit an unexpected error; run the job again, or report the details."

BEGUN_ANEW = "The machine that made this was lost; it was begun anew."

P = ParamSpec("P")
T = TypeVar("T")


@dataclass(frozen=True)
class ItemResult:
    """A published file below the home, what was found wrong with it, and more to remember."""

    output: Path
    findings: tuple[str, ...] = ()
    details: Mapping[str, Any] = field(default_factory=dict)


Work = Callable[[Job, Item, ItemReport], ItemResult]
"""Makes one item: plans, runs the engine, writes and publishes the file.

It says `Planned` first, gives the report to the engine as `emit`, lets `Cancelled` pass, and may
raise anything; `Interrupted` ends the job so that it can be run again.
"""


class Runner:
    """Runs the jobs of one home, in this process or by turns with others.

    The process that holds the home's engine lock is the only one that runs a job, and knows that
    any other job marked running is dead. However a job ends, its row says so: a failure never
    stops the next item or the next job, and nothing that `work` raises ends the thread.
    """

    def __init__(
        self,
        table: JobTable,
        work: Work,
        home: Home,
        *,
        release: Callable[[], None] | None = None,
        at_once: int = 1,
    ) -> None:
        """`release` gives back the memory that `work` keeps between jobs. `at_once` jobs run side
        by side, where `work` hands them to workers with a GPU each.
        """
        self._table = table
        self._work = work
        self._home = home
        self._release = release
        self._unloading = threading.Event()
        self._live: dict[str, LiveJob] = {}
        self._awake = threading.Event()
        self._closing = threading.Event()
        self._threads: list[threading.Thread] = []
        self._at_once = at_once
        self._turns = Turns(home.engine_lock, at_once, self._mark_dead)

    def start(self) -> None:
        """Marks dead jobs interrupted and starts to take queued ones in daemon threads."""
        self.recover()
        self._closing.clear()
        self._threads = [
            threading.Thread(target=self._take_jobs, name=f"runner {number}", daemon=True)
            for number in range(1, self._at_once + 1)
        ]
        for thread in self._threads:
            thread.start()

    def wake(self) -> None:
        """Has the queue looked at now."""
        self._awake.set()

    @property
    def can_unload(self) -> bool:
        """Whether the memory that is kept between jobs is this process's to give back."""
        return self._release is not None

    def unload(self) -> bool:
        """Has the thread give memory back before its next job; False where one runs until then."""
        self._unloading.set()
        self.wake()
        return not self._live

    def stop(self, timeout: float = 10.0) -> bool:
        """Interrupts what runs at its next event; what is queued stays queued.

        Returns whether the threads have ended within `timeout` seconds; the row says `interrupted`
        either way.
        """
        self._closing.set()
        self.wake()
        deadline = time.monotonic() + timeout
        for thread in self._threads:
            thread.join(max(0.0, deadline - time.monotonic()))
        # Where the table cannot be written now, the next start marks the rows.
        with suppress(StudioError):
            for job_id in tuple(self._live):
                self._table.finish(job_id, "interrupted")
        return not any(thread.is_alive() for thread in self._threads)

    def recover(self) -> None:
        """Marks jobs interrupted whose process has died, unless a living one runs a job now."""
        with self._turns.turn():
            pass

    def cancel(self, owner: str, job_id: str) -> CancelOutcome:
        """Asks for the job's end; a job of this process stops at its next event."""
        outcome = self._table.request_cancel(owner, job_id)
        live = self._live.get(job_id)
        if outcome is CancelOutcome.STOPPING and live is not None:
            live.cancel.set()
        return outcome

    def latest_preview(self, job_id: str) -> bytes | None:
        """The newest JPEG of a job that runs in this process."""
        live = self._live.get(job_id)
        return live.preview if live else None

    def memory_used(self, job_id: str) -> MemoryUsed | None:
        """How full the memory was a moment ago, for a job that runs in this process."""
        live = self._live.get(job_id)
        return live.memory if live else None

    def run_one(self, job_id: str, emit: Listener | None = None) -> Job:
        """Runs one queued job in this thread, ahead of the queue, and returns it when it is over.

        Waits while another process runs a job. If that one takes this job too, `emit` hears of
        it all the same. Returns a job still queued when the runner is stopped.
        """
        seen = self._known(job_id)
        while seen.is_live and not self._closing.is_set():
            with self._turns.turn() as mine:
                job = self._table.claim(job_id) if mine else None
                if job is not None:
                    self._run(job, emit)
            latest = self._known(job_id)
            if job is None:
                if emit is not None:
                    for event in events_between(seen, latest):
                        emit(event)
                time.sleep(POLL_SECONDS)
            seen = latest
        return seen

    def _known(self, job_id: str) -> Job:
        job = self._table.get(job_id)
        if job is None:
            raise StudioError("There is no such job.")
        return job

    def _take_jobs(self) -> None:
        trouble = ""
        while not self._closing.is_set():
            try:
                self._unload()
                busy, trouble = self._take_one(), ""
            # Whatever it is, the jobs after this one must run.
            except BaseException as error:
                busy = False
                if str(error) != trouble:
                    logger.exception("The queue has stopped for a moment and will be tried again.")
                trouble = str(error)
            if not busy:
                self._awake.wait(POLL_SECONDS)
                self._awake.clear()

    def _unload(self) -> None:
        """In the thread that runs the jobs, so that none is there to lose its weights."""
        if self._unloading.is_set() and self._release is not None:
            self._unloading.clear()
            self._release()

    def _take_one(self) -> bool:
        """Runs the next job, if there is one and it is this process's turn."""
        if not self._table.has_work():
            return False
        with self._turns.turn() as mine:
            job = self._table.claim_next() if mine else None
            if job is not None:
                self._run(job, None)
        return job is not None

    def _mark_dead(self) -> None:
        for job_id in self._table.mark_interrupted():
            logger.warning("Job %s: its process has died.", job_id)

    def _run(self, job: Job, listen: Listener | None) -> None:
        live = self._live[job.id] = LiveJob(time.monotonic())
        try:
            state, failure = self._run_items(job, live, listen)
            if state != "queued":
                self._insist(self._table.finish, job.id, state, failure, live.seconds)
        # Ctrl+C, or a table that stayed closed to us: where even this fails, the next turn does it.
        except BaseException:
            with suppress(StudioError):
                self._table.finish(job.id, "interrupted")
            raise
        finally:
            del self._live[job.id]
        if state == "queued":
            # Last of all: from here on another thread may run it.
            self._insist(self._table.give_back, job.id)

    def _run_items(
        self, job: Job, live: LiveJob, listen: Listener | None
    ) -> tuple[State, Failure | None]:
        """How the job has ended, and why; `queued` where it is to be run once more."""
        try:
            for item in job.queued_items:
                report = ItemReport(self._table, job, item, live, self._closing, listen)
                report.raise_if_stopped()
                self._run_item(job, item, report)
        except Cancelled:
            closing = self._closing.is_set() and not live.cancel.is_set()
            return ("interrupted" if closing else "cancelled"), None
        except WorkerLost:
            logger.warning("Job %s: its worker was lost; it goes back into the queue.", job.id)
            self._insist(self._table.add_note, job.id, BEGUN_ANEW)
            return "queued", None
        except Interrupted as error:
            return "interrupted", failure_from(error, None)
        items = self._insist(self._known, job.id).items
        note = note_on(items)
        if note is not None:
            self._insist(self._table.add_note, job.id, note)
        failure = common_failure(items)
        return ("failed" if failure else "done"), failure

    def _run_item(self, job: Job, item: Item, report: ItemReport) -> None:
        self._insist(self._table.start_item, job.id, item.index)
        try:
            result = self._work(job, item, report)
            output = result.output.relative_to(self._home.root).as_posix()
        except (Cancelled, Interrupted):
            raise
        # A library may raise even SystemExit; the items and jobs after this one must run.
        except BaseException as error:
            first_loss = isinstance(error, WorkerLost) and not job.losses
            if first_loss or _is_ctrl_c(error):
                raise
            failure = failure_from(error, report.progress.label)
            _log(job, failure)
            self._insist(self._table.fail_item, job.id, item.index, failure, report.timings())
        else:
            self._insist(
                self._table.finish_item,
                job.id,
                item.index,
                output,
                result.findings,
                result.details,
                report.timings(),
            )

    def _insist(self, use: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Uses the table until it works: how a job ended must not be lost to a full disk."""
        trouble = ""
        while True:
            try:
                return use(*args, **kwargs)
            except StudioError as error:
                if str(error) != trouble:
                    logger.warning("%s The running job waits for it.", error)
                trouble = str(error)
                if self._closing.wait(RETRY_SECONDS):
                    raise


def failure_from(error: BaseException, stage: str | None) -> Failure:
    """What the user is told of an error; only the studio's own have a sentence to tell.

    `stage` is the label of the stage that was running.
    """
    details = "".join(traceback.format_exception(error))
    if isinstance(error, GpuFailed):
        return Failure(str(error), error.kind, stage, details)
    if isinstance(error, StudioError):
        named = error.stage if isinstance(error, EngineFailed) else None
        return Failure(str(error), type(error).__name__, named or stage, details)
    return Failure(UNEXPECTED, "Unexpected", stage, details)


def common_failure(items: Sequence[Item]) -> Failure | None:
    """The failure of a job none of whose items could be made; one result is worth a `done`."""
    failures = [item.failure for item in items if item.failure is not None]
    if not failures or len(failures) < len(items):
        return None
    if len(items) == 1:
        return failures[0]
    sentence = f"None of the {len(items)} could be made. The first: {failures[0].sentence}"
    return replace(failures[0], sentence=sentence)


def note_on(items: Sequence[Item]) -> str | None:
    """Names the items that have failed where others have not."""
    failed = [item.name for item in items if item.failure is not None]
    if not failed or len(failed) == len(items):
        return None
    return f"{len(failed)} of {len(items)} could not be made: {', '.join(failed)}."


def _is_ctrl_c(error: BaseException) -> bool:
    """Python gives Ctrl+C to the main thread only; elsewhere a library has raised it."""
    in_main = threading.current_thread() is threading.main_thread()
    return isinstance(error, KeyboardInterrupt) and in_main


def _log(job: Job, failure: Failure) -> None:
    if failure.kind == "Unexpected":
        logger.error("Job %s (%s) hit an unexpected error.\n%s", job.id, job.mode, failure.details)
    else:
        logger.warning("Job %s (%s) failed: %s", job.id, job.mode, failure.sentence)
