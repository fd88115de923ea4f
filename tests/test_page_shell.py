"""The frame of the page in a real Chromium: drawer, links, keyboard, signs of jobs."""

import pytest
from page_visit import (
    ARTEFACTS,
    NEEDS_CHROMIUM,
    generate,
    open_page,
    opened_drawer,
    person,
    wait_for_state,
)

pytestmark = NEEDS_CHROMIUM

FOCUSED = "document.activeElement.id"
PLACES = "[...document.querySelectorAll('#form, #result')].map((one) => one.inert)"


def wait_closed(page):
    page.wait_for_selector("#nav", state="hidden")
    assert page.get_attribute("#menu", "aria-expanded") == "false"
    assert page.evaluate(FOCUSED) == "menu"
    assert page.evaluate(PLACES) == [False, False]


# The drawer


def test_drawer_lies_over_a_narrow_page_and_gives_the_focus_back(chromium, server):
    with person(chromium, server, 390) as context:
        page = open_page(context, server, "?mode=t2v")
        assert not page.is_visible("#nav-photo")
        assert page.evaluate("document.getElementById('nav').inert")
        opened_drawer(page)
        assert page.get_attribute("#menu", "aria-expanded") == "true"
        assert page.evaluate(FOCUSED) == "nav-t2v"
        assert page.evaluate(PLACES) == [True, True]
        page.keyboard.press("Escape")
        wait_closed(page)

        opened_drawer(page)
        page.mouse.click(330, 500)
        wait_closed(page)

        opened_drawer(page)
        page.click("#menu")
        wait_closed(page)

        opened_drawer(page)
        page.click("#nav-edit")
        wait_closed(page)
        assert page.inner_text("#mode-tag") == "EDIT"
        page.wait_for_selector("#edit-prompt")


def test_drawer_keeps_the_focus_while_it_is_open(chromium, server):
    with person(chromium, server, 820) as context:
        page = open_page(context, server)
        opened_drawer(page)
        page.focus("#menu")
        page.keyboard.press("Shift+Tab")
        assert page.evaluate(FOCUSED) == "help-open"
        page.keyboard.press("Tab")
        assert page.evaluate(FOCUSED) == "menu"
        for _ in range(20):
            page.keyboard.press("Tab")
            assert page.evaluate(
                "document.activeElement.closest('#nav') !== null"
                " || document.activeElement.id === 'menu'"
            )
        page.set_viewport_size({"width": 1440, "height": 900})
        page.wait_for_function("!document.getElementById('form').inert")
        assert page.get_attribute("#menu", "aria-expanded") == "false"


def test_drawer_is_above_everything_but_the_header(chromium, server):
    above = """() => {
      const over = (x, y) => document.elementFromPoint(x, y).closest("#nav, #scrim, .top, #hub");
      const found = new Set();
      for (let y = 60; y < innerHeight; y += 6)
        for (let x = 2; x < innerWidth; x += 6)
          found.add((over(x, y)?.id || "pierced") + (x < 220 ? " left" : " right"));
      return [...found].sort();
    }"""
    with person(chromium, server, 820) as context:
        page = open_page(context, server, "?mode=t2v")
        # What the Hub puts over the page of a Space, top right.
        page.evaluate("""() => { const hub = document.createElement("div"); hub.id = "hub";
          hub.style = "position:fixed;top:8px;right:12px;width:160px;height:36px;z-index:20";
          document.body.append(hub); }""")
        at = "document.elementFromPoint({}, {}).id"
        assert page.evaluate(at.format(700, 20)) == "hub"
        tag = page.locator("#mode-tag").bounding_box()
        assert tag["x"] + tag["width"] < 820 - 172
        page.wait_for_selector("#t2v-prompt")
        # No label of Gradio's comes through the header as it passes below.
        page.set_viewport_size({"width": 820, "height": 400})
        assert (
            page.evaluate("""() => {
          const pierced = [];
          for (let y = 0; y < 800; y += 10) {
            scrollTo(0, y);
            const found = document.elementFromPoint(50, 30);
            if (!found.closest(".top")) pierced.push(y);
          }
          return pierced; }""")
            == []
        )
        opened_drawer(page)
        page.wait_for_timeout(250)
        assert page.evaluate(above) == ["nav left", "scrim right"]
        assert page.evaluate(at.format(30, 26)) in ("menu", "")
        page.mouse.click(30, 26)
        wait_closed(page)


def test_drawer_is_pinned_on_a_wide_page(chromium, server):
    with person(chromium, server) as context:
        page = open_page(context, server)
        for width, pinned in ((1023, False), (1024, True), (1440, True)):
            page.set_viewport_size({"width": width, "height": 900})
            page.wait_for_function(
                f"document.getElementById('nav').inert === {str(not pinned).lower()}"
            )
            assert page.is_visible("#menu") != pinned
            page.wait_for_selector("#nav", state="visible" if pinned else "hidden")
        assert page.locator("#nav").bounding_box()["width"] == 220
        assert page.locator("#form").bounding_box()["x"] > 220
        page.evaluate("scrollTo(0, 200)")
        assert page.locator("#job-title").bounding_box()["y"] > 52


@pytest.mark.parametrize("width", [390, 1440])
def test_drawer_leads_to_the_models_and_the_gallery(chromium, server, width):
    with person(chromium, server, width) as context:
        page = open_page(context, server)
        for name, focused in (("models", "#models-details summary"), ("gallery", "#gallery-title")):
            if width < 1024:
                opened_drawer(page)
            page.click(f"#open-{name}")
            page.wait_for_function(f"document.activeElement.matches('{focused}')")
            page.wait_for_function(
                f"document.querySelector('{focused}').getBoundingClientRect().top < innerHeight"
            )
            if width < 1024:
                page.wait_for_selector("#nav", state="hidden")
        assert page.locator("#models-details").evaluate("(one) => one.open")


def test_page_looks_the_same_in_light_and_dark_and_stands_still(chromium, server):
    pictures = []
    for scheme in ("light", "dark"):
        with person(chromium, server, 820, color_scheme=scheme, reduced_motion="reduce") as context:
            page = open_page(context, server, "?mode=i2v")
            page.wait_for_selector("#i2v-read-out p")
            page.wait_for_timeout(300)
            for part in ("#nav", "#scrim"):
                assert page.locator(part).evaluate("(one) => getComputedStyle(one).transition") == (
                    "none"
                )
            pictures.append(page.screenshot())
    assert pictures[0] == pictures[1]


# Links


def test_links_lead_to_modes_and_jobs_and_back(chromium, server):
    with person(chromium, server) as context:
        page = open_page(context, server, "?mode=paint%3Cb%3E")
        assert page.inner_text("#notice") == ("There is no mode called “paint<b>”. This is Photo.")
        assert page.url.endswith("?mode=photo")
        job_id = generate(page, "photo", "a cat")
        wait_for_state(page, "done")
        page.click("#nav-t2v")
        page.wait_for_selector("#t2v-prompt")
        assert page.inner_text("#notice") == ""
        page.go_back()
        page.wait_for_selector("#photo-prompt")
        wait_for_state(page, "done")
        page.go_back()
        page.wait_for_selector("#job >> text=What you make appears here")
        page.go_forward()
        wait_for_state(page, "done")

        linked = open_page(context, server, f"?job={job_id}")
        wait_for_state(linked, "done")
        linked.wait_for_url(f"**/?job={job_id}&mode=photo")
        lost = open_page(context, server, "?mode=photo&job=nobody")
        lost.wait_for_selector("#job .quiet >> text=There is no such job")
        assert lost.locator("[role=alert], .card.failed").count() == 0


def test_keyboard_runs_a_form_and_opens_the_help(chromium, server):
    with person(chromium, server) as context:
        page = open_page(context, server)
        page.keyboard.press("Tab")
        page.keyboard.press("Enter")
        page.keyboard.press("Tab")
        assert page.evaluate("document.activeElement.closest('#form') !== null")
        page.keyboard.press("Control+/")
        assert page.is_visible("#help")
        assert "CreativeML Open RAIL++-M" in page.inner_text("#help")
        page.keyboard.press("Escape")
        assert not page.is_visible("#help")
        page.click("#help-open")
        page.mouse.click(5, 5)
        assert not page.is_visible("#help")
        page.fill("#photo-prompt textarea", "a cat")
        page.focus("#photo-prompt textarea")
        page.keyboard.press("Control+Enter")
        page.wait_for_url("**job=*")
        wait_for_state(page, "done")


# Signs of a job

PERCENT = "parseInt(document.title)"
ICON = "decodeURIComponent(document.querySelector('link[rel~=icon]').href)"

# Real notifications, counted; nobody is at the page.
AWAY = """document.hasFocus = () => false;
const Real = Notification; window.told = []; window.asked = 0;
window.Notification = class extends Real {
  constructor(title, more) { super(title, more); told.push([title, more.body]); }
  static requestPermission() { asked += 1; return Real.requestPermission(); }
};"""


def test_job_is_told_of_in_every_tab_and_at_its_end(chromium, server, slow):
    with person(chromium, server, permissions=["notifications"]) as context:
        context.add_init_script(AWAY)
        page = open_page(context, server)
        assert page.title() == "AIO Studio"
        assert (page.is_checked("#notify"), page.is_checked("#tone")) == (False, False)
        page.check("#notify")
        page.check("#tone")
        job_id = generate(page, "photo", "slow cat")
        page.wait_for_function(f"{PERCENT} > 0")
        assert "stroke-dasharray" in page.evaluate(ICON)
        page.wait_for_selector("#job .job-progress .meta >> text=/[0-9] s/")

        other = open_page(context, server, "?mode=t2v")
        wait_for_state(other, "running")  # it finds what goes on without a link
        assert "job=" not in other.url
        other.wait_for_function(f"{PERCENT} > 0")
        assert other.is_checked("#notify") and other.is_checked("#tone")
        assert other.evaluate("asked") == 0

        # So that it has taken long, as its runner counts.
        server.studio.runner._live[job_id].begun -= 30
        slow()
        for tab in (page, other):
            wait_for_state(tab, "done")
            tab.wait_for_function("document.title === 'Done · AIO Studio'")
            assert "#9fd3a8" in tab.evaluate(ICON)
        told = page.evaluate("told") + other.evaluate("told")
        assert told == [["Done: PHOTO", "slow cat"]]
        page.evaluate("document.hasFocus = () => true; dispatchEvent(new Event('focus'))")
        assert page.title() == "AIO Studio"


def test_short_job_ends_quietly_and_a_blocked_notification_says_why(chromium, server):
    with person(chromium, server) as context:
        context.add_init_script(AWAY)
        page = open_page(context, server)
        page.click("label:has(#notify)")
        page.wait_for_selector("#notify-note >> text=The browser blocks notifications")
        assert not page.is_checked("#notify")
        generate(page, "photo", "a cat")
        wait_for_state(page, "done")
        assert page.evaluate("told") == []


def test_time_is_told_before_and_during_a_job(chromium, server, slow):
    with person(chromium, server) as context:
        page = open_page(context, server, "?mode=image")
        generate(page, "image", "a cat")
        wait_for_state(page, "done")
        page.reload()
        page.wait_for_selector("#image-read-out >> text=/ · about (a second|[0-9]+ (s|min))/")
        generate(page, "image", "slow cat")
        page.wait_for_selector("#job .meta >> text=/[0-9.]+ s · (about .* left|almost done)/")
        slow()
        wait_for_state(page, "done")


# The queue


def test_queue_is_put_in_order_and_emptied_from_the_list(chromium, server, slow):
    def listed():
        return page.locator("#jobs li .name").all_inner_texts()[:3]

    with person(chromium, server, 390) as context:
        page = open_page(context, server)
        for prompt in ("slow runs", "slow first", "slow second"):
            generate(page, "photo", prompt)
        page.wait_for_selector('#jobs li:nth-child(3) >> text="number 2"')
        assert listed() == ["slow runs", "slow first", "slow second"]
        sooner = page.get_by_role("button", name="Sooner: slow second")
        sooner.focus()
        page.keyboard.press("Enter")
        page.wait_for_selector('#jobs li:nth-child(2) >> text="slow second"')
        assert listed() == ["slow runs", "slow second", "slow first"]
        assert sooner.evaluate("(button) => button === document.activeElement")
        assert page.evaluate("document.documentElement.scrollWidth") <= 390
        ARTEFACTS.mkdir(exist_ok=True)
        page.locator("#jobs").screenshot(path=ARTEFACTS / "queue-390.png")
        page.get_by_role("button", name="Cancel: slow second").click()
        page.wait_for_selector('#jobs li:has-text("slow second") .chip[data-state="cancelled"]')
        assert page.get_by_role("button", name="Sooner: slow second").count() == 0
        slow()
        page.wait_for_selector('#jobs li:has-text("slow first") .chip[data-state="done"]')
