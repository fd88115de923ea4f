"""`python -m studio batch jobs.jsonl`: many jobs, and the same command goes on where it stopped."""

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from studio.cli_batch_lines import BadLine, Begun, Line, read_lines
from studio.cli_run import BAD_INPUT, FAILED, Commands, run_job, tell, written_results
from studio.errors import StudioError
from studio.home import Home, home_at
from studio.jobs import Failure, Job, JobTable
from studio.runner import failure_from
from studio.studio import COMMAND_LINE, Studio, open_studio


def add_batch_command(commands: Commands) -> None:
    parser = commands.add_parser(
        "batch",
        help="run a file of jobs, and go on where it stopped",
        description="Runs a file of jobs: a line is a JSON object with 'mode', the values of its"
        " controls, and 'output' for a file or folder to put the result into. All lines are"
        " checked before the first runs. The same command goes on after an end of any kind.",
    )
    parser.add_argument("file", type=Path, help="the jobs, one JSON object a line")
    parser.add_argument("--home", help="the studio's folder; AIO_HOME, else ~/aio-studio")
    parser.add_argument("--dry-run", action="store_true", help="only check, and say what is to do")
    parser.add_argument("--json", action="store_true", help="a JSON object for every line")
    parser.set_defaults(run=_batch)


@dataclass(frozen=True)
class Outcome:
    """What became of a line. `state` is the job's, or `todo`, or `bad`."""

    number: int
    state: str
    mode: str | None = None
    job: str | None = None
    files: tuple[str, ...] = field(default=())
    failure: Failure | None = None

    def as_json(self) -> dict[str, object]:
        return {
            "line": self.number,
            "mode": self.mode,
            "job": self.job,
            "state": self.state,
            "files": list(self.files),
            "error": self.failure.sentence if self.failure else None,
            "kind": self.failure.kind if self.failure else None,
        }


def _batch(options: argparse.Namespace) -> int:
    home = home_at(options.home)
    lines, bad = read_lines(home, options.file)
    if bad:
        return _refuse(bad, options.json)
    begun = Begun(options.file)
    if options.dry_run:
        return _say_what_is_to_do(home, lines, begun, options.json)
    studio = open_studio(home)
    outcomes = []
    for line in lines:
        outcome, before = _bring_to_its_end(studio, line, begun)
        outcomes.append((outcome, before))
        _write(outcome, options.json)
    return _summary(outcomes)


def _refuse(bad: Sequence[BadLine], as_json: bool) -> int:
    for one in bad:
        sys.stderr.write(f"Line {one.number}: {one.sentence}\n")
        if as_json:
            failure = Failure(one.sentence, "BadInput")
            sys.stdout.write(
                json.dumps(Outcome(one.number, "bad", failure=failure).as_json()) + "\n"
            )
    sys.stderr.write("Nothing was run.\n")
    return BAD_INPUT


def _say_what_is_to_do(home: Home, lines: Sequence[Line], begun: Begun, as_json: bool) -> int:
    # Looking must not make the home of somebody who only asks.
    table = JobTable(home.database) if home.database.exists() else None
    for line in lines:
        job_id = begun.job_of(line)
        job = table.get(job_id) if table and job_id else None
        state = "done" if job and _is_made(home, line, job) else "todo"
        outcome = Outcome(line.number, state, line.mode.id, job.id if job else None)
        said = json.dumps(outcome.as_json()) if as_json else f"{line.number} {line.mode.id} {state}"
        sys.stdout.write(said + "\n")
    return 0


def _bring_to_its_end(studio: Studio, line: Line, begun: Begun) -> tuple[Outcome, bool]:
    """How the line has ended, and whether it had before this command."""
    job_id = begun.job_of(line)
    known = studio.table.get(job_id) if job_id else None
    try:
        if known is not None and _is_made(studio.home, line, known):
            return _outcome(studio.home, line, known), True
        sys.stderr.write(f"Line {line.number}: {line.mode.id}\n")
        job = run_job(studio, _queued(studio, line, known, begun))
        if job.state == "interrupted":
            # It was another process's, which has died or was closed meanwhile.
            job = run_job(studio, studio.table.rerun(COMMAND_LINE, job.id))
        tell(job)
        return _outcome(studio.home, line, job), False
    # The lines after it must run.
    except StudioError as error:
        sys.stderr.write(f"{error}\n")
        failure = failure_from(error, None)
        return Outcome(line.number, "failed", line.mode.id, failure=failure), False


def _queued(studio: Studio, line: Line, known: Job | None, begun: Begun) -> Job:
    """The job that was begun, where something of it is left to make, else a new one."""
    if known is not None and known.is_live:
        return known
    if known is not None and known.unfinished_items:
        return studio.table.rerun(COMMAND_LINE, known.id)
    job = studio.submit(COMMAND_LINE, line.mode.id, line.raw)
    begun.note(line, job.id)
    return job


def _is_made(home: Home, line: Line, job: Job) -> bool:
    """Whether it has all its results, here or where they were to be put."""
    whole = job.state == "done" and not job.failed_items
    here = all((home.root / output).is_file() for output in job.outputs)
    return whole and (here or (line.target is not None and line.target.is_file()))


def _outcome(home: Home, line: Line, job: Job) -> Outcome:
    paths = written_results(home, job, line.target)
    failures = [item.failure for item in job.failed_items if item.failure]
    failure = job.failure or (failures[0] if failures else None)
    state = "failed" if job.failed_items else job.state
    files = tuple(map(str, paths))
    return Outcome(line.number, state, line.mode.id, job.id, files, failure)


def _write(outcome: Outcome, as_json: bool) -> None:
    lines = [json.dumps(outcome.as_json())] if as_json else outcome.files
    sys.stdout.write("".join(f"{line}\n" for line in lines))
    sys.stdout.flush()


def _summary(outcomes: Sequence[tuple[Outcome, bool]]) -> int:
    before = sum(1 for _, earlier in outcomes if earlier)
    failed = [outcome.number for outcome, _ in outcomes if outcome.state != "done"]
    made = len(outcomes) - before - len(failed)
    sys.stderr.write(f"{made} made, {before} made before, {len(failed)} failed.\n")
    if failed:
        numbers = ", ".join(map(str, failed))
        sys.stderr.write(f"Not made: line {numbers}. The same command tries them again.\n")
    return FAILED if failed else 0
