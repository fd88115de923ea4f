"""A person at the page: a real Chromium that fails on console errors and on foreign requests."""

import shutil
from contextlib import contextmanager
from pathlib import Path

import pytest
from PIL import Image

CHROMIUM = next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None
)
ARGUMENTS = (
    "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run"
    " --disable-background-networking --disable-component-update --disable-sync"
).split()
ARTEFACTS = Path(__file__).parents[1] / "test-artefacts"
WIDTHS = {1440: 900, 820: 1100, 390: 844}

XSS = '<img src=x onerror="window.hacked=1">'

NEEDS_CHROMIUM = [
    pytest.mark.browser,
    pytest.mark.skipif(CHROMIUM is None, reason="no Chromium is installed"),
]


@contextmanager
def started_chromium():
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    with playwright.sync_playwright() as started:
        browser = started.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        yield browser
        browser.close()


@contextmanager
def person(chromium, server, width=1440, first_visit=False, **more):
    """A browser of its own. Fails on an error in the console and on a request to another host.

    Who has been here before is not welcomed.
    """
    before = [] if first_visit else [{"name": "aio.welcomed", "value": "yes"}]
    context = chromium.new_context(
        viewport={"width": width, "height": WIDTHS[width]},
        storage_state={"cookies": [], "origins": [{"origin": server.url, "localStorage": before}]},
        **more,
    )
    context.set_default_timeout(60_000)
    errors, elsewhere = [], []

    def look_at(request):
        # A heartbeat would hold one of the six connections that a browser gives all tabs.
        own = request.url.startswith((server.url, "data:", "blob:"))
        if not own or "heartbeat" in request.url:
            elsewhere.append(request.url)

    context.on("request", look_at)
    context.on("console", lambda line: errors.append(line.text) if line.type == "error" else None)
    context.on("weberror", lambda error: errors.append(str(error.error)))
    yield context
    hacked = [page.evaluate("window.hacked") for page in context.pages]
    context.close()
    assert elsewhere == []
    assert not any(hacked)
    # Chromium logs every answer that is not 200, also those that a test is after.
    assert [line for line in errors if "Failed to load resource" not in line] == []


def open_page(context, server, query=""):
    page = context.new_page()
    page.goto(f"{server.url}/{query}")
    page.wait_for_selector("#nav button[aria-current]", state="attached")
    return page


def shown(page, selector):
    """The first element that the selector finds and that can be seen."""
    return page.locator(selector).locator("visible=true").first


def generate(page, mode_id, prompt):
    page.fill(f"#{mode_id}-prompt textarea", prompt)
    shown(page, "button.generate").click()
    page.wait_for_url("**job=*")
    return page.url.split("job=")[1]


def wait_for_state(page, state):
    page.wait_for_selector(f'#job .job-head .chip[data-state="{state}"]')


def opened_drawer(page):
    page.click("#menu")
    page.wait_for_function("document.getElementById('nav').getBoundingClientRect().left === 0")


def picture(folder, name, size=(96, 64)):
    path = folder / name
    Image.new("RGB", size, (200, 120, 40)).save(path)
    return path
