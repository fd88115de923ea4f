"""How fast, how light and how accessible the page is, in a real Chromium."""

import os
import subprocess
import tarfile
import time
from statistics import median

import pytest
from page_visit import (
    ARTEFACTS,
    NEEDS_CHROMIUM,
    WIDTHS,
    generate,
    open_page,
    opened_drawer,
    person,
    shown,
    wait_for_state,
)

pytestmark = [*NEEDS_CHROMIUM, pytest.mark.alone]


@pytest.fixture(scope="session")
def axe(request):
    """axe-core's script, from the npm registry, kept in pytest's cache."""
    folder = request.config.cache.mkdir("axe-core")
    script = folder / "package" / "axe.min.js"
    if not script.exists():
        command = ["npm", "pack", "axe-core@4", "--silent"]
        try:
            subprocess.run(command, cwd=folder, check=True, timeout=60, capture_output=True)
        except (OSError, subprocess.SubprocessError) as error:
            pytest.skip(f"axe-core cannot be had from the npm registry: {error}")
        with tarfile.open(next(folder.glob("axe-core-*.tgz"))) as package:
            package.extract("package/axe.min.js", folder, filter="data")
    return script.read_text()


def violations(page):
    """What axe-core finds serious or critical."""
    found = page.evaluate("async () => (await axe.run()).violations")
    return [
        (one["id"], [node["html"][:200] for node in one["nodes"]])
        for one in found
        if one["impact"] in ("serious", "critical")
    ]


def test_axe_finds_nothing_serious(chromium, server, axe):
    with person(chromium, server, first_visit=True) as context:
        page = open_page(context, server, "?mode=photo")
        page.evaluate(axe)
        page.wait_for_selector("#welcome-lines dd")
        assert violations(page) == [], "welcome"
        generate(page, "photo", "fail this one")
        wait_for_state(page, "failed")
        for mode_id in ("photo", "edit", "lipsync", "style"):
            page.evaluate("(id) => document.getElementById(id).click()", f"nav-{mode_id}")
            page.wait_for_selector(f"#{mode_id}-prompt")
            shown(page, ".advanced button.label-wrap").click()
            assert violations(page) == [], mode_id
        page.click("#open-models")
        page.wait_for_selector("#models-list summary")
        page.wait_for_selector("#models-machine >> text=AIO_VRAM")
        assert violations(page) == [], "models"
        for width in (820, 390):
            page.set_viewport_size({"width": width, "height": WIDTHS[width]})
            opened_drawer(page)
            page.wait_for_timeout(250)
            page.screenshot(path=ARTEFACTS / f"drawer-{width}.png")
            assert violations(page) == [], ("drawer", width)
            page.keyboard.press("Escape")
            assert violations(page) == [], width
        page.keyboard.press("Control+/")
        page.screenshot(path=ARTEFACTS / "help-390.png")
        assert violations(page) == [], "help"


SHIFTS = """window.shift = 0; new PerformanceObserver((list) => {
  for (const entry of list.getEntries()) if (!entry.hadRecentInput) shift += entry.value;
}).observe({ type: "layout-shift", buffered: true });"""


def test_page_is_light_and_stands_still(chromium, server):
    for width in (1440, 390):
        with person(chromium, server, width, first_visit=True) as context:
            context.add_init_script(SHIFTS)
            answers = []
            context.on("response", lambda answer, answers=answers: answers.append(answer))
            page = open_page(context, server, "?mode=t2v")
            page.wait_for_selector("#t2v-read-out .figures")
            page.wait_for_selector("#welcome-lines dd")
            page.wait_for_timeout(300)
            own = sum(len(one.body()) for one in answers if "/assets/" not in one.url and one.ok)
            assert own < 3_000_000
            assert page.evaluate("shift") < 0.01


def test_page_can_be_used_within_two_seconds(chromium, server):
    taken = []
    # The best of many: what else the machine does is no fault of the page.
    while len(taken) < 10 and (not taken or min(taken) >= 2):
        with person(chromium, server, first_visit=True) as context:
            page = context.new_page()
            started = time.monotonic()
            page.goto(server.url)
            page.fill("#photo-prompt textarea", "a cat")
            taken.append(time.monotonic() - started)
    if min(taken) >= 2 and os.getloadavg()[0] > 2 * os.cpu_count():
        pytest.skip(f"the machine is busy with something else: {min(taken):.1f} s")
    assert min(taken) < 2, taken


def test_click_is_answered_while_a_job_runs(chromium, server, slow):
    # From the click to the frame after the one that shows the mode.
    click = """(mode) => new Promise((done) => {
      const started = performance.now();
      const look = () => document.getElementById(`${mode}-prompt`)?.offsetParent
        ? done(performance.now() - started) : requestAnimationFrame(look);
      document.getElementById(`nav-${mode}`).click();
      look();
    })"""
    with person(chromium, server) as context:
        page = open_page(context, server)
        generate(page, "photo", "slow cat")
        wait_for_state(page, "running")
        modes = ("image", "photo")
        for mode in modes:  # Gradio builds a form when it is first looked at
            page.evaluate(click, mode)
        taken = [page.evaluate(click, modes[turn % 2]) for turn in range(8)]
        assert median(taken) < 100
        page.click("#job >> text=Cancel")
        wait_for_state(page, "cancelled")


def test_watching_asks_little(chromium, server, slow):
    with person(chromium, server) as context:
        page = open_page(context, server)
        asked = []
        page.on("request", lambda request: asked.append(request.url))
        page.wait_for_timeout(2000)  # what a page asks at its start
        asked.clear()
        page.wait_for_timeout(1000)
        assert len(asked) <= 2  # nothing runs
        generate(page, "photo", "slow cat")
        wait_for_state(page, "running")
        for _ in range(3):
            with page.expect_request("**/jobs/*"):
                pass
        asked.clear()
        page.wait_for_timeout(1500)
        assert len(asked) <= 9
        page.evaluate("""() => {
          Object.defineProperty(document, "hidden", { get: () => true });
          document.dispatchEvent(new Event("visibilitychange")); }""")
        page.wait_for_timeout(2500)  # what was about to be asked
        asked.clear()
        page.wait_for_timeout(4000)
        assert len(asked) <= 3  # ten where somebody looks
        slow()
