"""`python -m studio models`, `fetch` and `lora`: which models there are, and bringing them here."""

import argparse
import json
import sys
from collections.abc import Mapping
from dataclasses import asdict

from studio.cli_fetch_line import FetchLine
from studio.cli_run import Commands
from studio.engine import ENGINES, engine_to_fetch
from studio.errors import BadInput
from studio.home import Home, home_at
from studio.hub_file import HubFile, lora_on_hub
from studio.modes import MODES, Mode
from studio.needs import (
    Need,
    choose_variant,
    every_model_for,
    gigabytes_missing,
    model_settings,
    models_for,
    needs,
    variants_of,
)
from studio.planning import find_lora
from studio.preflight_summary import disk_line, need_as_json, need_line
from studio.registry import Variant
from studio.request import mode_called
from studio.weights_fetch import Fetch
from studio.weights_hub import Download, free_gigabytes
from studio.weights_lora import read_header
from studio.weights_lora_about import about_lora


def add_models_commands(commands: Commands) -> None:
    """The commands `models`, `fetch` and `lora`."""
    _add_models(commands)
    _add_fetch(commands)
    _add_lora(commands)


def _add_models(commands: Commands) -> None:
    does = "Which weights each mode can run with, and what of them is here"
    parser = commands.add_parser("models", help=does, description=f"{does}.")
    parser.add_argument("mode", nargs="?", help="one mode only")
    parser.add_argument("--json", action="store_true", help="everything, as JSON")
    _add_home(parser)
    parser.set_defaults(run=_models)


def _models(options: argparse.Namespace) -> int:
    home = home_at(options.home)
    modes = [mode_called(options.mode)] if options.mode else list(MODES.values())
    sets: dict[str, tuple[Variant, list[Mode]]] = {}
    for mode in modes:
        for variant in variants_of(mode, mode.engines):
            sets.setdefault(variant.label, (variant, []))[1].append(mode)
    if options.json:
        _write_json([_set_as_json(home, *one) for one in sets.values()])
    else:
        sys.stdout.write("".join(f"{_set_line(home, *one)}\n" for one in sets.values()))
    return 0


def _set_line(home: Home, variant: Variant, modes: list[Mode]) -> str:
    missing = gigabytes_missing(needs(home, variant.models))
    state = f"{missing:.1f} GB missing" if missing else "here"
    names = " ".join(mode.id for mode in modes)
    return f"{variant.label:<22} {ENGINES[variant.engine].label:<10} {state:<16} {names}"


def _set_as_json(home: Home, variant: Variant, modes: list[Mode]) -> Mapping[str, object]:
    found = needs(home, variant.models)
    return {
        "variant": variant.label,
        "engine": variant.engine,
        "modes": [mode.id for mode in modes],
        "missing_gigabytes": gigabytes_missing(found),
        "models": [need_as_json(need) for need in found],
    }


def _add_fetch(commands: Commands) -> None:
    does = "Fetch the models that a mode needs from the Hugging Face Hub"
    parser = commands.add_parser("fetch", help=does, description=f"{does}.")
    parser.add_argument("mode", nargs="?", help=f"one of {', '.join(MODES)}")
    parser.add_argument("--variant", default="", help="which weights; 'models MODE' lists them")
    parser.add_argument("--engine", default="", help=f"for which engine: {', '.join(ENGINES)}")
    parser.add_argument("--preset", help="for which preset; else the default one")
    parser.add_argument(
        "--all", action="store_true", help="for every preset, camera, detailer and control"
    )
    parser.add_argument("--lora", metavar="OWNER/REPOSITORY/FILE", help="one LoRA instead")
    parser.add_argument("--dry-run", action="store_true", help="only say what would be fetched")
    parser.add_argument("--json", action="store_true", help="with --dry-run: as JSON")
    _add_home(parser)
    parser.set_defaults(run=_fetch)


def _fetch(options: argparse.Namespace) -> int:
    if (options.mode is None) == (options.lora is None):
        raise BadInput("Say either the mode whose models to fetch, or one LoRA with --lora.")
    if options.json and not options.dry_run:
        raise BadInput("The option --json goes with --dry-run.")
    if options.lora is not None:
        return _fetch_lora(options.lora)
    home, mode = home_at(options.home), mode_called(options.mode)
    variant = choose_variant(
        home, mode, engine_to_fetch(home, mode, options.engine), options.variant
    )
    settings = model_settings(mode, {"preset": options.preset})
    models = every_model_for(mode, variant) if options.all else models_for(mode, variant, settings)
    found = needs(home, models)
    if options.dry_run:
        return _say(variant, found, options.json)
    return _bring(home, found)


def _say(variant: Variant, found: tuple[Need, ...], as_json: bool) -> int:
    if as_json:
        _write_json(
            {
                "variant": variant.label,
                "engine": variant.engine,
                "missing_gigabytes": gigabytes_missing(found),
                "free_gigabytes": free_gigabytes(),
                "models": [need_as_json(need) for need in found],
            }
        )
        return 0
    lines = [f"{variant.label}, for {ENGINES[variant.engine].label}"]
    lines += [need_line(need) for need in found]
    lines.append(disk_line(gigabytes_missing(found), free_gigabytes()))
    sys.stdout.write("\n".join(lines) + "\n")
    return 0


def _bring(home: Home, found: tuple[Need, ...]) -> int:
    with FetchLine(sys.stderr) as line:
        fetch = Fetch(home, [need.model for need in found])
        if fetch.models:
            line.follow(fetch.start())
    sys.stdout.write("".join(f"{need.model.folder}/{need.model.name}\n" for need in found))
    return 0


def _fetch_lora(name: str) -> int:
    file = lora_on_hub(name)
    if file is None:
        raise BadInput(f"'{name}' is no LoRA of the Hub: write owner/repository/file.safetensors.")
    sys.stdout.write(f"{_downloaded(file)}\n")
    return 0


def _downloaded(file: HubFile) -> object:
    with FetchLine(sys.stderr) as line:
        download = Download([file])
        line.follow(download.start())
        return download.wait()[file]


def _add_lora(commands: Commands) -> None:
    does = "Say which model a LoRA was made for, its rank and its trigger words"
    parser = commands.add_parser("lora", help=does, description=f"{does}.")
    parser.add_argument("name", help="a LoRA of the folder, a path, or one of the Hub")
    parser.add_argument("--json", action="store_true", help="everything, as JSON")
    _add_home(parser)
    parser.set_defaults(run=_lora)


def _lora(options: argparse.Namespace) -> int:
    path = find_lora(home_at(options.home), options.name)
    about = about_lora(read_header(path))
    if options.json:
        _write_json({"path": str(path), **asdict(about)})
        return 0
    ranks = ", ".join(map(str, about.ranks))
    lines = [f"{path}", f"made for {about.label}, {about.layers} layers of rank {ranks}"]
    lines += [f"trigger words: {', '.join(about.triggers)}"] if about.triggers else []
    sys.stdout.write("\n".join(lines) + "\n")
    return 0


def _write_json(value: object) -> None:
    sys.stdout.write(json.dumps(value, indent=2) + "\n")


def _add_home(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--home", help="the studio's folder; AIO_HOME, else ~/aio-studio")
