"""The workflow that pushes to a Space: its conditions, and its script against a Hub on loopback."""

import base64
import os
import subprocess
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import yaml

FILE = Path(__file__).parent.parent / ".github" / "workflows" / "deploy-space.yml"
WORKFLOW = yaml.safe_load(FILE.read_text())
JOB = WORKFLOW["jobs"]["push"]
PUSH = JOB["steps"][-1]
TOKEN = "hf_aToken0fThisTest"
SPACE = "ann/studio"


class Hub(BaseHTTPRequestHandler):
    """A bare repository behind HTTP that lets only the token in, as the Hub does."""

    def answer(self):
        self.server.asked.append(self.path)
        login = base64.b64encode(f"hf_user:{TOKEN}".encode()).decode()
        if self.headers.get("Authorization") != f"Basic {login}":
            self.send_response(401)
            self.send_header("WWW-Authenticate", 'Basic realm="Hub"')
            self.end_headers()
            return
        path, _, query = self.path.partition("?")
        environ = {
            **os.environ,
            "GIT_PROJECT_ROOT": str(self.server.folder),
            "GIT_HTTP_EXPORT_ALL": "1",
            "REMOTE_USER": "hf_user",
            "REQUEST_METHOD": self.command,
            "PATH_INFO": path.removeprefix("/spaces"),
            "QUERY_STRING": query,
            "CONTENT_TYPE": self.headers.get("Content-Type", ""),
            "HTTP_CONTENT_ENCODING": self.headers.get("Content-Encoding", ""),
        }
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        said = subprocess.run(
            ["git", "http-backend"], env=environ, input=body, stdout=subprocess.PIPE, check=True
        ).stdout
        head, _, content = said.partition(b"\r\n\r\n")
        self.send_response(200)
        for line in head.decode().splitlines():
            self.send_header(*line.split(": ", 1))
        self.end_headers()
        self.wfile.write(content)

    do_GET = do_POST = answer

    def log_message(self, *given):
        """Nothing: what was asked is kept in `asked`."""


@contextmanager
def hub(folder):
    server = ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    server.folder, server.asked = folder, []
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def git(folder, *arguments):
    return subprocess.check_output(["git", *arguments], cwd=folder, text=True).strip()


@pytest.fixture
def checkout(tmp_path):
    """What the first step leaves: a clone, its commit checked out on no branch."""
    folder = tmp_path / "checkout"
    git(tmp_path, "init", "--quiet", str(folder))
    commit(folder, "first")
    commit(folder, "second")
    git(folder, "checkout", "--quiet", "--detach")
    return folder


def commit(folder, text):
    (folder / "app.py").write_text(text)
    git(folder, "add", ".")
    author = ("-c", "user.name=Ann", "-c", "user.email=ann@example.org")
    git(folder, *author, "commit", "--quiet", "-m", text)


@pytest.fixture
def space(tmp_path):
    """A new Space: it has a commit of its own."""
    bare = tmp_path / "hub" / SPACE
    bare.parent.mkdir(parents=True)
    own = tmp_path / "own"
    git(tmp_path, "init", "--quiet", "--initial-branch=main", str(own))
    commit(own, "the Space's first")
    git(tmp_path, "clone", "--quiet", "--bare", str(own), str(bare))
    git(bare, "config", "http.receivepack", "true")
    return bare


def push(checkout, server, token=TOKEN, branch="main"):
    """Runs the step's script as a runner does, with git telling of all that it starts."""
    given = {
        "HF_TOKEN": token,
        "SPACE": SPACE,
        "BRANCH": branch,
        "HUB": f"http://127.0.0.1:{server.server_port}/spaces",
    }
    assert given.keys() | {"GIT_TERMINAL_PROMPT"} == PUSH["env"].keys()
    environ = {**os.environ, "GIT_TERMINAL_PROMPT": PUSH["env"]["GIT_TERMINAL_PROMPT"], **given}
    environ |= {"GIT_TRACE": "1", "GIT_CONFIG_GLOBAL": os.devnull, "NO_PROXY": "127.0.0.1"}
    return subprocess.run(
        ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", PUSH["run"]],
        cwd=checkout,
        env=environ,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=120,
    )


def test_push_brings_the_commit_and_shows_the_token_nowhere(checkout, space, tmp_path):
    with hub(tmp_path / "hub") as server:
        said = push(checkout, server)
    assert said.returncode == 0, said.stdout
    assert git(space, "rev-parse", "main") == git(checkout, "rev-parse", "HEAD")
    assert git(space, "rev-list", "--count", "main") == "2"
    assert any("git-receive-pack" in path for path in server.asked)
    assert "trace: " in said.stdout and TOKEN not in said.stdout
    assert TOKEN not in "".join(server.asked)
    kept = [path.read_bytes() for path in (checkout / ".git").rglob("*") if path.is_file()]
    assert kept and not any(TOKEN.encode() in content for content in kept)


def test_push_goes_to_the_branch_that_the_variable_names(checkout, space, tmp_path):
    with hub(tmp_path / "hub") as server:
        assert push(checkout, server, branch="preview").returncode == 0
    assert git(space, "rev-parse", "preview") == git(checkout, "rev-parse", "HEAD")
    assert git(space, "log", "-1", "--format=%s", "main") == "the Space's first"


@pytest.mark.parametrize("token", ["hf_another", ""])
def test_push_fails_without_the_right_token_and_asks_nobody(checkout, space, tmp_path, token):
    with hub(tmp_path / "hub") as server:
        said = push(checkout, server, token)
    assert said.returncode != 0
    assert not token or token not in said.stdout
    assert token or "Add the secret HF_TOKEN" in said.stdout
    assert git(space, "log", "-1", "--format=%s", "main") == "the Space's first"


def test_workflow_runs_after_ci_on_main_and_takes_the_rest_from_the_settings():
    # YAML 1.1, which PyYAML reads, takes the key `on` for true.
    triggers = WORKFLOW[True]
    ci = yaml.safe_load((FILE.parent / "ci.yml").read_text())["name"]
    after = {"workflows": [ci], "types": ["completed"], "branches": ["main"]}
    assert triggers == {"workflow_run": after, "workflow_dispatch": None}
    assert "workflow_run.conclusion == 'success'" in JOB["if"]
    assert "workflow_run.event == 'push'" in JOB["if"]
    assert PUSH["env"]["HF_TOKEN"] == "${{ secrets.HF_TOKEN }}"
    assert PUSH["env"]["SPACE"] == "${{ vars.HF_SPACE }}"
    assert PUSH["env"]["BRANCH"] == "${{ vars.HF_SPACE_BRANCH || 'main' }}"
    assert "${{" not in PUSH["run"], "a value in the script's text would be run as code"
    assert WORKFLOW["permissions"] == {"contents": "read"}
    assert JOB["steps"][0]["with"]["persist-credentials"] is False
