"""What goes on from a result, in a real Chromium: gallery, sending, deleting, dropped files."""

import base64
import sqlite3
from contextlib import closing

import numpy as np
import pytest
from page_server import Server, Work
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
from PIL import Image
from recipe_samples import A1111_REAL, write_foreign_png, write_our_clip

from studio.home import Home
from studio.media_clips import write_clip
from studio.modes import MODES
from studio.runner import ItemResult

pytestmark = NEEDS_CHROMIUM


class Films(Work):
    """Makes clips where the mode makes clips; they end in blue."""

    def __call__(self, job, item, report):
        made = super().__call__(job, item, report)
        if MODES[job.mode].makes == "image":
            return made
        clip = np.full((9, 48, 64, 3), (200, 40, 40), np.uint8)
        clip[-1] = (30, 40, 200)
        path = made.output.with_suffix(".mp4")
        write_clip(path, clip, 24, None, {})
        return ItemResult(path, (), {**made.details, "frames": 9, "fps": 24})


class FilmServer(Server):
    def start(self):
        self.work = Films(self.home)
        super().start()


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    ARTEFACTS.mkdir(exist_ok=True)
    server = FilmServer(Home(tmp_path_factory.mktemp("gallery-browser-home")))
    yield server
    server.stop()


def make(page, mode_id, prompt):
    page.click(f"#nav-{mode_id}")
    page.wait_for_selector(f"#{mode_id}-prompt")
    page.fill(f"#{mode_id}-prompt textarea", prompt)
    count = page.locator("#gallery-grid li").count()
    shown(page, "button.generate").click()
    page.wait_for_function(f"document.querySelectorAll('#gallery-grid li').length === {count + 1}")


def tile(page, prompt):
    return page.locator("#gallery-grid li", has_text=prompt)


def choose(page, prompt, action):
    tile(page, prompt).locator(".tile-more").click()
    page.click(f"#made-dialog >> text={action}")


def prompts(page):
    return page.locator(".tile-prompt").all_inner_texts()


def drop(page, path, onto="body"):
    """As a person drags a file from the desktop over the page and lets it go."""
    transfer = page.evaluate_handle(
        """([name, data]) => {
          const bytes = Uint8Array.from(atob(data), (one) => one.charCodeAt(0));
          const transfer = new DataTransfer();
          transfer.items.add(new File([bytes], name));
          return transfer;
        }""",
        [path.name, base64.b64encode(path.read_bytes()).decode()],
    )
    page.dispatch_event(onto, "dragover", {"dataTransfer": transfer})
    hint = page.locator("#drop-hint").is_visible()
    page.dispatch_event(onto, "drop", {"dataTransfer": transfer})
    return hint


def test_gallery_finds_opens_and_deletes_with_undo(chromium, server):
    with person(chromium, server) as context, person(chromium, server) as stranger:
        page = open_page(context, server)
        page.wait_for_selector("#gallery-empty >> text=Every finished picture")
        for mode_id, prompt in (("photo", XSS), ("t2v", "a red circle")):
            make(page, mode_id, prompt)
        assert prompts(page) == ["a red circle", XSS]
        page.wait_for_function(
            "[...document.querySelectorAll('#gallery-grid img')].every((one) => one.naturalWidth)"
        )
        for width, height in WIDTHS.items():
            page.set_viewport_size({"width": width, "height": height})
            assert page.evaluate("document.documentElement.scrollWidth") <= width
            page.locator("#gallery").scroll_into_view_if_needed()
            page.screenshot(path=ARTEFACTS / f"gallery-{width}.png")
        page.set_viewport_size({"width": 1440, "height": 900})

        page.fill("#gallery-text", "CIRCLE red")
        page.wait_for_function("document.querySelectorAll('#gallery-grid li').length === 1")
        page.fill("#gallery-text", "zebra")
        page.wait_for_selector("#gallery-empty >> text=Nothing found")
        page.fill("#gallery-text", "")
        page.select_option("#gallery-mode", "photo")
        page.wait_for_function("document.querySelectorAll('#gallery-grid li').length === 1")
        page.select_option("#gallery-mode", "")
        page.wait_for_function("document.querySelectorAll('#gallery-grid li').length === 2")

        tile(page, "a red circle").locator("a").click()
        page.wait_for_selector("#job video")
        tile(page, "a red circle").locator(".tile-more").focus()
        page.keyboard.press("Enter")
        page.wait_for_selector("#made-dialog[open]")
        page.screenshot(path=ARTEFACTS / "actions-1440.png")
        page.keyboard.press("Escape")
        page.wait_for_selector("#made-dialog", state="hidden")
        assert page.evaluate("document.activeElement.className") == "plain tile-more"

        choose(page, "a red circle", "Delete")
        page.wait_for_selector("#job >> text=This file was deleted")
        assert prompts(page) == [XSS]
        page.click("#undo-lines >> text=Undo")
        tile(page, "a red circle").wait_for()
        page.wait_for_selector("#job video")
        assert open_page(stranger, server).locator("#gallery-grid li").count() == 0


def test_newest_comes_first_though_the_clock_was_set_back(chromium, server):
    with person(chromium, server) as context:
        page = open_page(context, server)
        for prompt in ("the first", "the second"):
            make(page, "photo", prompt)
        with closing(sqlite3.connect(server.home.database)) as table, table:
            table.execute(
                "UPDATE jobs SET created = created - 28800"
                " WHERE json_extract(params, '$.prompt') = 'the second'"
            )
        page.reload()
        tile(page, "the first").wait_for()
        assert prompts(page) == ["the second", "the first"]
        page.wait_for_selector("#jobs li")
        assert page.locator("#jobs .name").all_inner_texts() == ["the second", "the first"]


def test_result_goes_on_to_other_forms(chromium, server, tmp_path):
    with person(chromium, server) as context:
        page = open_page(context, server, "?mode=i2v")
        page.set_input_files("#i2v-image input[type=file]", picture(tmp_path, "start.png"))
        page.wait_for_selector("#i2v-image img")
        page.fill("#i2v-seed :is(input, textarea)", "77")
        generate(page, "i2v", "waves")
        wait_for_state(page, "done")

        # The form of another tab was never seen; its controls are filled all the same.
        page.click("#job >> text=Send to, more")
        page.click("#made-dialog >> text=Last frame: Keyframe → Video")
        page.wait_for_selector("#keyframe-first img")
        source = page.get_attribute("#keyframe-first img", "src")
        colour = Image.open(_saved(page, source, tmp_path)).convert("RGB").getpixel((20, 20))
        assert colour[2] > 150 > colour[0]
        assert not page.locator("#keyframe-last img").is_visible()
        page.click("#job >> text=Send to, more")
        page.click("#made-dialog >> text=Style Transfer >> nth=-1")
        page.wait_for_selector("#style-video video")

        page.click("#job >> text=Settings")
        page.wait_for_selector("#restored >> text=Settings restored in Image → Video")
        page.wait_for_selector("#i2v-image img")
        assert page.input_value("#i2v-prompt textarea") == "waves"
        assert page.input_value("#i2v-seed :is(input, textarea)") == "77"
        shown(page, "button.generate").click()
        page.wait_for_function("document.querySelectorAll('#gallery-grid li').length === 2")


def _saved(page, source, folder):
    path = folder / "seen"
    path.write_bytes(page.request.get(source).body())
    return path


def test_edits_are_compared_and_one_is_tried_again(chromium, server, tmp_path):
    files = [picture(tmp_path, name) for name in ("fine.png", "fail.png", "fail too.png")]
    with person(chromium, server) as context:
        page = open_page(context, server, "?mode=edit")
        page.set_input_files("#edit-image input[type=file]", files)
        page.wait_for_selector("#edit-read-out >> text=pixels")
        generate(page, "edit", "a hat")
        wait_for_state(page, "done")
        page.wait_for_function("document.querySelector('.compare .before')?.naturalWidth === 96")
        page.focus(".compare-range")
        for _ in range(10):
            page.keyboard.press("ArrowRight")
        said = page.get_attribute(".compare-range", "aria-valuetext")
        assert said == "60 % before, 40 % after"
        clip = page.evaluate("getComputedStyle(document.querySelector('.compare .after')).clipPath")
        assert "60%" in clip
        page.screenshot(path=ARTEFACTS / "compare-1440.png")
        runs = server.studio.table.list_for
        page.locator("#job figure", has_text="fail too").locator("text=Try this one again").click()
        page.wait_for_function(
            """document.querySelectorAll('#job figure')[1].dataset.state === 'failed' &&
               document.querySelectorAll('#job figure')[2].dataset.state === 'failed' &&
               document.querySelector('#job .chip').dataset.state === 'done'"""
        )
        owner = next(c["value"] for c in context.cookies() if c["name"] == "aio_owner")
        assert len(runs(owner)) == 1
        page.click("#job figure >> nth=0 >> text=New seed")
        page.wait_for_function("document.querySelectorAll('#gallery-grid li').length === 2")
        assert [len(job.items) for job in runs(owner)] == [1, 3]


def test_dropped_files_fill_the_forms(chromium, server, tmp_path):
    hostile = A1111_REAL.replace("rain", XSS).replace("v1-5-pruned-emaonly", XSS)
    foreign = write_foreign_png(tmp_path / f"a {XSS.replace('/', '')}.png", parameters=hostile)
    clip = write_our_clip(tmp_path / "clip.mp4")
    with person(chromium, server) as context:
        page = open_page(context, server, "?mode=image")
        assert drop(page, foreign)
        page.wait_for_selector("#restored >> text=Settings restored in Image")
        assert XSS in page.input_value("#image-prompt textarea")
        page.click("text=Advanced >> visible=true")
        assert page.input_value("#image-width :is(input, textarea)") == "512"
        assert f"Model: {XSS}" in page.inner_text("#restored ul")
        page.screenshot(path=ARTEFACTS / "restored-1440.png")

        page.set_input_files("#restore-file", clip)
        page.wait_for_selector("#restored >> text=Settings restored in Photo")
        page.wait_for_selector("#photo-prompt")
        assert "un café" in page.input_value("#photo-prompt textarea")
        assert page.input_value("#photo-seed :is(input, textarea)") == "4294967295"
        assert page.locator("#photo-preset input:checked").get_attribute("value") == "fast"
        assert "epicrealism-xl are not on this machine" in page.inner_text("#restored ul")

        drop(page, picture(tmp_path, f"plain {XSS.replace('/', '')}.png"))
        card = page.wait_for_selector("#restored .failed >> text=carries no recipe")
        assert "<img" in card.inner_text()
        page.click("#restored .close")
        assert page.locator("#restored .card").count() == 0

        page.click("#nav-i2v")
        page.wait_for_selector("#i2v-image input[type=file]", state="attached")
        assert not drop(page, foreign, "#i2v-image button")
        assert page.locator("#restored .card").count() == 0
