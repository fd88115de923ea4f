"""The forms once models have arrived: what they offer and say, with what was filled in kept."""

from collections.abc import Callable, Iterator, Sequence

import gradio as gr

from studio.errors import StudioError
from studio.page_forms import PAGE_EVENT, Form, demo_banner, weights_labels
from studio.page_preflight import Card
from studio.page_read_out import read_out
from studio.page_values import Raw, form_values, safe_values
from studio.studio import Studio
from studio.weights import DEMO

Say = Callable[..., Card]
"""`preflight_card` of a mode and raw values."""


def connect_refresh(page: gr.Blocks, studio: Studio, forms: Sequence[Form], say: Say) -> None:
    """A button that nobody sees, for the page's script to press."""
    button = gr.Button("Refresh", elem_id="refresh-forms", visible="hidden")
    inputs = [component for form in forms for component in form.inputs]
    outputs = [
        component
        for form in forms
        for component in (
            form.weights,
            form.banner,
            form.read_out,
            form.preflight,
            form.generate,
        )
    ]

    def refresh(*values: object) -> list[object]:
        waiting = iter(values)
        updates: list[object] = []
        for form in forms:
            own = [next(waiting) for _ in form.inputs]
            updates += _updates(form, studio, own, say)
        return updates

    button.click(refresh, inputs, outputs, preprocess=False, **PAGE_EVENT)
    page.load(None, None, None, js="() => studio.fetching.start()", **PAGE_EVENT)


def _updates(form: Form, studio: Studio, values: Sequence[object], say: Say) -> Iterator[object]:
    home, mode = studio.home, form.mode
    labels = weights_labels(home, mode)
    raw = _values(form, studio, values)
    label = _chosen(studio, labels, str(raw["weights"]))
    now = {**raw, "weights": label}
    card = say(mode, now)
    yield gr.update(choices=labels, value=label, visible=len(labels) > 1)
    yield demo_banner(home, mode, label)
    yield read_out(home, studio.table, mode, now)
    yield card.html
    yield gr.update(value=card.button)


def _values(form: Form, studio: Studio, values: Sequence[object]) -> Raw:
    raw = form_values(form.mode, values)
    try:
        return safe_values(form.mode, raw, studio.home)
    except StudioError:
        # Whoever starts the job is told.
        return {"weights": raw["weights"]}


def _chosen(studio: Studio, labels: Sequence[str], chosen: str) -> str:
    """What was chosen, but for the demo where the real weights have just come."""
    status = studio.fetching.status
    fetched = status.order.variant if status and status.progress.state == "done" else ""
    if fetched in labels and chosen == DEMO:
        return fetched
    return chosen if chosen in labels else labels[0]
