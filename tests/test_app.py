"""How the page is started."""

import threading
import time

import app
from studio import page as studio_page
from studio.errors import EngineFailed
from studio.home import Home


def test_page_answers_before_a_job_that_waited_is_run(tmp_path, monkeypatch):
    """An engine that loads in the same process would make everybody wait for the page."""
    from studio.studio import open_studio

    begun = threading.Event()

    def work(job, item, report):
        begun.set()
        raise EngineFailed("It was only to begin.")

    studio = open_studio(Home(tmp_path), work)
    studio.submit("somebody", "photo", {"prompt": "a cat", "preset": "fast", "seed": 1})
    order = []

    def launch(*args, **options):
        time.sleep(1.5)
        order.append("job" if begun.is_set() else "page")
        return ["http://127.0.0.1:1"]

    class Page:
        def block_thread(self):
            assert begun.wait(60)

    monkeypatch.setattr(studio_page, "build_page", lambda *args: Page())
    monkeypatch.setattr(studio_page, "launch_page", launch)
    options = app._parser().parse_args([])
    app._serve_page(studio, options, app.this_host())
    assert order == ["page"]
