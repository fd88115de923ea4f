"""Where a GPU is lent to visitors: the event by which a visitor is known anew.

Only Gradio's events bring the visitor's token, so the page's script has one run before it asks a
route of ours for another try; the job's call is then made in the context of that event.
"""

import gradio as gr

from studio.page_forms import PAGE_EVENT
from studio.page_owner import owner_of
from studio.zero_visits import Visits


def connect_visit(visits: Visits) -> None:
    """A button that nobody sees, for the page's script to press."""
    button = gr.Button("Visit", elem_id="gpu-visit", visible="hidden")

    def visit(request: gr.Request) -> None:
        owner = owner_of(request)
        if owner is not None:
            visits.keep(owner)

    button.click(visit, None, None, api_name="visit", **PAGE_EVENT).then(
        None, None, None, js="() => studio.gpu.came()", **PAGE_EVENT
    )
