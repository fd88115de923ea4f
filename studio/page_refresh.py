"""What the forms offer by the files of the home, which may have come since the page was built."""

from collections.abc import Iterator, Sequence

import gradio as gr

from studio.page_forms import NO_LORA, PAGE_EVENT, Form, demo_banner, examples_row, weights_labels
from studio.page_values import own_loras
from studio.studio import Studio
from studio.weights import DEMO


def connect_refresh(page: gr.Blocks, studio: Studio, forms: Sequence[Form]) -> None:
    """When the page is opened, and by a button that nobody sees, for the page's script to press.

    The numbers of the form that is shown are counted after it.
    """
    button = gr.Button("Refresh", elem_id="refresh-forms", visible="hidden")

    weights = [form.weights for form in forms]
    outputs = [
        one for form in forms for one in (form.weights, form.banner, form.examples, *form.loras)
    ]

    def refresh(*chosen: str) -> list[object]:
        labels = chosen or [""] * len(forms)
        pairs = zip(forms, labels, strict=True)
        return [update for form, label in pairs for update in _updates(form, studio, label)]

    opened = page.load(refresh, None, outputs, **PAGE_EVENT)
    pressed = button.click(refresh, weights, outputs, preprocess=False, **PAGE_EVENT)
    for event in (opened, pressed):
        event.then(None, None, None, js="() => studio.count()", **PAGE_EVENT)
    page.load(None, None, None, js="() => studio.fetching.start()", **PAGE_EVENT)


def _updates(form: Form, studio: Studio, chosen: str) -> Iterator[object]:
    home, mode = studio.home, form.mode
    labels = weights_labels(home, mode)
    label = _chosen(studio, labels, chosen)
    loras = [NO_LORA, *((name, name) for name in own_loras(home, mode.family))]
    yield gr.update(choices=labels, value=label, visible=len(labels) > 1)
    yield demo_banner(home, mode, label)
    yield examples_row(home, mode, label)
    yield from (gr.update(choices=loras) for _ in form.loras)


def _chosen(studio: Studio, labels: Sequence[str], chosen: str) -> str:
    """What was chosen, but for the demo where the real weights have just come."""
    status = studio.fetching.status
    fetched = status.order.variant if status and status.progress.state == "done" else ""
    if fetched in labels and chosen == DEMO:
        return fetched
    return chosen if chosen in labels else labels[0]
