"""A mode's flags for a script whose job runs on another machine: `modal run …::generate`."""

import argparse
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import cast

from studio import disk
from studio.cli_flags import add_flags
from studio.cli_progress import ProgressLine
from studio.errors import BadInput
from studio.jobs import Failure
from studio.modes import MODES, Mode
from studio.remote_work import FilePart, Files, Made, Said

Run = Callable[[str, Mapping[str, object], Files], Iterator[Said]]
"""Takes a mode's id, its raw values and its files; gives what `host_modal.run_request` does."""


def run_elsewhere(arguments: Sequence[str], run: Run, prog: str) -> int:
    """Has the request run and writes the results, whose paths go to standard output.

    Returns the exit status: 0, or 1 where not all could be made. Raises BadInput, and
    SystemExit for wrong flags.
    """
    mode, options = _parse(arguments, prog)
    given = {name: value for name, value in vars(options).items() if value is not None}
    target = given.pop("output")
    files = {
        field.name: _read(given.pop(field.name)) for field in mode.media if field.name in given
    }
    with ProgressLine(sys.stderr) as line:
        failures = list(_take(run(mode.id, given, files), target, line))
    sys.stderr.write("".join(f"{failure.sentence}\n" for failure in failures))
    return 1 if failures else 0


def _parse(arguments: Sequence[str], prog: str) -> tuple[Mode, argparse.Namespace]:
    """The mode first, because its controls decide which flags there are."""
    first = argparse.ArgumentParser(prog=prog, add_help=False)
    first.add_argument("--mode", choices=tuple(MODES), required=True, help="what to make")
    chosen, others = first.parse_known_args(arguments)
    mode = MODES[chosen.mode]
    parser = argparse.ArgumentParser(prog=f"{prog} --mode {mode.id}", description=f"{mode.does}.")
    add_flags(parser, mode)
    parser.add_argument("--weights", help="which weights run it; 'demo' for the demo weights")
    parser.add_argument("--engine", choices=mode.engines, help="which engine runs it")
    parser.add_argument(
        "-o", "--output", type=Path, default=Path(), help="a file, or a folder; here by default"
    )
    return mode, parser.parse_args(others)


def _read(value: str | list[str]) -> list[tuple[str, bytes]]:
    paths = [Path(one) for one in ([value] if isinstance(value, str) else value)]
    missing = [str(path) for path in paths if not path.is_file()]
    if missing:
        raise BadInput(f"'{missing[0]}' is not a file that can be read.")
    return [(path.name, path.read_bytes()) for path in paths]


def _take(said: Iterator[Said], target: Path, line: ProgressLine) -> Iterator[Failure]:
    """Writes the files that come, says where they are, and gives what could not be made."""
    content = bytearray()
    for one in said:
        if isinstance(one, FilePart):
            content += one.content
        elif isinstance(one, Made):
            sys.stdout.write(f"{_write(content, one, target)}\n")
            content.clear()
        elif isinstance(one, Failure):
            yield one
        else:
            line(one)


def _write(content: bytes | bytearray, made: Made, target: Path) -> Path:
    """Never over a file: a taken name gets a number, as in the studio's own folder."""
    seed = cast(int, made.details["seed"])
    wanted = target / f"{seed}.{made.extension}" if target.is_dir() else target
    path, number = wanted, 1
    while path.exists():
        number += 1
        path = wanted.with_stem(f"{wanted.stem}_{number}")
    with disk.disk_errors(path.parent, BadInput), disk.partial_file(path.parent) as partial:
        partial.write_bytes(content)
        partial.replace(path)
    return path
