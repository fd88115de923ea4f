"""The card above Generate: what will run, what is missing of it, and the button that fetches it."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from html import escape

from studio.engine import ENGINES
from studio.errors import StudioError
from studio.modes import Mode
from studio.needs import Need, model_settings
from studio.page_read_out import seconds_asked
from studio.preflight import Preflight, preflight
from studio.preflight_summary import gigabytes
from studio.registry import Variant
from studio.studio import Studio


@dataclass(frozen=True)
class Card:
    """HTML, and what stands on the button that generates."""

    html: str
    button: str


def preflight_card(
    studio: Studio, engine: str, mode: Mode, raw: Mapping[str, object], strangers: bool
) -> Card:
    """The card for a form's values. `strangers` are not told of the machine, and fetch nothing."""
    machine = None if strangers else studio.machine.machine
    try:
        found = preflight(studio.home, mode, raw, machine, engine)
    except StudioError as error:
        return Card(_card(_paragraph(str(error), "warning")), "Generate")
    lent = seconds_asked(studio.visits, studio.home, mode, raw) if studio.visits else ""
    gpu = [_paragraph(lent, "quiet")] if lent else []
    button = "Generate on demo weights" if found.weights.demo else "Generate"
    return Card(_card(*_lines(found, raw, strangers), *gpu), button)


def _card(*lines: str) -> str:
    return f'<section class="preflight"><h3>What will run</h3>{"".join(lines)}</section>'


def _lines(found: Preflight, raw: Mapping[str, object], strangers: bool) -> Iterator[str]:
    weights = "demo weights" if found.weights.demo else found.weights.label
    yield _paragraph(f"{ENGINES[found.weights.engine].label} · {weights}", "what")
    if found.variant and found.missing:
        yield f"<p>{escape(_what_is_missing(found, found.variant))}</p>"
    if found.fit:
        yield _paragraph(found.fit, "quiet")
    if found.variant and found.missing:
        yield from _to_fetch(found, found.variant, raw, strangers)


def _to_fetch(
    found: Preflight, variant: Variant, raw: Mapping[str, object], strangers: bool
) -> Iterator[str]:
    yield f'<p class="quiet">{_licences(found.licences)}</p>'
    yield _files(found.missing)
    if strangers:
        yield _paragraph("Whoever runs this studio can fetch them.", "quiet")
        return
    size = gigabytes(found.gigabytes_missing)
    if not found.has_room:
        free = gigabytes(found.free_gigabytes)
        room = f"Only {free} of disk are free: free some space, or set HF_HOME to another disk."
        yield _paragraph(room, "warning")
    order = {
        "mode": found.mode.id,
        "variant": variant.label,
        "values": model_settings(found.mode, raw),
    }
    yield (
        f'<button type="button" class="plain" data-fetch="{escape(json.dumps(order))}">'
        f"Fetch {size}</button>"
    )


def _what_is_missing(found: Preflight, variant: Variant) -> str:
    size = gigabytes(found.gigabytes_missing)
    if not found.weights.demo:
        return f"These settings need {size} more."
    return f"Real weights: {variant.label} for {ENGINES[variant.engine].label}, {size} to fetch."


def _licences(pages: Mapping[str, str]) -> str:
    links = ", ".join(link(name, page) for name, page in pages.items())
    return f"{'Licence' if len(pages) == 1 else 'Licences'}: {links}"


def link(text: str, address: str) -> str:
    """A link that leads out of the page."""
    return f'<a href="{escape(address)}" target="_blank" rel="noopener">{escape(text)}</a>'


def _files(missing: tuple[Need, ...]) -> str:
    rows = "".join(
        f"<li>{escape(need.model.name)} <span>{gigabytes(need.model.gigabytes)}"
        f"{', damaged' if need.damaged else ''}</span></li>"
        for need in missing
    )
    count = "1 file or folder" if len(missing) == 1 else f"{len(missing)} files and folders"
    return f"<details><summary>{count}</summary><ul>{rows}</ul></details>"


def _paragraph(text: str, kind: str) -> str:
    return f'<p class="{kind}">{escape(text)}</p>'
