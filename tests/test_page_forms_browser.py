"""Filling a form in a real Chromium: examples, the seed, what goes along to the next mode."""

import pytest
from page_visit import ARTEFACTS, NEEDS_CHROMIUM, generate, open_page, person, shown, wait_for_state

pytestmark = NEEDS_CHROMIUM

SEED = "#{}-seed :is(input, textarea)"


def choose(page, mode_id):
    page.click(f"#nav-{mode_id}")
    page.wait_for_selector(f"#{mode_id}-prompt")


def prompt_of(page, mode_id):
    return page.input_value(f"#{mode_id}-prompt textarea")


def wait_for_prompt(page, mode_id, prompt):
    page.wait_for_function(
        "([id, text]) => document.querySelector(`#${id}-prompt textarea`)?.value === text",
        arg=[mode_id, prompt],
    )


@pytest.mark.parametrize("width", [1440, 390])
def test_example_fills_the_form_and_runs(chromium, server, width):
    with person(chromium, server, width) as context:
        page = open_page(context, server, "?mode=keyframe")
        page.get_by_role("button", name="a red circle moving right on white").click()
        page.wait_for_selector("#keyframe-first img")
        page.wait_for_selector("#keyframe-last img")
        assert prompt_of(page, "keyframe") == "a red circle moving right on white"
        page.wait_for_selector("#keyframe-read-out >> text=pixels")
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        ARTEFACTS.mkdir(exist_ok=True)
        page.screenshot(path=ARTEFACTS / f"example-{width}.png", full_page=True)
        shown(page, "button.generate").click()
        page.wait_for_url("**job=*")
        wait_for_state(page, "done")


def test_prompt_and_settings_go_along_to_the_next_mode(chromium, server):
    with person(chromium, server) as context:
        page = open_page(context, server)
        page.fill("#photo-prompt textarea", "a lighthouse")
        page.fill(SEED.format("photo"), "77")
        page.click("#photo-preset >> text=Fast")
        choose(page, "t2v")
        wait_for_prompt(page, "t2v", "a lighthouse")
        assert page.input_value(SEED.format("t2v")) == "77"
        assert page.is_checked("#t2v-preset input[value=fast]")
        # What was carried goes on with its source, and what was written there stays.
        page.fill("#t2v-prompt textarea", "waves")
        choose(page, "photo")
        assert prompt_of(page, "photo") == "a lighthouse"
        page.fill("#photo-prompt textarea", "a harbour")
        choose(page, "image")
        wait_for_prompt(page, "image", "a harbour")
        choose(page, "t2v")
        assert prompt_of(page, "t2v") == "waves"
        page.click("#t2v-preset >> text=Quality")
        negative = page.input_value("#t2v-negative textarea")
        choose(page, "photo")
        assert page.input_value("#photo-negative textarea") != negative


def test_seed_is_kept_and_drawn_anew(chromium, server):
    with person(chromium, server) as context:
        page = open_page(context, server)
        keep = page.locator("#photo-seed").get_by_role("button", name="Keep")
        keep.click()
        page.wait_for_selector("#undo-lines >> text=Nothing was made here yet")
        generate(page, "photo", "a cat")
        wait_for_state(page, "done")
        made = page.inner_text("#job .facts dt:text-is('Seed') + dd")
        keep.click()
        assert page.input_value(SEED.format("photo")) == made
        generate(page, "photo", "a dog")
        wait_for_state(page, "done")
        page.wait_for_selector("#job .prompt >> text=a dog")
        assert page.inner_text("#job .facts dt:text-is('Seed') + dd") == made
        page.locator("#photo-seed").get_by_role("button", name="Random").click()
        assert page.input_value(SEED.format("photo")) == ""
