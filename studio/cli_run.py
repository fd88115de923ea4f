"""`python -m studio MODE …`: one job, run in this process, with its progress on standard error."""

import argparse
import json
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeAlias

from studio.cli_flags import add_flags
from studio.cli_progress import ProgressLine
from studio.errors import BadInput, MissingWeights
from studio.estimates import Prediction, about, predict
from studio.home import Home, home_at
from studio.jobs import Job, JobTable
from studio.machine_watch import read_here
from studio.modes import Mode
from studio.outputs import copy_to
from studio.plan import Plan
from studio.plan_summary import plan_as_json, plan_as_text
from studio.planning import plan_request
from studio.preflight import preflight
from studio.preflight_summary import preflight_as_json, preflight_as_text
from studio.request import read_request, with_seed
from studio.studio import COMMAND_LINE, Studio, open_studio

Commands: TypeAlias = "argparse._SubParsersAction[Any]"
"""What `add_subparsers` returns."""

FAILED, BAD_INPUT = 1, 2
"""Exit statuses beside 0."""

_ENDINGS = {"image": ".png", "video": ".mp4"}


def add_mode_command(commands: Commands, mode: Mode) -> None:
    """The mode's own command, its flags made from its controls."""
    parser = commands.add_parser(mode.id, help=mode.does, description=f"{mode.does}.")
    add_flags(parser, mode)
    parser.add_argument("--weights", help="which weights run it; 'demo' for the demo weights")
    parser.add_argument(
        "--engine",
        default=preferred_engine(mode),
        help=f"which engine runs it: {', '.join(mode.engines)}; AIO_ENGINE where it can",
    )
    parser.add_argument("--home", help="the studio's folder; AIO_HOME, else ~/aio-studio")
    parser.add_argument("--dry-run", action="store_true", help="only say what would run")
    parser.add_argument("--json", action="store_true", help="with --dry-run: as JSON")
    parser.add_argument("-o", "--output", type=Path, help="also put the result there")
    parser.set_defaults(run=lambda options: run_mode(mode, options))


def preferred_engine(mode: Mode) -> str | None:
    """What AIO_ENGINE names, where it can run the mode."""
    preferred = os.environ.get("AIO_ENGINE")
    return preferred if preferred in mode.engines else None


def run_mode(mode: Mode, options: argparse.Namespace) -> int:
    """Plan or run the mode; the paths of the results are the last lines of standard output."""
    home = home_at(options.home)
    raw = {
        name: getattr(options, name)
        for name in (*(field.name for field in mode.fields), "engine", "weights")
    }
    if options.dry_run:
        return _show_plan(mode, home, raw, options.json)
    if options.json:
        raise BadInput("The option --json goes with --dry-run.")
    target = checked_target(mode, options.output, len(raw.get(mode.batch or "") or [0]))
    return _run(home, mode, raw, target)


def _show_plan(mode: Mode, home: Home, raw: Mapping[str, object], as_json: bool) -> int:
    try:
        plans = plan_request(with_seed(read_request(home, mode.id, raw)))
    except MissingWeights:
        # What is missing is what somebody asks for who gets this far.
        if not as_json:
            sys.stdout.write(preflight_as_text(preflight(home, mode, raw, read_here())) + "\n")
        raise
    before = preflight(home, mode, raw, read_here())
    predictions = [_prediction(home, plan) for plan in plans]
    if as_json:
        found = [
            {
                **plan_as_json(plan),
                "expected_seconds": dict(known.stages) if known else None,
                "preflight": preflight_as_json(before),
            }
            for plan, known in zip(plans, predictions, strict=True)
        ]
        sys.stdout.write(json.dumps(found if mode.batch else found[0], indent=2) + "\n")
    else:
        texts = [
            plan_as_text(plan) + (f"\ntime: {about(known.seconds)}" if known else "")
            for plan, known in zip(plans, predictions, strict=True)
        ]
        sys.stdout.write("\n\n".join([*texts, preflight_as_text(before)]) + "\n")
    return 0


def _prediction(home: Home, plan: Plan) -> Prediction | None:
    """What it should take. Looking must not make the home of somebody who only asks."""
    return predict(JobTable(home.database), plan) if home.database.exists() else None


def _run(home: Home, mode: Mode, raw: Mapping[str, object], target: Path | None) -> int:
    studio = open_studio(home)
    job = run_job(studio, studio.submit(COMMAND_LINE, mode.id, raw))
    tell(job)
    paths = written_results(home, job, target)
    sys.stdout.write("".join(f"{path}\n" for path in paths))
    complete = job.state == "done" and not job.failed_items
    return 0 if complete else FAILED


def run_job(studio: Studio, job: Job) -> Job:
    """Runs a queued job, with its progress on standard error, and returns it when it is over."""
    try:
        with ProgressLine(sys.stderr) as line:
            return studio.runner.run_one(job.id, line)
    except KeyboardInterrupt:
        # A job that still waited for its turn must not be left for somebody else to run.
        studio.runner.cancel(COMMAND_LINE, job.id)
        raise


def written_results(home: Home, job: Job, target: Path | None) -> list[Path]:
    """Where the job's results are, after they were copied to `target`, where one is given.

    A result that was deleted since counts as the copy that was made of it.
    """
    paths = [home.root / output for output in job.outputs]
    return [_copy(path, target) for path in paths] if target is not None else paths


def tell(job: Job) -> None:
    """What is to be said of the job beside its files."""
    lines = list(job.notes)
    lines += [
        note for item in job.items for note in (*item.details.get("notes", ()), *item.findings)
    ]
    lines += [item.failure.sentence for item in job.failed_items if item.failure]
    if job.failure and not job.failed_items:
        lines.append(job.failure.sentence)
    sys.stderr.write("".join(f"{line}\n" for line in dict.fromkeys(lines)))


def checked_target(mode: Mode, target: Path | None, count: int) -> Path | None:
    """Raises BadInput, before anything runs, where the results could not be put there."""
    if target is None or target.is_dir():
        return target
    ending = _ENDINGS[mode.makes]
    if count > 1:
        raise BadInput(f"'{target}' is no folder: {count} results need one to be put into.")
    if target.suffix.lower() != ending:
        raise BadInput(f"'{target.name}' must end in {ending}: that is what the mode makes.")
    if not target.absolute().parent.is_dir():
        raise BadInput(f"The folder '{target.parent}' does not exist.")
    return target


def _copy(path: Path, target: Path) -> Path:
    copy = target / path.name if target.is_dir() else target
    return copy if copy.is_file() and not path.is_file() else copy_to(path, copy)
