"""A flag for each control of a mode, made from the control's own declaration."""

import argparse

from studio.fields import Field, LoraControl, MediaControl, NumberControl, ToggleControl
from studio.modes import Mode


def add_flags(parser: argparse.ArgumentParser, mode: Mode) -> None:
    """Adds the flags; each value lands under its control's name, None where it is not given."""
    for field in mode.fields:
        _add_flag(parser, field)


def _add_flag(parser: argparse.ArgumentParser, field: Field) -> None:
    more: dict[str, object] = {"dest": field.name, "help": _help(field)}
    if isinstance(field, ToggleControl):
        more |= {"action": "store_true", "default": None}
    elif isinstance(field, LoraControl):
        more |= {"action": "extend", "nargs": "+", "metavar": "FILE:STRENGTH"}
    elif isinstance(field, MediaControl):
        more |= {"metavar": "FILE", **({"nargs": "+"} if field.most > 1 else {})}
    else:
        more |= {"metavar": field.name.rpartition("_")[2].upper()}
    parser.add_argument(field.flag, **more)  # type: ignore[arg-type]


def _help(field: Field) -> str:
    """What the control does and allows; argparse reads a percent sign as its own."""
    allowed = ""
    if isinstance(field, NumberControl):
        usual = field.empty if field.default is None else f"{field.default:g}"
        allowed = f" ({field.minimum:g} to {field.maximum:g}, else {usual})"
    options = getattr(field, "options", ())
    if options:
        allowed = f" ({', '.join(option.value for option in options)})"
    return f"{field.label}{allowed}. {field.help}".replace("%", "%%").strip()
