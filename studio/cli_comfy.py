"""`python -m studio comfy install` and `comfy status`."""

import argparse
import json
import sys

from studio.cli_run import Commands
from studio.comfy_install import install, status
from studio.comfy_pins import PINS
from studio.errors import BadInput
from studio.home import home_at


def add_comfy_command(commands: Commands) -> None:
    """The command `comfy` with its own two commands."""
    does = "ComfyUI, the first engine for videos: install it, and look at what is installed"
    parser = commands.add_parser("comfy", help=does, description=f"{does}.")
    own = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    _add_install(own)
    _add_status(own)


def _add_install(commands: Commands) -> None:
    does = f"ComfyUI {PINS.comfyui.version}: fetch it and install what it needs"
    parser = commands.add_parser("install", help=does, description=f"{does}.")
    parser.add_argument(
        "--packs",
        nargs="+",
        default=["none"],
        metavar="NAME",
        help=f"node packs for graphs of your own: none, all, or some of {', '.join(PINS.packs)}",
    )
    _add_home(parser)
    parser.set_defaults(run=_install)


def _install(options: argparse.Namespace) -> int:
    folder = install(home_at(options.home), _pack_names(options.packs), say=_say)
    sys.stdout.write(f"{folder}\n")
    return 0


def _pack_names(words: list[str]) -> list[str]:
    """Raises BadInput where 'none' or 'all' stands beside a name."""
    groups = {"none": [], "all": list(PINS.packs)}
    if len(words) == 1:
        return groups.get(words[0], words)
    if groups.keys() & set(words):
        raise BadInput("Give --packs either 'none', 'all' or names of packs.", "packs")
    return words


def _add_status(commands: Commands) -> None:
    parser = commands.add_parser("status", help="say what is installed and what is missing")
    parser.add_argument("--json", action="store_true", help="everything, as JSON")
    _add_home(parser)
    parser.set_defaults(run=_status)


def _status(options: argparse.Namespace) -> int:
    found = status(home_at(options.home))
    text = json.dumps(found.as_json(), indent=2) if options.json else found.as_text()
    sys.stdout.write(f"{text}\n")
    return 0


def _add_home(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--home", help="the studio's folder; AIO_HOME, else ~/aio-studio")


def _say(line: str) -> None:
    sys.stderr.write(f"{line}\n")
    sys.stderr.flush()
