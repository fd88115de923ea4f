"""The forms: a component for every control of a mode, from its declaration."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from itertools import groupby
from typing import Any

import gradio as gr

from studio.demo_words import what_demo_knows
from studio.engine import ENGINES, weights_for
from studio.examples import examples
from studio.families import FAMILIES
from studio.fields import (
    ChoiceControl,
    Field,
    LoraControl,
    MediaControl,
    NumberControl,
    TextControl,
    ToggleControl,
)
from studio.home import Home
from studio.modes import Mode
from studio.page_preflight import Card
from studio.planning_sizes import CROPPED

UPLOAD_PIXELS = 200

FEW_OPTIONS = 4
"""Up to so many options all are shown at once; more are folded into a list."""

NO_LORA = ("None", "")


@dataclass(frozen=True)
class Form:
    """The components of one mode; `inputs` are in the order that `page_values` reads."""

    mode: Mode
    inputs: tuple[gr.components.Component, ...]
    by_name: Mapping[str, gr.components.Component]
    loras: tuple[gr.Dropdown, ...]
    weights: gr.Dropdown
    generate: gr.Button
    banner: gr.HTML
    examples: gr.HTML
    read_out: gr.HTML
    preflight: gr.HTML

    @property
    def sizing(self) -> tuple[gr.components.Component, ...]:
        """What can change the size or length of the result: all but the texts and the seed."""
        texts = {field.name for field in self.mode.fields if isinstance(field, TextControl)}
        return tuple(
            component for name, component in self.by_name.items() if name not in {*texts, "seed"}
        )


def element_id(mode: Mode, name: str) -> str:
    """The id of a control's element on the page."""
    return f"{mode.id}-{name}"


def build_form(mode: Mode, home: Home, card: Card) -> Form:
    """The form of a mode, laid out where it is called."""
    banner = plain_html(demo_banner(home, mode), elem_classes="banner")
    tries = plain_html(examples_row(home, mode), elem_classes="examples")
    simple = [field for field in mode.fields if not field.advanced]
    advanced = [field for field in mode.fields if field.advanced]
    built = _lay_out(mode, simple)
    with gr.Accordion("Advanced", open=False, elem_classes="advanced"):
        built |= _lay_out(mode, advanced)
        weights = _weights(mode, home)
    read_out = plain_html(elem_id=element_id(mode, "read-out"), elem_classes="read-out")
    preflight = plain_html(card.html, elem_id=element_id(mode, "preflight"))
    # Beside the card, which Gradio draws anew: a button in there would lose the focus.
    plain_html("<div data-fetching></div>", elem_classes="fetch-place")
    generate = gr.Button(card.button, variant="primary", elem_classes="generate")
    refusal = element_id(mode, "refusal")
    plain_html(f'<div id="{refusal}"></div>')
    parts = [built[field.name] for field in mode.fields]
    by_name = {field.name: built[field.name][0] for field in mode.fields}
    _show_where_they_act(mode, by_name)
    return Form(
        mode=mode,
        inputs=(*(component for part in parts for component in part), weights),
        by_name={**by_name, "weights": weights},
        loras=tuple(
            component
            for field in mode.fields
            if isinstance(field, LoraControl)
            for component in built[field.name][::2]
        ),
        weights=weights,
        generate=generate,
        banner=banner,
        examples=tries,
        read_out=read_out,
        preflight=preflight,
    )


def plain_html(value: str = "", **more: str) -> gr.HTML:
    """HTML that only `page.css` dresses."""
    return gr.HTML(value, apply_default_css=False, **more)


def weights_labels(home: Home, mode: Mode) -> list[str]:
    """The weights that can run the mode, the preferred ones first."""
    return [weights.label for weights in weights_for(home, mode)]


def demo_banner(home: Home, mode: Mode, label: str = "") -> str:
    """HTML that says that demo weights will run; empty where real ones will."""
    if not _runs_demo(home, mode, label):
        return ""
    missing = [ENGINES[name] for name in mode.engines if not ENGINES[name].installed(home)]
    hints = "".join(f" {one.label} is not installed. {one.how_to_install}" for one in missing)
    return (
        f"<p><strong>Demo weights.</strong> {what_demo_knows(mode.id)} The real"
        f" {FAMILIES[mode.family].label} is not in use.{escape(hints)}</p>"
    )


def examples_row(home: Home, mode: Mode, label: str = "") -> str:
    """HTML with a button for each example of the weights."""
    demo = _runs_demo(home, mode, label)
    buttons = "".join(
        f'<button type="button" class="plain" data-example="{number}" data-demo="{demo}"'
        f' data-mode="{mode.id}">{escape(one.prompt)}</button>'
        for number, one in enumerate(examples(mode.id, demo))
    )
    return f'<div role="group" aria-label="Examples"><span>Try</span>{buttons}</div>'


def _runs_demo(home: Home, mode: Mode, label: str) -> bool:
    chosen = [one for one in weights_for(home, mode) if not label or one.label == label]
    return bool(chosen) and chosen[0].demo


# From a control to its components


def _lay_out(mode: Mode, fields: Sequence[Field]) -> dict[str, tuple[Any, ...]]:
    """The components of each control by name; numbers that follow each other share a row."""
    built: dict[str, tuple[Any, ...]] = {}
    for numbers, group in groupby(fields, lambda field: isinstance(field, NumberControl)):
        if not numbers:
            built |= {field.name: _BUILDERS[type(field)](mode, field) for field in group}
            continue
        with gr.Row(elem_classes="numbers"):
            built |= {field.name: _BUILDERS[type(field)](mode, field) for field in group}
    return built


def _common(mode: Mode, field: Field) -> dict[str, Any]:
    """What every component is given."""
    defaults = {one.name: one.parse(None) for one in mode.fields if isinstance(one, _SWITCHES)}
    return {
        "label": field.label,
        "elem_id": element_id(mode, field.name),
        "visible": field.acts(defaults),
    }


def _text(mode: Mode, field: TextControl) -> tuple[gr.Textbox]:
    common = _common(mode, field)
    return (
        gr.Textbox(
            field.default, lines=field.lines, max_lines=12, placeholder=field.help, **common
        ),
    )


def _number(mode: Mode, field: NumberControl) -> tuple[gr.Slider | gr.Textbox]:
    common = {**_common(mode, field), "info": field.help or None, "min_width": 140}
    common["label"] += f" ({field.unit})" if field.unit else ""
    if field.default is None:
        # A text box: Gradio's box for numbers turns an empty one into 0.
        common["elem_classes"] = "number"
        return (gr.Textbox("", placeholder=field.empty, max_lines=1, **common),)
    return (gr.Slider(field.minimum, field.maximum, field.default, step=field.step, **common),)


def _choice(mode: Mode, field: ChoiceControl) -> tuple[gr.Radio | gr.Dropdown]:
    choices = [(option.label, option.value) for option in field.options]
    build = gr.Radio if len(choices) <= FEW_OPTIONS else gr.Dropdown
    return (build(choices, value=field.default, info=field.help or None, **_common(mode, field)),)


def _toggle(mode: Mode, field: ToggleControl) -> tuple[gr.Checkbox]:
    return (gr.Checkbox(field.default, info=field.help or None, **_common(mode, field)),)


def _media(mode: Mode, field: MediaControl) -> tuple[gr.components.Component]:
    component = _upload(mode, field)
    if field.help:
        plain_html(f'<p class="quiet hint">{escape(field.help)}</p>')
    return (component,)


def _upload(mode: Mode, field: MediaControl) -> gr.components.Component:
    """Shows the file and keeps it as it is."""
    common = _common(mode, field)
    common["label"] += "" if field.required else " (optional)"
    common["elem_classes"] = ["takes-files", *(["cropped"] if field.role in CROPPED else [])]
    if field.kind == "audio":
        return gr.Audio(type="filepath", **common)
    common["height"] = UPLOAD_PIXELS
    if field.kind == "video":
        return gr.Video(sources=["upload"], **common)
    sources = ["upload", "clipboard"]
    if field.most > 1:
        return gr.Gallery(
            file_types=["image"], columns=4, sources=sources, interactive=True, **common
        )
    return gr.Image(type="filepath", image_mode=None, sources=sources, **common)


def _loras(mode: Mode, field: LoraControl) -> tuple[gr.components.Component, ...]:
    """Rows of a file and its strength; each row appears once the one before is used."""
    pairs: list[tuple[gr.Dropdown, gr.Slider]] = []
    rows: list[gr.Row] = []
    with gr.Column(elem_id=element_id(mode, field.name)):
        for number in range(1, field.most + 1):
            with gr.Row(visible=number == 1) as row:
                pairs.append(_lora(mode, field, number))
            rows.append(row)
    for (file, _), (next_file, _), row in zip(pairs, pairs[1:], rows[1:], strict=False):
        script = "(file, next) => ({__type__: 'update', visible: Boolean(file || next)})"
        gr.on([file.change], None, [file, next_file], row, js=script, **PAGE_EVENT)
    return tuple(component for pair in pairs for component in pair)


def _lora(mode: Mode, field: LoraControl, number: int) -> tuple[gr.Dropdown, gr.Slider]:
    name = element_id(mode, f"{field.name}-{number}")
    file = gr.Dropdown(
        [NO_LORA],
        value="",
        label=f"LoRA {number}",
        info=field.help if number == 1 else None,
        elem_id=name,
        scale=2,
    )
    strength = gr.Slider(
        field.minimum,
        field.maximum,
        1.0,
        step=0.05,
        label=f"LoRA {number} strength",
        elem_id=f"{name}-strength",
    )
    return file, strength


def _weights(mode: Mode, home: Home) -> gr.Dropdown:
    labels = weights_labels(home, mode)
    return gr.Dropdown(
        labels,
        value=labels[0],
        label="Weights",
        elem_id=element_id(mode, "weights"),
        visible=len(labels) > 1,
    )


_SWITCHES = (ChoiceControl, ToggleControl)
"""What other controls' `shown` can look at."""

_BUILDERS: Mapping[type, Callable[[Mode, Any], tuple[Any, ...]]] = {
    TextControl: _text,
    NumberControl: _number,
    ChoiceControl: _choice,
    ToggleControl: _toggle,
    MediaControl: _media,
    LoraControl: _loras,
}

PAGE_EVENT: Mapping[str, Any] = {
    "queue": False,
    "show_progress": "hidden",
    "api_visibility": "private",
}
"""For the cheap events of the page itself: answered at once, beside any queue."""


def _show_where_they_act(mode: Mode, components: Mapping[str, gr.components.Component]) -> None:
    """Shows and hides controls in the browser as the control they depend on changes."""
    conditions = {field.name: field.shown for field in mode.fields if field.shown}
    for switch in sorted({when.field for when in conditions.values()}):
        among = {name: when.among for name, when in conditions.items() if when.field == switch}
        updates = "all.map((among) => ({__type__: 'update', visible: among.includes(value)}))"
        result = updates if len(among) > 1 else f"{updates}[0]"
        components[switch].change(
            None,
            components[switch],
            [components[name] for name in among],
            js=f"(value) => {{ const all = {json.dumps(list(among.values()))}; return {result}; }}",
            **PAGE_EVENT,
        )
