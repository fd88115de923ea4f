"""The page: nine forms, the job that is looked at, and the list of jobs.

A form only hands its values over and gets a job's id back. What becomes of the job is fetched
from `page_routes` by the page's script, so nothing is lost when the page is closed.
"""

import sys
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager, redirect_stdout
from functools import partial
from typing import Any

import gradio as gr
from fastapi import FastAPI
from starlette.middleware import Middleware

from studio.errors import BadInput, StudioError, leave_out
from studio.inputs import MAX_UPLOAD_BYTES
from studio.modes import MODES, Mode
from studio.page_api import add_endpoints, has_mcp, queue_request
from studio.page_carry import connect_carry
from studio.page_fill import connect_fill
from studio.page_forms import (
    PAGE_EVENT,
    Form,
    build_form,
    demo_banner,
    element_id,
    examples_row,
    plain_html,
)
from studio.page_gallery import GALLERY, RESTORED
from studio.page_gallery_routes import GalleryRoutes
from studio.page_gpu import connect_visit
from studio.page_models import PANEL
from studio.page_models_routes import ModelsRoutes
from studio.page_preflight import Card, preflight_card
from studio.page_read_out import read_out
from studio.page_refresh import connect_refresh
from studio.page_routes import PageRoutes
from studio.page_shell import FIRST_MODE, NOTICE, build_drawer, build_header
from studio.page_theme import FAVICON, build_head, build_theme
from studio.page_uploads import OwnUploads
from studio.page_values import form_values, safe_values
from studio.page_welcome import WelcomeRoutes, welcome
from studio.studio import Studio

Say = Callable[..., Card]
"""`preflight_card` of a mode and raw values."""

TITLE = "AIO Studio"
# An upload is copied into the home when its job is queued; what was never used goes after a day.
CACHE_SECONDS = (3600, 24 * 3600)

# Filled by the script; `role=status` has screen readers say what changes in it.
RESULT = """<section aria-labelledby="job-title">
<h2 id="job-title">Result</h2>
<p id="job-status" role="status" class="unseen"></p>
<div id="job">
<p class="quiet">What you make appears here. Jobs go on when you close the page.</p>
</div>
</section>
<section aria-labelledby="jobs-title">
<h2 id="jobs-title">Your jobs</h2>
<ul id="jobs"></ul>
<p id="jobs-empty" class="quiet">Nothing made yet.</p>
<button id="jobs-more" type="button" class="plain" hidden>Show older</button>
</section>"""


def build_page(studio: Studio, engine: str = "", strangers: bool = False) -> gr.Blocks:
    """The page of a studio; `engine` is forced for the modes that it can run. `strangers` as in
    `launch_page`.
    """
    page = gr.Blocks(
        title=TITLE, analytics_enabled=False, fill_width=True, delete_cache=CACHE_SECONDS
    )
    say = partial(preflight_card, studio, engine, strangers=strangers)
    with page:
        build_header()
        with gr.Row(elem_id="body"):
            buttons = build_drawer()
            with gr.Column(elem_id="form", min_width=0):
                plain_html(NOTICE)
                plain_html(welcome(strangers))
                plain_html(RESTORED)
                tabs, forms = _build_forms(studio, say)
                plain_html(PANEL)
            with gr.Column(elem_id="result", min_width=0):
                plain_html(RESULT)
                plain_html(GALLERY)
        connect_fill(studio, forms)
        answer = gr.JSON(visible=False)
        connect_carry(tabs, buttons, forms)
        for form in forms:
            _connect(form, studio, engine, answer, say)
        page.load(None, None, tabs, js="() => studio.start()", **PAGE_EVENT)
        connect_refresh(page, studio, forms)
        if studio.visits is not None:
            connect_visit(studio.visits)
        add_endpoints(studio, engine)
    return page


def launch_page(
    page: gr.Blocks,
    studio: Studio,
    *,
    port: int,
    host: str = "127.0.0.1",
    share: bool = False,
    auth: tuple[str, str] | None = None,
    strangers: bool = False,
    engine: str = "",
    framed: bool = False,
) -> list[str]:
    """Serves the page and returns its addresses at once. `strangers`: others than the owner of the
    machine can open it, so nothing on it tells of the machine. `framed` as in `Host`.
    """
    # Gradio says where the MCP tools are, quiet or not; standard output is for our own lines.
    with redirect_stdout(sys.stderr):
        _, local, public = page.launch(
            server_name=host,
            server_port=port,
            share=share,
            auth=auth,
            prevent_thread_lock=True,
            quiet=True,
            # Skips Gradio's own look at the page, which ends the start if it takes three seconds.
            _frontend=False,
            **_as_served(studio, engine, strangers, framed, alone=not strangers and auth is None),
        )
    return [local, *([public] if public else [])]


def page_app(
    page: gr.Blocks,
    studio: Studio,
    *,
    lifespan: Callable[[FastAPI], AbstractAsyncContextManager[None]],
    auth: tuple[str, str] | None = None,
    engine: str = "",
) -> FastAPI:
    """The page for a host that brings its own server, open to strangers."""
    server = FastAPI(lifespan=lifespan, docs_url=None, redoc_url=None, openapi_url=None)
    served = _as_served(studio, engine, strangers=True)
    gr.mount_gradio_app(server, page, path="/", auth=auth, show_error=False, **served)
    return server


def _as_served(
    studio: Studio, engine: str, strangers: bool, framed: bool = False, alone: bool = False
) -> dict[str, Any]:
    """What both ways to serve the page have in common."""
    if strangers:
        leave_out(*studio.home.places)
    routes = PageRoutes(
        studio,
        tell_details=not strangers,
        more=[
            *GalleryRoutes(studio).routes(),
            *ModelsRoutes(studio, engine, strangers).routes(),
            *WelcomeRoutes(studio, engine, strangers).routes(),
        ],
        around=[Middleware(OwnUploads, uploads=studio.uploads)],
        framed=framed,
        alone=alone,
    )
    return {
        "theme": build_theme(),
        "head": build_head(),
        "favicon_path": str(FAVICON),
        "app_kwargs": routes.app_kwargs(),
        "max_file_size": MAX_UPLOAD_BYTES,
        "footer_links": [],
        "run_history": False,
        "enable_monitoring": False,
        "ssr_mode": False,
        "mcp_server": has_mcp(),
    }


def _build_forms(studio: Studio, say: Say) -> tuple[gr.Tabs, list[Form]]:
    forms = []
    with gr.Tabs(selected=FIRST_MODE, elem_id="tabs") as tabs:
        for mode in MODES.values():
            with gr.Tab(mode.label, id=mode.id, elem_id=f"tab-{mode.id}"):
                plain_html(f"<h2>{mode.label}</h2><p class='quiet'>{mode.does}.</p>")
                forms.append(build_form(mode, studio.home, say(mode, {})))
    return tabs, forms


def _connect(form: Form, studio: Studio, engine: str, answer: gr.JSON, say: Say) -> None:
    """The events of one form. Values come unprocessed: `page_values` checks them itself."""
    inputs = list(form.inputs)
    form.generate.click(
        _generate(form.mode, studio, engine), inputs, answer, preprocess=False, **PAGE_EVENT
    ).then(
        None,
        answer,
        None,
        js=f"(answer) => studio.answered('{form.mode.id}', answer)",
        **PAGE_EVENT,
    )
    # Pressed by the script when the form is shown. One event with the changes, so that no older
    # answer comes after a newer one.
    count = gr.Button("Count", elem_id=element_id(form.mode, "count"), visible="hidden")
    gr.on(
        [count.click, *(component.change for component in form.sizing)],
        _say_numbers(form.mode, studio, say),
        inputs,
        [form.read_out, form.preflight, form.generate],
        preprocess=False,
        trigger_mode="always_last",
        **PAGE_EVENT,
    )
    form.weights.change(
        lambda label: [say(studio.home, form.mode, label) for say in (demo_banner, examples_row)],
        form.weights,
        [form.banner, form.examples],
        **PAGE_EVENT,
    )


def _generate(mode: Mode, studio: Studio, engine: str) -> Callable[..., dict[str, object]]:
    def generate(request: gr.Request, *values: object) -> dict[str, object]:
        try:
            job = queue_request(studio, engine, mode, form_values(mode, values), request)
        except StudioError as error:
            return {"error": str(error), **_place(mode, error)}
        return {"job": job.id}

    return generate


def _place(mode: Mode, error: StudioError) -> dict[str, object]:
    """Which control is to blame, where one is."""
    blamed = error.field if isinstance(error, BadInput) else None
    found = [field for field in mode.fields if field.name == blamed]
    return {"element": element_id(mode, found[0].name), "label": found[0].label} if found else {}


def _say_numbers(mode: Mode, studio: Studio, say: Say) -> Callable[..., list[object]]:
    def say_numbers(*values: object) -> list[object]:
        try:
            raw = safe_values(mode, form_values(mode, values), studio.home)
        except StudioError as error:
            return [str(error), gr.skip(), gr.skip()]
        card = say(mode, raw)
        said = read_out(studio.home, studio.table, mode, raw)
        return [said, card.html, gr.update(value=card.button)]

    return say_numbers
