"""The endpoints for scripts and the MCP tools, over a live page: jobs, files in and out, errors."""

import asyncio
import base64
import json
import secrets
import threading
from contextlib import asynccontextmanager, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import httpx
import pytest
import safehttpx
import uvicorn
from mcp import ClientSession
from mcp.client.streamable_http import streamablehttp_client
from page_calls import call, submit, wait_for
from page_server import Server, free_port, jpeg
from PIL import Image

from studio.home import Home
from studio.modes import MODES

NAMES = {*MODES, "jobs", "job", "cancel"}


@pytest.fixture
def key():
    return {"X-AIO-Key": secrets.token_urlsafe(32)}


@pytest.fixture
def script(server, key):
    """A script with a key of its own."""
    with httpx.Client(base_url=server.url, headers=key, timeout=30) as client:
        yield client


@pytest.fixture
def program(server):
    """A script of this machine, with no key."""
    with httpx.Client(base_url=server.url, timeout=30) as client:
        yield client


def ask(client, name, *values):
    """What one of the endpoints for jobs gives."""
    answer = client.post(f"/gradio_api/run/{name}", json={"data": values})
    assert answer.status_code == 200, answer.text
    return answer.json()["data"][0]


def kind_of(client, name, *values):
    answer = client.post(f"/gradio_api/run/{name}", json={"data": values})
    assert answer.status_code == 500
    return answer.json()["title"]


# Jobs


def test_job_waits_for_the_end_and_its_file_is_its_owners(server, script):
    job_id = submit(script, "a cat", seed=7)
    job = ask(script, "job", job_id, 20)
    assert (job["state"], job["ended"], job["error"], job["kind"]) == ("done", True, None, None)
    (file,) = job["files"]
    assert (file["media"], file["width"], file["seed"]) == ("image", 64, 7)
    assert "local_path" not in file and str(server.home.root) not in json.dumps(job)
    picture = script.get(file["url"])
    assert picture.headers["content-disposition"].startswith("attachment")
    assert picture.content.startswith(b"\x89PNG")
    assert httpx.get(file["url"]).status_code == 404


def test_job_answers_before_its_end_where_nobody_waits_so_long(script, slow):
    job_id = submit(script, "slow")
    for wait in (0, 0.5):
        assert ask(script, "job", job_id, wait)["ended"] is False


def test_many_who_wait_keep_nobody_from_being_answered(server, script, slow):
    job_id = submit(script, "slow")
    waiting = [
        threading.Thread(target=ask, args=(script, "job", job_id, 30), daemon=True)
        for _ in range(45)
    ]
    for one in waiting:
        one.start()
    # More than there are threads for handlers: none of them may be held by one who waits.
    assert ask(script, "jobs", "", 1)["jobs"][0]["id"] == job_id
    slow()
    for one in waiting:
        one.join(60)
        assert not one.is_alive()


def test_failed_job_says_sentence_and_kind(script):
    job = ask(script, "job", submit(script, "fail"), 20)
    assert (job["state"], job["kind"], job["files"]) == ("failed", "EngineFailed", [])
    assert job["error"].startswith("The picture could not be made")
    assert job["failed"][0]["kind"] == "EngineFailed"


def test_file_that_was_deleted_is_named_as_gone(server, program):
    job = ask(program, "job", submit(program), 20)
    (server.home.outputs / "2025-01-31" / job["files"][0]["name"]).unlink()
    job = ask(program, "job", job["id"], 0)
    assert job["files"] == [] and job["failed"][0]["kind"] == "NotFound"


def test_jobs_are_listed_in_pages_newest_first(script):
    made = [submit(script) for _ in range(3)]
    first = ask(script, "jobs", "", 2)
    rest = ask(script, "jobs", first["next"], 2)
    assert [job["id"] for job in first["jobs"] + rest["jobs"]] == made[::-1]
    assert rest["next"] is None


def test_cancel_stops_a_job_and_leaves_one_that_has_ended(script, slow):
    running, waiting = submit(script, "slow"), submit(script, "slow")
    wait_for(script, running, "running")
    assert ask(script, "cancel", waiting)["state"] == "cancelled"
    assert ask(script, "cancel", running)["id"] == running
    assert ask(script, "job", running, 20)["state"] == "cancelled"
    done = ask(script, "job", submit(script), 20)
    assert ask(script, "cancel", done["id"])["state"] == "done"


def test_jobs_of_others_are_unknown(server, script, program):
    with server.visitor() as visitor:
        for job_id in (submit(visitor), submit(program), "no such id", ""):
            assert kind_of(script, "job", job_id, 0) == "NotFound"
            assert kind_of(script, "cancel", job_id) == "NotFound"
    assert ask(script, "jobs", "", 20)["jobs"] == []


@pytest.mark.parametrize(
    ("name", "values"),
    [("job", ["x", -1]), ("job", ["x", 301]), ("job", ["x", "soon"]), ("jobs", ["", 0])],
)
def test_values_out_of_range_are_refused(script, name, values):
    assert kind_of(script, name, *values) == "BadInput"


@pytest.mark.parametrize(
    ("name", "values", "status", "kind"),
    [
        ("photo", {}, 422, "BadInput"),
        ("photo", {"prompt": "a", "colour": "red"}, 422, "BadInput"),
        ("paint", {"prompt": "a"}, 404, "NotFound"),
    ],
)
def test_wrong_name_is_refused_in_a_sentence(script, name, values, status, kind):
    answer = script.post(f"/gradio_api/call/v2/{name}", json=values)
    assert (answer.status_code, answer.json()["kind"]) == (status, kind)
    assert "Traceback" not in answer.text and "view API" not in answer.text


def test_error_of_gradio_client_has_sentence_and_kind(server, key):
    from gradio_client import Client
    from gradio_client.exceptions import AppError

    client = Client(server.url, verbose=False, analytics_enabled=False, headers=key)
    with pytest.raises(AppError) as refused:
        client.predict("unknown", 0, api_name="/job")
    assert (refused.value.title, refused.value.message[:8]) == ("NotFound", "There is")


# Files in


@pytest.fixture
def picture(tmp_path):
    path = tmp_path / "portrait.png"
    Image.new("RGB", (64, 64), (10, 200, 90)).save(path)
    return path


def upload(client, path):
    answer = client.post("/gradio_api/upload", files={"files": (path.name, path.read_bytes())})
    return answer.json()[0]


def test_upload_is_named_by_its_path(server, script, picture):
    uploaded = upload(script, picture)
    job = ask(script, "job", submit(script, mode_id="i2v", image=uploaded), 20)
    assert job["state"] == "done"
    with server.visitor() as visitor:
        assert "was not uploaded here" in call(visitor, "i2v", prompt="a", image=uploaded).text


def test_own_upload_is_named_by_its_address(server, script, picture):
    address = f"{server.url}/gradio_api/file={upload(script, picture)}"
    assert ask(script, "job", submit(script, mode_id="i2v", image=address), 20)["state"] == "done"
    private = server.home.root / "private.png"
    Image.new("RGB", (64, 64)).save(private)
    forged = call(script, "i2v", prompt="a", image=f"{server.url}/gradio_api/file={private}")
    assert "was not uploaded here" in forged.text


def test_data_is_taken_and_not_kept_among_the_uploads(server, script):
    data = f"data:image/jpeg;base64,{base64.b64encode(jpeg()).decode()}"
    job_id = submit(script, mode_id="edit", image=[data, data])
    assert len(ask(script, "job", job_id, 20)["files"]) == 2
    assert not list((server.home.scratch / "uploads").glob("brought-*"))


@pytest.mark.parametrize("data", ["data:image/png;base64,!!", "data:,text", "data:"])
def test_damaged_data_is_refused(script, data):
    assert "Picture: " in call(script, "i2v", prompt="a", image=data).json()["error"]


def test_paths_are_for_programs_of_this_machine(script, program, picture):
    refused = call(script, "i2v", prompt="a", image=str(picture))
    assert "was not uploaded here" in refused.text
    job = ask(program, "job", submit(program, mode_id="i2v", image=str(picture)), 20)
    assert job["state"] == "done" and job["files"][0]["local_path"]
    relative = call(program, "i2v", prompt="a", image=picture.name)
    assert "was not uploaded here" in relative.text


@contextmanager
def site(**pages):
    """A site whose pages are bytes, or where they lead."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            page = pages[self.path.strip("/").partition(".")[0]]
            self.send_response(200 if isinstance(page, bytes) else 302)
            if not isinstance(page, bytes):
                self.send_header("Location", page)
            self.end_headers()
            if isinstance(page, bytes):
                self.wfile.write(page)

        def log_message(self, *_):
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def test_address_inside_the_network_is_refused(script):
    with site(face=jpeg()) as address:
        for host in (address, address.replace("127.0.0.1", "localhost"), "http://0.0.0.0:1"):
            answer = call(script, "i2v", prompt="a", image=f"{host}/face.png")
            assert "could not be fetched" in answer.json()["error"]


def test_address_is_fetched_and_every_redirect_looked_at(script, monkeypatch):
    looked = []

    async def public(host):
        """Stands in for the public net: what it is asked for is on this machine."""
        looked.append(host)
        if host == "inside.example":
            raise ValueError("not public")
        return "127.0.0.1"

    monkeypatch.setattr(safehttpx, "async_validate_url", public)
    with site(
        face=jpeg(), moved="/face.jpg", inside="http://inside.example/", round="/round"
    ) as at:
        at = at.replace("127.0.0.1", "site.example")
        job_id = submit(script, mode_id="i2v", image=f"{at}/moved")
        assert ask(script, "job", job_id, 20)["state"] == "done"
        assert looked == ["site.example", "site.example"]
        for name, says in (("inside", "could not be fetched"), ("round", "too many others")):
            assert says in call(script, "i2v", prompt="a", image=f"{at}/{name}").text


# MCP


@asynccontextmanager
async def session(url, headers=None):
    address = f"{url}/gradio_api/mcp/"
    async with streamablehttp_client(address, headers) as (read, write, _):
        async with ClientSession(read, write) as opened:
            await opened.initialize()
            yield opened


def tools_of(url):
    async def listed():
        async with session(url) as opened:
            return (await opened.list_tools()).tools

    return {tool.name: tool for tool in asyncio.run(listed())}


def use(url, name, headers=None, **values):
    """The text of a tool's answer, and whether it is an error."""

    async def used():
        async with session(url, headers) as opened:
            return await opened.call_tool(name, values)

    result = asyncio.run(used())
    return result.content[0].text, result.isError


def test_tools_are_the_endpoints_and_nothing_else(server):
    tools = tools_of(server.url)
    assert set(tools) == NAMES
    for mode in MODES.values():
        schema = tools[mode.id].inputSchema
        assert tools[mode.id].description.startswith(mode.does)
        assert set(schema["properties"]) == {*(field.name for field in mode.fields), "weights"}
        assert set(schema["required"]) == {
            field.name for field in mode.fields if getattr(field, "required", False)
        }
        assert all(one["description"] for one in schema["properties"].values())


def test_tools_make_wait_and_cancel_for_their_owner(server, key, script):
    job_id, _ = use(server.url, "photo", key, prompt="a cat")
    told, wrong = use(server.url, "job", key, id=job_id, wait=20)
    job = json.loads(told)
    assert not wrong and job["state"] == "done"
    assert script.get(job["files"][0]["url"]).status_code == 200
    assert json.loads(use(server.url, "jobs", key)[0])["jobs"][0]["id"] == job_id
    assert json.loads(use(server.url, "cancel", key, id=job_id)[0])["state"] == "done"
    refusal, wrong = use(server.url, "job", id=job_id)
    assert wrong and json.loads(refusal)["kind"] == "NotFound"


def test_tool_takes_files_as_text(server, key, picture):
    data = f"data:image/jpeg;base64,{base64.b64encode(jpeg()).decode()}"
    for image, headers in ((data, key), (str(picture), None)):
        job_id, wrong = use(server.url, "i2v", headers, prompt="it moves", image=image)
        assert not wrong, job_id
    refusal, wrong = use(server.url, "i2v", key, prompt="it moves", image=str(picture))
    assert wrong and json.loads(refusal)["kind"] == "BadInput"


def test_tool_refuses_with_sentence_and_kind(server, key):
    refusal, wrong = use(server.url, "photo", key, prompt=" ")
    assert wrong and json.loads(refusal) == {
        "error": "Prompt is empty: say what you want to see.",
        "kind": "BadInput",
    }


def test_tools_of_a_page_for_strangers_want_a_key(tmp_path, key):
    public = Server(Home(tmp_path / "home"), strangers=True)
    try:
        refusal, wrong = use(public.url, "photo", prompt="a cat")
        assert wrong and json.loads(refusal)["kind"] == "NotAllowed"
        assert not use(public.url, "photo", key, prompt="a cat")[1]
    finally:
        public.stop()


def test_tools_are_there_where_the_page_is_mounted(tmp_path, key):
    from page_server import Work, studio_with

    from studio.page import build_page, page_app

    home = Home(tmp_path / "home")
    studio = studio_with(home, Work(home))

    @asynccontextmanager
    async def lifespan(_):
        yield

    port = free_port()
    app = page_app(build_page(studio), studio, lifespan=lifespan)
    served = uvicorn.Server(uvicorn.Config(app, port=port, log_level="error"))
    thread = threading.Thread(target=lambda: asyncio.run(served.serve()))
    thread.start()
    try:
        url = f"http://127.0.0.1:{port}"
        while not served.started:
            assert thread.is_alive()
        assert set(tools_of(url)) == NAMES
        job_id, wrong = use(url, "photo", key, prompt="a cat")
        assert not wrong and studio.table.get(job_id).owner == key["X-AIO-Key"]
    finally:
        served.should_exit = True
        thread.join()
