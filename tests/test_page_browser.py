"""The page in a real Chromium: what a person sees and does."""

from page_server import Server
from page_visit import (
    ARTEFACTS,
    NEEDS_CHROMIUM,
    WIDTHS,
    XSS,
    generate,
    open_page,
    person,
    picture,
    shown,
    wait_for_state,
)

from studio.modes import MODES

pytestmark = NEEDS_CHROMIUM


def test_page_fits_phone_tablet_and_desk(chromium, server):
    ARTEFACTS.mkdir(exist_ok=True)
    with person(chromium, server) as context:
        page = open_page(context, server, "?mode=lipsync")
        page.wait_for_selector("#lipsync-prompt")
        assert page.inner_text("#mode-tag") == "LIPSYNC"
        page.click("text=Advanced >> visible=true")
        for width, height in WIDTHS.items():
            page.set_viewport_size({"width": width, "height": height})
            assert page.evaluate("document.documentElement.scrollWidth") <= width
            page.screenshot(path=ARTEFACTS / f"form-{width}.png", full_page=True)


def test_every_mode_fits_and_is_pictured(chromium, server):
    with person(chromium, server) as context:
        page = open_page(context, server)
        for mode_id in MODES:
            page.evaluate("(id) => document.getElementById(id).click()", f"nav-{mode_id}")
            page.wait_for_selector(f"#{mode_id}-prompt")
            for width, height in WIDTHS.items():
                page.set_viewport_size({"width": width, "height": height})
                assert page.evaluate("document.documentElement.scrollWidth") <= width
                page.screenshot(path=ARTEFACTS / f"mode-{mode_id}-{width}.png", full_page=True)


def test_form_shows_what_acts_and_keeps_what_was_written(chromium, server):
    lora = server.home.models / "loras" / "soft.safetensors"
    lora.parent.mkdir(parents=True)
    lora.touch()
    with person(chromium, server) as context:
        page = open_page(context, server)
        assert page.get_attribute("#nav-photo", "aria-current") == "page"
        page.focus("#nav-t2v")
        page.keyboard.press("Enter")
        page.wait_for_selector("#t2v-prompt")
        assert "mode=t2v" in page.url
        assert shown(page, ".banner p").inner_text().startswith("Demo weights")
        assert page.get_attribute("#t2v-seed :is(input, textarea)", "placeholder") == "random"

        assert not page.locator("#t2v-negative").is_visible()
        page.click("#t2v-preset >> text=Quality")
        page.fill("#t2v-negative textarea", "fog")
        page.click("#t2v-preset >> text=Fast")
        page.wait_for_selector("#t2v-negative", state="hidden")
        page.click("#t2v-preset >> text=Quality")
        page.wait_for_selector("#t2v-negative")
        assert page.input_value("#t2v-negative textarea") == "fog"

        page.click("text=Advanced >> visible=true")
        page.fill("#t2v-width :is(input, textarea)", "300")
        page.wait_for_selector("#t2v-read-out >> text=/256 x 256|320 x 256|320 x 192/")
        page.fill("#t2v-width :is(input, textarea)", "9")
        shown(page, "button.generate").click()
        card = page.wait_for_selector("#t2v-refusal [role=alert]")
        assert "Prompt is empty" in card.inner_text()
        page.fill("#t2v-prompt textarea", "a cat")
        shown(page, "button.generate").click()
        page.wait_for_selector("#t2v-refusal >> text=Width must be between")
        page.click("#t2v-refusal button")
        page.wait_for_function("document.activeElement.closest('#t2v-width') !== null")
        assert page.locator("#t2v-width.refused").count() == 1

        page.fill("#t2v-width :is(input, textarea)", "")
        assert not page.locator("#t2v-loras-2").is_visible()
        page.click("#t2v-loras-1 input")
        page.click("text=soft.safetensors >> visible=true")
        page.wait_for_selector("#t2v-loras-2")
        lora.unlink()
        page.click("text=Advanced >> visible=true")
        shown(page, "button.generate").click()
        page.click("#t2v-refusal >> text=Go to LoRAs")
        page.wait_for_function("document.activeElement.closest('#t2v-loras') !== null")
        assert page.locator("#jobs li").count() == 0

        page.click("#nav-photo")
        page.wait_for_selector("#photo-prompt")
        page.go_back()
        page.wait_for_selector("#t2v-prompt")
        assert page.input_value("#t2v-prompt textarea") == "a cat"


def test_job_outlives_tab_and_restart_and_is_private(chromium, server):
    with person(chromium, server) as context, person(chromium, server) as stranger:
        page = open_page(context, server)
        job_id = generate(page, "photo", f"slow {XSS}")
        wait_for_state(page, "running")
        page.wait_for_selector("#job .job-preview img")
        page.wait_for_selector("#job >> text=Stage 2 of 3: Sampling, step 2 of 4")
        assert page.inner_text("#job .prompt") == f"slow {XSS}"
        page.screenshot(path=ARTEFACTS / "running-1440.png")

        theirs = open_page(stranger, server, f"?job={job_id}")
        theirs.wait_for_selector("#job >> text=There is no such job")
        assert theirs.locator("#jobs li").count() == 0

        page.close()
        page = open_page(context, server)
        page.click("#jobs a")
        page.click("#job >> text=Cancel")
        wait_for_state(page, "cancelled")
        page.click("#job >> text=Run again")
        wait_for_state(page, "running")

        server.stop()
        server.start()
        wait_for_state(page, "interrupted")
        server.work.go_on.set()
        page.click("#job >> text=Run again")
        wait_for_state(page, "done")
        page.wait_for_function("document.querySelector('#job figure img').naturalWidth === 64")
        page.screenshot(path=ARTEFACTS / "done-1440.png")


def test_edit_shows_a_grid_with_each_pictures_fate(chromium, server, tmp_path):
    files = [picture(tmp_path, name) for name in ("fine.png", f"fail {XSS}.png".replace("/", ""))]
    with person(chromium, server, 820) as context:
        page = open_page(context, server, "?mode=edit")
        page.set_input_files("#edit-image input[type=file]", files)
        page.wait_for_selector("#edit-read-out >> text=96 x 64")
        generate(page, "edit", "a hat")
        wait_for_state(page, "done")
        states = page.locator("#job figure").evaluate_all(
            "all => all.map(one => one.dataset.state)"
        )
        assert states == ["done", "failed"]
        page.wait_for_selector("#job figure .card >> text=choose a smaller size")
        page.screenshot(path=ARTEFACTS / "grid-820.png", full_page=True)


def test_demo_weights_make_a_picture_and_a_clip(chromium, demo_home):
    server = Server(demo_home, real=True)
    try:
        with person(chromium, server) as context:
            page = open_page(context, server)
            page.click("#photo-preset >> text=Fast")
            generate(page, "photo", "a red circle")
            page.wait_for_function(
                "document.querySelector('#job figure img')?.naturalWidth === 256", timeout=120_000
            )
            facts = page.inner_text("#job .facts")
            assert "256 x 256" in facts
            assert "demo weights, not the real model" in facts
            assert "Loading weights" in facts and "Decoding" in facts

            page.click("#nav-t2v")
            page.click("#t2v-preset >> text=Fast")
            page.fill("#t2v-seconds input[type=number]", "0.4")
            page.wait_for_selector("#t2v-read-out >> text=9 frames")
            generate(page, "t2v", "a red circle moving left")
            page.wait_for_function(
                "document.querySelector('#job video')?.readyState > 0", timeout=120_000
            )
            seconds = page.evaluate("document.querySelector('#job video').duration")
            assert abs(seconds - 9 / 24) < 1 / 24
            with page.expect_download() as download:
                page.click("#job >> text=Download")
            assert download.value.suggested_filename.endswith(".mp4")
            assert page.locator("#jobs li").count() == 2
            page.screenshot(path=ARTEFACTS / "clip-1440.png")
    finally:
        server.stop()
