"""What goes along from one form to the next: prompts, and settings that mean the same in both."""

import json
from collections.abc import Mapping, Sequence
from html import escape

import gradio as gr

from studio.fields import ChoiceControl, Field, LoraControl, MediaControl
from studio.modes import MODES
from studio.page_forms import PAGE_EVENT, Form, plain_html

Carried = Mapping[str, tuple[Field, ...]]
"""By mode, the controls that may be carried into it or from it."""


def connect_carry(tabs: gr.Tabs, buttons: Mapping[str, gr.Button], forms: Sequence[Form]) -> None:
    """A mode's button shows its form, with what was filled in before it was chosen.

    The page's script decides: it carries nothing over what somebody has filled in.
    """
    carried = carried_controls()
    plain_html(f'<div id="carried" data-fields="{escape(json.dumps(_table(carried)))}"></div>')
    own = {
        form.mode.id: [form.by_name[field.name] for field in carried[form.mode.id]]
        for form in forms
    }
    every = [component for mode_id in MODES for component in own[mode_id]]
    for mode_id, button in buttons.items():
        script = f"(...values) => studio.go('{mode_id}', values)"
        button.click(None, every, [tabs, *own[mode_id]], js=script, **PAGE_EVENT)


def carried_controls() -> Carried:
    """Those that another mode has too, with the same default.

    Where the default differs, the control means something else there: an empty length is as long
    as the sound, and the negative prompt of one model is not that of another.
    """
    return {
        mode.id: tuple(
            field
            for field in mode.fields
            if any(_meets(field, other) for other in _others(mode.id))
        )
        for mode in MODES.values()
    }


def _others(mode_id: str) -> tuple[Field, ...]:
    return tuple(field for mode in MODES.values() if mode.id != mode_id for field in mode.fields)


def _meets(field: Field, other: Field) -> bool:
    if isinstance(field, MediaControl | LoraControl) or isinstance(
        other, MediaControl | LoraControl
    ):
        return False
    return field.name == other.name and field.default == other.default


def _table(carried: Carried) -> Mapping[str, Mapping[str, object]]:
    """What the script has to know of each, in the order of the button's inputs."""
    return {
        mode_id: {field.name: _row(field) for field in fields}
        for mode_id, fields in carried.items()
    }


def _row(field: Field) -> dict[str, object]:
    options = [one.value for one in field.options] if isinstance(field, ChoiceControl) else None
    default = None if isinstance(field, MediaControl | LoraControl) else field.default
    return {"default": "" if default is None else default, "among": options}
