"""The studio as one object: a home, its job table and the runner that works on it."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field

from studio.fetching import Fetching
from studio.home import Home
from studio.jobs import Job, JobTable
from studio.jobs_copy import restore_table, table_copied
from studio.machine_watch import MachineWatch
from studio.production import Production
from studio.runner import Runner, Work
from studio.submission import submit
from studio.uploads import Uploads
from studio.zero_visits import Visits

COMMAND_LINE = "command-line"
"""Owns the jobs of whoever works on this machine beside the page: no cookie and no key can have
this value."""


@dataclass(frozen=True)
class Studio:
    home: Home
    table: JobTable
    runner: Runner
    fetching: Fetching
    machine: MachineWatch = field(default_factory=MachineWatch)
    uploads: Uploads = field(default_factory=Uploads)
    visits: Visits | None = None
    """Where a GPU is lent to visitors, and each request tells of one."""

    def submit(
        self,
        owner: str,
        mode_id: str,
        raw: Mapping[str, object],
        names: Mapping[str, str] | None = None,
    ) -> Job:
        """Check a request and queue it; see `submission.submit`."""
        job = submit(self.table, self.home, owner, mode_id, raw, names)
        self.runner.wake()
        return job


def open_studio(home: Home, work: Work | None = None, at_once: int = 1) -> Studio:
    """The studio of a home. Nothing runs until its runner is started.

    `work` makes the items, in this process by default; `at_once` jobs run side by side.
    """
    restore_table(home)
    table = JobTable(home.database)
    production = Production(home)
    release = production.release if work is None else None
    runner = Runner(table, work or production, home, release=release, at_once=at_once)
    return Studio(home, table, runner, Fetching(home))


@contextmanager
def running(studio: Studio, commit: Callable[[], None] = lambda: None) -> Iterator[None]:
    """Has the queue worked on. `commit` is for a home on a volume; see `table_copied`."""
    with table_copied(studio.home, commit):
        studio.runner.start()
        try:
            yield
        finally:
            studio.runner.stop()
