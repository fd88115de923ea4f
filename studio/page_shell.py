"""The frame of the page: its header, the drawer with the modes, and the help.

What moves in it is in `page_shell.js`: below 1024 pixels the drawer lies over the page.
"""

import json
from collections.abc import Sequence
from html import escape

import gradio as gr

from studio.modes import MODES
from studio.page_forms import plain_html
from studio.page_welcome import AGAIN

GROUPS = {"image": "Images", "video": "Video"}
FIRST_MODE = next(iter(MODES))

SHORTCUTS = (
    (("Ctrl", "Enter"), "Generate with the form that is open"),
    (("Ctrl", "/"), "Open this help"),
    (("Esc",), "Close the menu or this help"),
    (("Tab",), "Go to the next control; with Shift to the one before"),
)
"""Keys and what they do. On a Mac the command key works like Ctrl."""

LICENCES = (
    ("AIO Studio", "MIT"),
    ("SDXL and models made from it", "CreativeML Open RAIL++-M"),
    ("Qwen-Image and Qwen-Image-Edit", "Apache-2.0"),
    ("LTX-2.3", "LTX-2 Community Licence"),
    ("Gemma, which reads prompts for LTX-2.3", "Gemma Terms of Use"),
    ("ComfyUI, which is installed apart", "GPL-3.0"),
    ("Gradio, diffusers, transformers", "Apache-2.0"),
    ("IBM Plex, the typeface", "SIL Open Font License 1.1"),
)

_TAGS = escape(json.dumps({mode.id: mode.tag for mode in MODES.values()}))

_HEADER = f"""<a class="skip" href="#form">Skip to the form</a>
<header class="top">
<button id="menu" type="button" aria-label="Menu" aria-controls="nav" aria-expanded="false">
<svg viewBox="0 0 20 20" width="20" height="20" aria-hidden="true">
<path class="bars" d="M3 5.5h14M3 10h14M3 14.5h14"/><path class="cross" d="M5 5l10 10M15 5 5 15"/>
</svg></button>
<h1>AIO <em>Studio</em></h1>
<span id="mode-tag" class="tag" data-tags="{_TAGS}">{MODES[FIRST_MODE].tag}</span>
</header>
<div id="scrim"></div>"""

NOTICE = '<p id="notice" class="quiet" role="status"></p>'
"""Where a link is answered that leads nowhere."""

PLACES = (("gallery", "gallery-title", "Gallery"), ("models", "models-details", "Models"))
"""Parts of the page that the drawer leads to: name, element, and what the link says."""

_SETTINGS = """<section aria-labelledby="settings-title">
<h2 id="settings-title" class="group">Settings</h2>
<label class="switch">
<input id="notify" type="checkbox" role="switch" aria-describedby="notify-note">
<span>Notify me when a long job ends</span></label>
<p id="notify-note" class="quiet" role="status"></p>
<label class="switch"><input id="tone" type="checkbox" role="switch">
<span>Play a tone when a long job ends</span></label>
</section>
<button id="help-open" type="button" class="drawer-link" aria-haspopup="dialog">Help</button>"""


def build_header() -> None:
    """The bar on top, and the help that opens over everything."""
    plain_html(_HEADER + _help(), elem_id="top")


def build_drawer() -> dict[str, gr.Button]:
    """The drawer. Returns a button for each mode, by its id."""
    with gr.Column(elem_id="nav", min_width=0):
        buttons: dict[str, gr.Button] = {}
        for makes, group in GROUPS.items():
            plain_html(f'<h2 class="group">{group}</h2>')
            with gr.Column(elem_classes="modes", min_width=0):
                buttons |= {
                    mode.id: gr.Button(mode.label, elem_id=f"nav-{mode.id}", elem_classes="mode")
                    for mode in MODES.values()
                    if mode.makes == makes
                }
        plain_html(_links() + _SETTINGS, elem_id="drawer-settings")
    return buttons


def _links() -> str:
    links = "".join(
        f'<button type="button" class="drawer-link" id="open-{name}" data-place="{element}">'
        f"{label}</button>"
        for name, element, label in PLACES
    )
    return f'<div class="places">{links}</div>'


def _help() -> str:
    return f"""<dialog id="help" aria-labelledby="help-title">
<h2 id="help-title" tabindex="-1" autofocus>Help</h2>
<h3>Keyboard</h3>{_list([(_keys(keys), escape(does)) for keys, does in SHORTCUTS])}
<p class="quiet">On a Mac, the command key works like Ctrl.</p>
<h3>Licences</h3>{_list([(escape(name), escape(licence)) for name, licence in LICENCES])}
<p class="quiet">What you make with a model is under the terms of its licence.</p>
{AGAIN}
<form method="dialog"><button class="plain">Close</button></form>
</dialog>"""


def _keys(keys: Sequence[str]) -> str:
    return " + ".join(f"<kbd>{key}</kbd>" for key in keys)


def _list(pairs: Sequence[tuple[str, str]]) -> str:
    rows = "".join(f"<dt>{name}</dt><dd>{value}</dd>" for name, value in pairs)
    return f'<dl class="facts">{rows}</dl>'
