"""The start of the page: what Gradio's import leaves out, and when garbage is looked for."""

import gc
import subprocess
import sys
from pathlib import Path

import pytest

import app

ROOT = Path(app.__file__).parent

PARSED = 3
"""The exit status as soon as a part of Gradio's source is parsed for a stub file."""

IMPORT = f"""
import ast
import os
import sys

ast.get_source_segment = lambda *_: os._exit({PARSED})
if sys.argv[1:]:
    import app
    from pathlib import Path
    from studio.home import Home
    app.prepare_gradio(Home(Path(sys.argv[1])))
import gradio
with gradio.Blocks():
    gradio.Textbox("typed").change(lambda text: text)
"""


def status_of_import(*arguments):
    """Of a process that imports Gradio, for the page of a home where one is given."""
    return subprocess.run([sys.executable, "-c", IMPORT, *map(str, arguments)], cwd=ROOT).returncode


def test_gradio_is_imported_without_its_stub_files(tmp_path):
    assert status_of_import(tmp_path) == 0


def test_gradio_alone_would_write_stub_files():
    """Else `page_import` has nothing left to do, and can go."""
    assert status_of_import() == PARSED


def test_garbage_is_collected_again_after_the_start():
    with pytest.raises(KeyError), app.uncollected():
        assert not gc.isenabled()
        raise KeyError
    assert gc.isenabled()
    gc.unfreeze()
