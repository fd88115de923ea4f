"""The start of the page: what Gradio's import leaves out, and when garbage is looked for."""

import gc
import subprocess
import sys
from pathlib import Path

import pytest

import app

ROOT = Path(app.__file__).parent

COUNT = """
import ast
import sys

parsed, parse = [], ast.get_source_segment
ast.get_source_segment = lambda *given: parsed.append(given) or parse(*given)
if sys.argv[1:]:
    import app
    from pathlib import Path
    from studio.home import Home
    app.prepare_gradio(Home(Path(sys.argv[1])))
import gradio
from gradio.blocks import Blocks
with Blocks():
    gradio.Textbox("typed").change(lambda text: text)
print(len(parsed))
"""


def segments_parsed(*arguments):
    """How many parts of Gradio's source are taken out of it while it is imported."""
    done = subprocess.run(
        [sys.executable, "-c", COUNT, *map(str, arguments)],
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
        timeout=120,
    )
    return int(done.stdout)


def test_gradio_is_imported_without_its_stub_files(tmp_path):
    assert segments_parsed(tmp_path) == 0


def test_gradio_alone_would_write_stub_files():
    """Else `page_import` has nothing left to do, and can go."""
    assert segments_parsed() > 0


def test_garbage_is_collected_again_after_the_start():
    with pytest.raises(KeyError), app.uncollected():
        assert not gc.isenabled()
        raise KeyError
    assert gc.isenabled()
    gc.unfreeze()
