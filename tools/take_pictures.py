"""Makes the README's pictures from a running studio: `python tools/take_pictures.py`.

Starts the studio on an empty home, makes a clip and a picture with the demo weights, and takes
screenshots at three widths into docs/pictures; and of each mode's form, filled with an example.
Needs Chromium and the development requirements.
"""

import shutil
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from pathlib import Path

from playwright.sync_api import Browser, BrowserContext, Page, sync_playwright

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))

from studio.modes import MODES  # noqa: E402

PICTURES = ROOT / "docs" / "pictures"
PORT = 7899
ADDRESS = f"http://127.0.0.1:{PORT}"
WIDTHS = {390: 844, 820: 1180, 1440: 900}
START_SECONDS = 60
RUN_SECONDS = 120
FORM = {"x": 0, "y": 56, "width": 390, "height": 560}
"""Of a narrow page: what a mode asks for first, below the header."""
CHROMIUM_FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]


def main() -> int:
    """Start, click, take the pictures, stop."""
    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    if chromium is None:
        sys.stderr.write("Chromium is needed: install it and try again.\n")
        return 2
    PICTURES.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as home:
        command = [sys.executable, "app.py", "--port", str(PORT), "--home", home]
        studio = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL)
        try:
            _wait_until_up()
            _take_all(chromium)
        finally:
            studio.terminate()
            studio.wait()
    return 0


def _wait_until_up() -> None:
    end = time.monotonic() + START_SECONDS
    while time.monotonic() < end:
        try:
            urllib.request.urlopen(ADDRESS, timeout=2).close()
            return
        except (urllib.error.URLError, OSError):
            time.sleep(0.3)
    raise SystemExit("The studio did not start.")


def _take_all(chromium: str) -> None:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=CHROMIUM_FLAGS)
        page = _visitor(browser, 1440, 900).new_page()
        _make(page, "t2v", "a red circle moving left")
        _make(page, "image", "a red circle on white")
        for width, height in WIDTHS.items():
            page.set_viewport_size({"width": width, "height": height})
            # From the prompt on; the page has moved to the Generate button.
            page.evaluate("scrollTo(0, 0)")
            page.wait_for_timeout(800)
            page.screenshot(path=PICTURES / f"page-{width}.png")
        for mode_id in MODES:
            _take_form(_visitor(browser, 390, 844), mode_id)
        browser.close()


def _visitor(browser: Browser, width: int, height: int) -> BrowserContext:
    """Somebody who has been here before, and is not welcomed."""
    welcomed = {"name": "aio.welcomed", "value": "yes"}
    return browser.new_context(
        viewport={"width": width, "height": height},
        storage_state={
            "cookies": [],
            "origins": [{"origin": ADDRESS, "localStorage": [welcomed]}],
        },
    )


def _take_form(context: BrowserContext, mode_id: str) -> None:
    page = context.new_page()
    page.goto(f"{ADDRESS}/?mode={mode_id}")
    page.locator(f'[data-example="0"][data-mode="{mode_id}"]').click()
    page.wait_for_function(f"document.querySelector('#{mode_id}-prompt textarea').value")
    page.wait_for_load_state("networkidle")
    page.evaluate("scrollTo(0, 0)")
    page.wait_for_timeout(1500)
    page.screenshot(path=PICTURES / f"mode-{mode_id}.png", clip=FORM)
    context.close()


def _make(page: Page, mode_id: str, prompt: str) -> None:
    page.goto(f"{ADDRESS}/?mode={mode_id}")
    page.fill(f"#{mode_id}-prompt textarea", prompt)
    page.locator("button.generate").locator("visible=true").first.click()
    page.wait_for_url("**job=*")
    page.wait_for_selector('#job .chip[data-state="done"]', timeout=RUN_SECONDS * 1000)


if __name__ == "__main__":
    sys.exit(main())
