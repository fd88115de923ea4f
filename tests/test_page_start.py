"""The page as a process: how it starts, refuses to, and stops."""

import signal
import subprocess
import sys
from pathlib import Path

import httpx
import pytest
from page_server import free_port

import app

ROOT = Path(app.__file__).parent


def run_app(*arguments):
    command = [sys.executable, "app.py", *map(str, arguments)]
    return subprocess.Popen(
        command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def test_app_is_imported_without_gradio():
    code = "import sys, app; sys.exit('gradio' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True, timeout=60)


def test_app_serves_without_torch_warns_and_stops_on_ctrl_c(tmp_path):
    port = free_port()
    process = run_app("--listen", "--port", port, "--home", tmp_path / "home")
    try:
        said = process.stdout.readline()
        assert str(port) in said or process.communicate(timeout=20)[1] == ""
        assert httpx.get(f"http://127.0.0.1:{port}/").status_code == 200
        loaded = Path(f"/proc/{process.pid}/maps")
        assert not loaded.exists() or "libtorch" not in loaded.read_text()
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=20)
    finally:
        process.kill()
    assert process.returncode == 0
    assert "--auth" in errors
    assert "Traceback" not in errors


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--port", "{taken}"], "choose another with --port"),
        (["--engine", "magic"], "There is no engine called 'magic'"),
        (["--auth", "nobody"], "USER:PASSWORD"),
    ],
)
def test_app_refuses_in_one_sentence(server, tmp_path, arguments, said):
    filled = [one.format(taken=server.port) for one in arguments]
    _, errors = (process := run_app("--home", tmp_path, *filled)).communicate(timeout=30)
    assert process.returncode == 2
    assert said in errors
    assert "Traceback" not in errors
