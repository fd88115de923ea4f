"""Hostile text in every place that keeps some, shown in a real Chromium: nothing of it runs.

`person` fails where `window.hacked` was set.
"""

from dataclasses import replace

import pytest
from page_server import EXTENT, Server, Work
from page_visit import NEEDS_CHROMIUM, generate, open_page, person, picture, shown, wait_for_state
from recipe_samples import RECIPE, write_picture
from test_page_gallery_browser import drop

from studio.errors import EngineFailed
from studio.events import Note, StageStarted
from studio.home import Home
from studio.recipe import LoraRecord
from studio.runner import ItemResult, Planned

pytestmark = NEEDS_CHROMIUM

HOSTILE = (
    '"><img src=x onerror="window.hacked=1"> <script>window.hacked=1</script>'
    " <svg onload=window.hacked=1> [a](javascript:window.hacked=1)"
    ' ![a](x" onerror="window.hacked=1) </textarea><!--<script>'
)
NAME = HOSTILE.replace("/", "")[:180]
"""As a file may be called."""


class HostileWork(Work):
    """Says hostile things wherever an engine, a user's own graph or a file's name can."""

    def __call__(self, job, item, report):
        stages = {"load": HOSTILE, "sample1": HOSTILE}
        report(Planned(stages, "diffusers", HOSTILE, EXTENT))
        report(StageStarted(1, 4))
        report(Note(HOSTILE))
        while "slow" in job.params["prompt"] and not self.go_on.wait(0.02):
            report(StageStarted(1, 4))
        if "fail" in job.params["prompt"]:
            raise EngineFailed(f"The step '{HOSTILE}' failed.", HOSTILE)
        made = super().__call__(job, item, report)
        details = {**made.details, "notes": [HOSTILE], "family": HOSTILE}
        return ItemResult(made.output, (HOSTILE,), details)


class HostileServer(Server):
    def start(self):
        self.work = HostileWork(self.home)
        super().start()


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    home = Home(tmp_path_factory.mktemp("hostile-home"))
    lora = home.models / "loras" / f"{NAME}.safetensors"
    lora.parent.mkdir(parents=True)
    lora.write_bytes(b"no LoRA")
    server = HostileServer(home)
    yield server
    server.stop()


def test_text_of_jobs_is_only_shown(chromium, server):
    with person(chromium, server) as context:
        page = open_page(context, server)
        generate(page, "photo", f"slow {HOSTILE}")
        wait_for_state(page, "running")
        page.wait_for_selector("#job .line.meta >> text=<script>")
        assert page.inner_text("#job .prompt") == f"slow {HOSTILE}"
        server.work.go_on.set()
        wait_for_state(page, "done")
        server.work.go_on.clear()
        page.wait_for_selector("#gallery-grid li")
        assert HOSTILE in page.inner_text("#gallery-grid .tile-prompt")
        assert page.inner_text("#job").count("<svg onload") > 2
        page.click("#gallery-grid .tile-more")
        page.wait_for_selector("#made-dialog[open]")
        page.keyboard.press("Escape")
        generate(page, "photo", f"fail {HOSTILE}")
        wait_for_state(page, "failed")
        assert "<script>" in page.inner_text("#job .failed")
        assert page.locator("#job script, #job svg[onload], #jobs script").count() == 0


def test_names_of_files_are_only_shown(chromium, server, tmp_path):
    with person(chromium, server) as context:
        page = open_page(context, server, "?mode=t2v")
        page.wait_for_selector("#t2v-prompt")
        page.click("text=Advanced >> visible=true")
        page.click("#t2v-loras-1 input")
        option = page.locator("[role=option]", has_text="onerror")
        option.click()
        # The read-out and the card above Generate quote it.
        page.wait_for_selector("#t2v-read-out >> text=onerror")
        page.fill("#t2v-prompt textarea", "a cat")
        shown(page, "button.generate").click()
        page.wait_for_selector("#t2v-refusal >> text=onerror")

        page.click("#nav-edit")
        files = [picture(tmp_path, f"{word} {NAME}.png") for word in ("fine", "fail")]
        page.set_input_files("#edit-image input[type=file]", files)
        page.wait_for_selector("#edit-read-out >> text=96 x 64")
        generate(page, "edit", "a hat")
        wait_for_state(page, "done")
        assert "onerror" in page.inner_text("#job figure[data-state=failed]")


def test_fields_of_a_dropped_recipe_are_only_shown(chromium, server, tmp_path):
    params = {name: HOSTILE for name in (*RECIPE.params, "preset", "width", HOSTILE)}
    params["loras"] = [{"file": NAME, "strength": 0.8}, HOSTILE]
    hostile = replace(
        RECIPE, weights=HOSTILE, preset=HOSTILE, params=params, notes=(HOSTILE,),
        loras=(LoraRecord(HOSTILE, 0.8, "0123456789abcdef" * 4),),
    )  # fmt: skip
    with person(chromium, server) as context:
        page = open_page(context, server, "?mode=photo")
        page.wait_for_selector("#photo-prompt")
        drop(page, write_picture(tmp_path / f"{NAME}.png", hostile))
        page.wait_for_selector("#restored .not-restored")
        assert "<script>" in page.inner_text("#restored ul")
        assert page.input_value("#photo-prompt textarea") == HOSTILE
        drop(page, write_picture(tmp_path / "mode.png", replace(hostile, mode=HOSTILE)))
        page.wait_for_selector("#restored .failed")


def test_address_of_the_page_is_only_read(chromium, server):
    with person(chromium, server) as context:
        page = open_page(context, server)
        for name in ("mode", "job", "seed", "text"):
            page.evaluate(
                "([name, text]) => history.replaceState(null, '', '?' +"
                " new URLSearchParams({ [name]: text }))",
                [name, HOSTILE],
            )
            page.reload()
            page.wait_for_selector("#nav button[aria-current]", state="attached")
