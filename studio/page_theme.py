"""How the page looks: the dark slate and amber palette, and the style and script of the page."""

import inspect
from pathlib import Path

import gradio as gr

ASSETS = Path(__file__).parents[1] / "assets"
FAVICON = ASSETS / "favicon.svg"
STYLES = ("page.css", "page_shell.css", "page_gallery.css", "page_models.css")
SCRIPTS = (
    "page_dom.js",
    "page_gpu.js",
    "page_signs.js",
    "page_actions.js",
    "page_compare.js",
    "page_job.js",
    "page_jobs.js",
    "page_gallery.js",
    "page_restore.js",
    "page_fetch.js",
    "page_carry.js",
    "page_seed.js",
    "page_crop.js",
    "page_models.js",
    "page_welcome.js",
    "page_shell.js",
    "page.js",
)
"""In the order in which they need each other."""

AMBER = gr.themes.Color(
    "#FBE5C7", "#F5D29C", "#EFC174", "#E9B05A", "#E5A75B", "#E0A458",
    "#C68D3F", "#A6722E", "#7E5722", "#583C18", "#3A2810", name="amber",
)  # fmt: skip
SLATE = gr.themes.Color(
    "#E6E8EB", "#C9CDD3", "#ACB1B9", "#9097A0", "#7C8693", "#626972",
    "#4A4F58", "#363B43", "#262C35", "#1A1F26", "#12161B", name="slate",
)  # fmt: skip

PAGE, CARD, BORDER = "#12161B", "#1A1F26", "#262C35"
TEXT, ACCENT, ACCENT_HOVER = "#E6E8EB", "#E0A458", "#F0B870"
# The palette's own subdued grey has 4.4:1 on a card; WCAG AA asks for 4.5:1.
SUBDUED = "#9CA8B5"
# Borders of controls need 3:1 against what is around them (WCAG 1.4.11).
CONTROL_BORDER = "#626972"

_TOKENS = {
    "body_background_fill": PAGE,
    "body_text_color": TEXT,
    "body_text_color_subdued": SUBDUED,
    "background_fill_primary": PAGE,
    "background_fill_secondary": CARD,
    "border_color_primary": BORDER,
    "border_color_accent": ACCENT,
    "color_accent": ACCENT,
    "color_accent_soft": "#3A2810",
    "link_text_color": ACCENT_HOVER,
    "link_text_color_active": ACCENT_HOVER,
    "link_text_color_hover": "#FBE5C7",
    "link_text_color_visited": ACCENT_HOVER,
    "block_background_fill": CARD,
    "block_border_color": BORDER,
    "block_info_text_color": SUBDUED,
    # Not quite transparent: it lies over the picture once there is one.
    "block_label_background_fill": f"{CARD}cc",
    "block_label_text_color": TEXT,
    "block_label_border_width": "0px",
    "block_title_text_color": TEXT,
    "block_title_text_weight": "600",
    "block_radius": "6px",
    "block_shadow": "none",
    "panel_background_fill": CARD,
    "input_background_fill": PAGE,
    "input_background_fill_focus": PAGE,
    "input_border_width": "1px",
    "checkbox_border_width": "1px",
    "checkbox_label_border_width": "1px",
    "input_border_color": CONTROL_BORDER,
    "input_border_color_focus": ACCENT,
    "input_placeholder_color": SUBDUED,
    "input_shadow": "none",
    "input_shadow_focus": "0 0 0 1px #E0A458",
    "checkbox_background_color": PAGE,
    "checkbox_background_color_selected": ACCENT,
    "checkbox_border_color": CONTROL_BORDER,
    "checkbox_border_color_focus": ACCENT,
    "checkbox_border_color_selected": ACCENT,
    "checkbox_label_background_fill": PAGE,
    "checkbox_label_background_fill_hover": "#232930",
    "checkbox_label_background_fill_selected": "#3A2810",
    "checkbox_label_border_color": CONTROL_BORDER,
    "checkbox_label_border_color_selected": ACCENT,
    "checkbox_label_text_color": TEXT,
    "checkbox_label_text_color_selected": TEXT,
    "slider_color": ACCENT,
    "button_primary_background_fill": ACCENT,
    "button_primary_background_fill_hover": ACCENT_HOVER,
    "button_primary_border_color": ACCENT,
    "button_primary_text_color": PAGE,
    "button_primary_text_color_hover": PAGE,
    "button_secondary_background_fill": CARD,
    "button_secondary_background_fill_hover": "#232930",
    "button_secondary_border_color": BORDER,
    "button_secondary_text_color": TEXT,
    "error_background_fill": "#3A1E20",
    "error_border_color": "#F4A6A8",
    "error_text_color": "#F4A6A8",
    "error_icon_color": "#F4A6A8",
}


def build_theme() -> gr.themes.Base:
    """The theme, the same in a browser that asks for light and in one that asks for dark."""
    theme = gr.themes.Base(
        primary_hue=AMBER,
        secondary_hue=AMBER,
        neutral_hue=SLATE,
        font=(_local("IBM Plex Sans"), "ui-sans-serif", "system-ui", "sans-serif"),
        font_mono=(_local("IBM Plex Mono"), "ui-monospace", "Consolas", "monospace"),
    )
    for name, value in list(vars(theme).items()):
        if name.endswith("_dark") and value is not None:
            setattr(theme, name.removesuffix("_dark"), value)
    known = inspect.signature(theme.set).parameters
    twins = {f"{name}_dark": value for name, value in _TOKENS.items()}
    return theme.set(**_TOKENS, **{name: twins[name] for name in twins if name in known})


def _local(name: str) -> gr.themes.LocalFont:
    # Of the weights that come with Gradio only these are whole: its 600 lacks letters.
    return gr.themes.LocalFont(name, weights=(400, 700))


def build_head() -> str:
    """What goes into the page's head: Gradio changes style that is given to it in any other way."""
    style, script = (
        "".join((ASSETS / name).read_text(encoding="utf-8") for name in names)
        for names in (STYLES, SCRIPTS)
    )
    return f"<style>{style}</style><script>{script}</script>"
