"""Filling a form in a real Chromium: examples, the seed, what goes along to the next mode."""

import pytest
from page_visit import (
    ARTEFACTS,
    NEEDS_CHROMIUM,
    generate,
    open_page,
    person,
    picture,
    shown,
    wait_for_state,
)

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


def test_what_is_cut_off_is_shown_over_the_picture(chromium, server, tmp_path):
    tall = picture(tmp_path, "tall.png", (100, 400))
    with person(chromium, server) as context:
        page = open_page(context, server, "?mode=i2v")
        page.set_input_files("#i2v-image input[type=file]", tall)
        page.wait_for_selector("#i2v-read-out .figures[data-size]")
        page.wait_for_selector("#i2v-image img")
        page.wait_for_timeout(300)
        assert page.locator(".crop").count() == 0  # it is made in the picture's shape
        choose_shape(page, "i2v", "Square 1:1")
        page.wait_for_selector("#i2v-image .crop", state="attached")
        boxes = page.evaluate("""() => ["#i2v-image .crop", "#i2v-image img"].map((one) => {
          const { left, top, width, height } = document.querySelector(one).getBoundingClientRect();
          return [left + width / 2, top + height / 2, width, height]; })""")
        frame, image = boxes
        assert frame[:2] == pytest.approx(image[:2], abs=2)
        width, height = map(
            int, page.get_attribute("#i2v-read-out .figures", "data-size").split("x")
        )
        assert frame[2] / frame[3] == pytest.approx(width / height, rel=0.05)
        assert frame[3] < image[3] / 2
        page.locator("#i2v-image").screenshot(path=ARTEFACTS / "crop-1440.png")
        choose_shape(page, "i2v", "As the picture")
        page.wait_for_selector(".crop", state="detached")


def test_details_of_a_failure_are_copied(chromium, server):
    with person(chromium, server) as context:
        context.grant_permissions(["clipboard-read", "clipboard-write"])
        page = open_page(context, server)
        generate(page, "photo", "fail")
        wait_for_state(page, "failed")
        page.click("text=Copy the details")
        page.wait_for_selector("text=Copied")
        copied = page.evaluate("navigator.clipboard.readText()")
        assert copied.startswith("The picture could not be made: choose a smaller size.")
        assert "Stage: Sampling" in copied and "Traceback" in copied


def choose_shape(page, mode_id, label):
    page.click(f"#{mode_id}-shape input")
    page.click(f"[role=option] >> text={label}")


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
