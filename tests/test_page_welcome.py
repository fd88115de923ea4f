"""The welcome of a first visit: what it says, and how it goes and comes back."""

import subprocess
import sys

import pytest
from page_server import Server
from page_visit import (
    ARTEFACTS,
    NEEDS_CHROMIUM,
    WIDTHS,
    generate,
    open_page,
    opened_drawer,
    person,
    shown,
)

from studio.fitting import GIB, Machine
from studio.home import Home

CARD = Machine("cuda", 24 * GIB, 22 * GIB, 64 * GIB, 60 * GIB, gpu="Some Card 4090")
FOCUSED = "document.activeElement.id"


@pytest.fixture(scope="module")
def open_server(tmp_path_factory):
    """A page that strangers can open, on a machine whose memory is known."""
    started = Server(Home(tmp_path_factory.mktemp("open-home")), strangers=True)
    started.studio.machine._machine = CARD
    yield started
    started.stop()


@pytest.fixture
def with_card(server, monkeypatch):
    monkeypatch.setattr(server.studio.machine, "_machine", CARD)
    return server


def told(client):
    return {one["about"]: one["says"] for one in client.get("/welcome").json()["lines"]}


def test_owner_is_told_of_the_machine_in_five_lines(with_card, visitor):
    lines = told(visitor)
    assert lines["This machine"].startswith("Some Card 4090, 26 GB of VRAM")
    assert lines["Runs now"] == "every mode, on demo weights."
    assert "SDXL (6.9 GB)" in lines["Worth fetching"] + lines.get("Too large here", "")
    assert lines["Your jobs"] == "go on when you close this page."
    assert len(lines) <= 5


def test_stranger_is_told_two_lines_and_nothing_of_the_machine(open_server):
    with open_server.visitor() as client:
        answer = client.get("/welcome")
        page = client.get("/config").text
    assert [one["about"] for one in answer.json()["lines"]] == ["Runs now", "Your jobs"]
    for secret in ("Some Card", "RAM", "CPU", "GB"):
        assert secret not in answer.text
    start = page.index("Welcome to AIO Studio")
    assert "data-place" not in page[start : page.index("</section>", start)]


def test_disk_that_cannot_be_read_is_a_sentence(server, visitor, monkeypatch):
    def refuse(folder):
        raise OSError(5, "Input/output error")

    monkeypatch.setattr("studio.weights_hub.disk.free_bytes", refuse)
    answer = visitor.get("/welcome")
    assert answer.status_code >= 400
    assert "Input/output error" in answer.json()["error"]


def test_answer_needs_no_torch(tmp_path):
    """In a process of its own, as torch may be here already for another test."""
    script = f"""
import subprocess
import sys
from pathlib import Path
from studio.home import Home
from studio.preflight_machine import first_look, lines_for_owner
lines_for_owner(first_look(Home(Path({str(tmp_path)!r}))))
assert "torch" not in sys.modules, "torch was imported"
"""
    subprocess.run([sys.executable, "-c", script], check=True)


@pytest.mark.browser
class TestInABrowser:
    pytestmark = NEEDS_CHROMIUM

    def test_welcome_is_shown_until_it_is_closed_for_good(self, chromium, with_card):
        with person(chromium, with_card, first_visit=True) as context:
            page = open_page(context, with_card)
            page.wait_for_selector("#welcome-lines >> text=Some Card 4090")
            # Nothing is in its way, and it is in nobody's.
            page.fill("#photo-prompt textarea", "a cat")
            page.focus("#welcome-title")
            page.keyboard.press("Tab")
            assert page.evaluate(FOCUSED) == "welcome-close"
            page.keyboard.press("Tab")
            assert page.evaluate("document.activeElement.textContent") == "Models"
            page.keyboard.press("Escape")
            page.wait_for_selector("#welcome", state="hidden")
            assert page.evaluate("document.activeElement.textContent") == "Photo"
            page.reload()
            page.wait_for_selector("#photo-prompt")
            assert not page.is_visible("#welcome")

            page.click("#help-open")
            page.click("#welcome-again")
            page.wait_for_selector("#welcome-lines >> text=Some Card 4090")
            assert page.evaluate(FOCUSED) == "welcome-title"
            assert not page.is_visible("#help")
            page.click("#welcome-close")
            page.wait_for_selector("#welcome", state="hidden")

    def test_first_thing_that_is_made_closes_it(self, chromium, server):
        with person(chromium, server, first_visit=True) as context:
            page = open_page(context, server)
            page.wait_for_selector("#welcome-lines dd")
            shown(page, "button.generate").click()
            page.wait_for_selector("#photo-refusal [role=alert]")
            assert page.is_visible("#welcome"), "a refusal is nothing made"
            generate(page, "photo", "a cat")
            page.wait_for_selector("#welcome", state="hidden")

    def test_it_leads_to_the_models_and_takes_up_what_is_learnt(
        self, chromium, server, monkeypatch
    ):
        with person(chromium, server, first_visit=True) as context:
            page = open_page(context, server)
            page.wait_for_selector("#welcome-lines >> text=memory not known")
            monkeypatch.setattr(server.studio.machine, "_machine", CARD)
            page.wait_for_selector("#welcome-lines >> text=Some Card 4090")
            page.click("#welcome >> text=Models")
            page.wait_for_selector("#models-list summary")
            assert page.is_visible("#welcome")

    def test_it_fits_every_width_and_scheme(self, chromium, with_card):
        ARTEFACTS.mkdir(exist_ok=True)
        pictures = {}
        for scheme in ("light", "dark"):
            with person(chromium, with_card, first_visit=True, color_scheme=scheme) as context:
                page = open_page(context, with_card)
                page.wait_for_selector("#welcome-lines >> text=Some Card 4090")
                page.wait_for_selector("#photo-read-out p")
                for width, height in WIDTHS.items():
                    page.set_viewport_size({"width": width, "height": height})
                    assert page.evaluate("document.documentElement.scrollWidth") <= width
                    page.screenshot(path=ARTEFACTS / f"welcome-{width}.png")
                pictures[scheme] = page.locator("#welcome").screenshot()
        assert pictures["light"] == pictures["dark"]

    def test_stranger_gets_two_lines_and_no_way_to_fetch(self, chromium, open_server):
        with person(chromium, open_server, 390, first_visit=True) as context:
            page = open_page(context, open_server)
            page.wait_for_selector("#welcome-lines dd")
            assert page.locator("#welcome-lines dd").count() == 2
            assert page.locator("#welcome button").all_inner_texts() == ["Start"]
            page.screenshot(path=ARTEFACTS / "welcome-strangers-390.png")
            page.click("#welcome-close")
            opened_drawer(page)
            page.click("#help-open")
            page.click("#welcome-again")
            page.wait_for_selector("#nav", state="hidden")
            assert page.is_visible("#welcome")

    def test_browser_that_keeps_nothing_still_has_a_page(self, chromium, server):
        """As Chromium does to a frame of another site where such cookies are blocked."""
        with person(chromium, server, first_visit=True) as context:
            context.add_init_script(
                "Object.defineProperty(window, 'localStorage', { get() {"
                " throw new DOMException('denied', 'SecurityError'); } });"
            )
            page = open_page(context, server)
            page.click("#welcome-close")
            page.wait_for_selector("#welcome", state="hidden")
            page.fill("#photo-prompt textarea", "a cat")
