"""The command line. Results go to standard output, everything else to standard error.

Exit status: 0 for success, 1 for a run that failed, 2 for bad input, 130 for Ctrl+C.
"""

import argparse
import json
import logging
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import NoReturn

from studio import __version__, doctor
from studio.cli_batch import add_batch_command
from studio.cli_comfy import add_comfy_command
from studio.cli_models import add_models_commands
from studio.cli_run import BAD_INPUT, FAILED, Commands, add_mode_command
from studio.doctor_faults import mend
from studio.errors import BadInput, MissingWeights, StudioError
from studio.home import home_at
from studio.hosts import keep_hub_cache, this_host
from studio.mode_listing import mode_as_json
from studio.modes import MODES
from studio.recipe import to_json
from studio.recipe_read import Found, read_recipe

INTERRUPTED = 130
"""What shells say of a command ended by Ctrl+C."""


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        """One sentence instead of the usage: it says what is wrong, and where to look."""
        sys.stderr.write(f"{message[:1].upper()}{message[1:]}. See '{self.prog} --help'.\n")
        sys.exit(BAD_INPUT)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit status."""
    logging.basicConfig(level=logging.ERROR, format="%(message)s")
    options = _parser().parse_args(arguments)
    keep_hub_cache(this_host(), home_at(getattr(options, "home", None)).root)
    try:
        return int(options.run(options))
    except (BadInput, MissingWeights) as error:
        return _complain(error, BAD_INPUT)
    except StudioError as error:
        return _complain(error, FAILED)
    except KeyboardInterrupt:
        sys.stderr.write("\nStopped.\n")
        return INTERRUPTED


def _complain(error: StudioError, status: int) -> int:
    sys.stderr.write(f"{error}\n")
    return status


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="python -m studio",
        description="Pictures and videos with open models. Start the page with 'python app.py'.",
    )
    parser.add_argument("--version", action="version", version=f"AIO Studio {__version__}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    _add_modes(commands)
    _add_recipe(commands)
    _add_doctor(commands)
    add_models_commands(commands)
    add_batch_command(commands)
    add_comfy_command(commands)
    for mode in MODES.values():
        add_mode_command(commands, mode)
    return parser


def _add_modes(commands: Commands) -> None:
    parser = commands.add_parser("modes", help="list the modes and their controls")
    parser.add_argument("--json", action="store_true", help="everything, as JSON")
    parser.set_defaults(run=_modes)


def _modes(options: argparse.Namespace) -> int:
    if options.json:
        _write_json([mode_as_json(mode) for mode in MODES.values()])
    else:
        _write("\n".join(f"{mode.id:<9} {mode.does}" for mode in MODES.values()))
    return 0


def _add_recipe(commands: Commands) -> None:
    parser = commands.add_parser("recipe", help="show how a picture or clip was made")
    parser.add_argument("file", type=Path, help="a PNG or MP4 of this studio, A1111 or ComfyUI")
    parser.add_argument("--json", action="store_true", help="everything, as JSON")
    parser.set_defaults(run=_recipe)


def _recipe(options: argparse.Namespace) -> int:
    found = read_recipe(options.file)
    if options.json:
        _write_json(_found_as_json(found))
    else:
        _write("\n".join(f"{name}: {value}" for name, value in _found_as_json(found).items()))
    return 0


def _found_as_json(found: Found) -> dict[str, object]:
    if found.recipe is not None:
        return {"source": found.source, **json.loads(to_json(found.recipe))}
    return {
        "source": found.source,
        "settings": dict(found.settings),
        "lost": list(found.lost),
    }


def _add_doctor(commands: Commands) -> None:
    parser = commands.add_parser("doctor", help="check this machine and what is installed")
    parser.add_argument("--home", help="the studio's folder")
    parser.add_argument("--json", action="store_true", help="everything, as JSON")
    parser.add_argument("--fix", action="store_true", help="mend what can be mended, then check")
    parser.set_defaults(run=_doctor)


def _doctor(options: argparse.Namespace) -> int:
    home = home_at(options.home)
    mended = list(mend(home, _say)) if options.fix else None
    report = doctor.examine(home)
    if options.json:
        told = {} if mended is None else {"mended": [asdict(one) for one in mended]}
        _write_json({**told, **report.as_json()})
    else:
        before = "" if mended is None else f"{doctor.mended_as_text(mended)}\n\n"
        _write(before + report.as_text())
    return 0 if report.healthy else FAILED


def _say(line: str) -> None:
    sys.stderr.write(f"{line}\n")
    sys.stderr.flush()


def _write(text: str) -> None:
    sys.stdout.write(text + "\n")


def _write_json(value: object) -> None:
    _write(json.dumps(value, indent=2, ensure_ascii=False))
