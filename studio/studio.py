"""The studio as one object: a home, its job table and the runner that works on it."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from studio.fetching import Fetching
from studio.home import Home
from studio.jobs import Job, JobTable
from studio.jobs_copy import restore_table
from studio.machine_watch import MachineWatch
from studio.production import Production
from studio.runner import Runner
from studio.submission import submit


@dataclass(frozen=True)
class Studio:
    home: Home
    table: JobTable
    runner: Runner
    fetching: Fetching
    machine: MachineWatch = field(default_factory=MachineWatch)

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


def open_studio(home: Home) -> Studio:
    """The studio of a home. Nothing runs until its runner is started."""
    restore_table(home)
    table = JobTable(home.database)
    production = Production(home)
    runner = Runner(table, production, home, production.release)
    return Studio(home, table, runner, Fetching(home))
