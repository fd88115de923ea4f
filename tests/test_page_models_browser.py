"""Models in a real Chromium: looked at, fetched by a click, and then in the forms."""

import pytest
from fetched_models import EPIC, PART, serve_photo, wait_until
from local_hub import GATED_NOT_ACCEPTED, Fault
from page_server import Server
from page_visit import ARTEFACTS, NEEDS_CHROMIUM, WIDTHS, open_page, person, shown

pytestmark = NEEDS_CHROMIUM

CARD = "#photo-preflight"
DOWNLOAD = "#tab-photo .fetch-place"


@pytest.fixture
def server(home, hub):
    started = Server(home)
    started.studio.machine.start()
    yield started
    hub.stopped.set()
    started.studio.fetching.cancel()
    started.stop()


def picture(page, name):
    ARTEFACTS.mkdir(exist_ok=True)
    page.screenshot(path=ARTEFACTS / f"{name}.png", full_page=True)


def fits(page):
    return page.evaluate("document.documentElement.scrollWidth <= innerWidth")


def test_weights_are_fetched_by_a_click_and_then_in_the_form(chromium, server, hub):
    serve_photo(hub, 40_000)
    hub.fail(PART, Fault(stall=15_000))
    with person(chromium, server) as context:
        page = open_page(context, server)
        page.fill("#photo-prompt textarea", "a cat")
        assert shown(page, "button.generate").inner_text() == "Generate on demo weights"
        assert not page.locator("#photo-weights").is_visible()
        picture(page, "models-first-1440")
        page.click(f"{CARD} >> text=Fetch 6.9 GB")
        page.wait_for_selector(f"{DOWNLOAD} progress")
        page.wait_for_selector(f"{DOWNLOAD} >> text=/1[0-9] kB of 4[0-9] kB/")
        picture(page, "models-fetching-1440")
        for width in (390, 1440):
            page.set_viewport_size({"width": width, "height": WIDTHS[width]})
            assert fits(page)
            picture(page, f"models-fetching-{width}")

        # Another tab sees it too, and may stop it.
        other = open_page(context, server)
        other.wait_for_selector(f"{DOWNLOAD} progress")
        other.focus(f"{DOWNLOAD} button")
        other.wait_for_timeout(1200)
        assert other.evaluate("document.activeElement.textContent") == "Cancel"
        other.keyboard.press("Enter")
        page.wait_for_selector(f"{DOWNLOAD} >> text=What has arrived is kept")
        other.close()

        page.click(f"{CARD} button[data-fetch]")
        page.wait_for_selector(f"{CARD} >> text=diffusers · epiCRealism XL")
        page.wait_for_selector(f"{DOWNLOAD} >> text=epiCRealism XL is here.")
        wait_until(lambda: shown(page, "button.generate").inner_text() == "Generate")
        assert page.locator(".banner p >> visible=true").count() == 0
        page.click("text=Advanced >> visible=true")
        page.wait_for_selector("#photo-weights")
        assert page.input_value("#photo-weights input") == "epiCRealism XL"
        assert page.input_value("#photo-prompt textarea") == "a cat"
        assert page.inner_text("#fetch-status") == "epiCRealism XL is here."
        picture(page, "models-done-1440")


def test_failure_is_a_card_with_its_link_and_another_try(chromium, server, hub):
    serve_photo(hub)
    hub.fail(EPIC.repo, GATED_NOT_ACCEPTED)
    with person(chromium, server, 390) as context:
        page = open_page(context, server)
        page.click(f"{CARD} button[data-fetch]")
        card = page.wait_for_selector(f"{DOWNLOAD} .card.failed")
        assert "is not accepted yet" in card.inner_text()
        assert page.get_attribute(f"{DOWNLOAD} .card.failed a", "href") == EPIC.page
        assert fits(page)
        picture(page, "models-failed-390")
        page.click(f"{DOWNLOAD} button >> text=Try again")
        page.wait_for_selector(f"{CARD} >> text=diffusers · epiCRealism XL")


@pytest.mark.parametrize("width", [390, 1440])
def test_panel_lists_fetches_and_unloads(chromium, server, hub, width):
    serve_photo(hub)
    with person(chromium, server, width) as context:
        page = open_page(context, server)
        page.click("#models-title")
        page.wait_for_selector("#models-list [data-mode=photo][open]")
        assert page.locator("#models-list > details").count() == 9
        page.wait_for_selector("#models-machine dd")
        assert str(server.home.models) in page.inner_text("#models-machine")
        # The studio reads it in the background, and the open page takes it up.
        page.wait_for_selector("#models-machine >> text=GB of RAM")
        page.wait_for_selector(f"{CARD} >> text=/Needs .* GB of memory/")
        page.click("#models-machine >> text=Unload")
        page.wait_for_selector("#models-machine >> text=The memory is given back")
        assert server.work.released.wait(5)
        assert fits(page)
        picture(page, f"models-panel-{width}")
        page.click("#models-list [data-variant='epiCRealism XL'] button")
        page.wait_for_selector("#models-list [data-mode=photo] .chip >> text=Here")
        page.wait_for_selector(f"{CARD} >> text=diffusers · epiCRealism XL")
