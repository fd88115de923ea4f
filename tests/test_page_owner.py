"""Whose a request is: by cookie, by key, or because it comes from this machine."""

import re
import secrets

import httpx
import pytest
from page_calls import call, submit
from page_server import Server

from studio.home import Home
from studio.studio import COMMAND_LINE

FROM_A_BROWSER = {"Origin": "http://127.0.0.1"}


@pytest.fixture(scope="module")
def public(tmp_path_factory):
    """A page that strangers can open."""
    started = Server(Home(tmp_path_factory.mktemp("public-home")), strangers=True)
    yield started
    started.stop()


@pytest.fixture
def key():
    return {"X-AIO-Key": secrets.token_urlsafe(32)}


def client_of(server, headers=None):
    return httpx.Client(base_url=server.url, headers=headers, timeout=20)


def jobs_of(client):
    return [job["id"] for job in client.get("/jobs").json()["jobs"]]


def test_owner_cookie_is_set_on_the_first_page_and_kept(server):
    with httpx.Client(base_url=server.url) as client:
        first = client.get("/").headers["set-cookie"]
        again = client.get("/").headers["set-cookie"]
    owner = re.fullmatch(
        r"aio_owner=([\w-]{43}); Max-Age=34560000; Path=/; HttpOnly; SameSite=Lax", first
    )
    assert owner
    assert f"aio_owner={owner[1]};" in again


def test_owner_cookie_is_secure_behind_https(server):
    answer = httpx.get(server.url, headers={"X-Forwarded-Proto": "https"})
    assert answer.headers["set-cookie"].endswith("; Secure")


def test_owner_cookie_that_is_not_ours_is_replaced(server):
    answer = httpx.get(server.url, headers={"Cookie": 'broken="; aio_owner=short'})
    assert "aio_owner=short" not in answer.headers["set-cookie"]


def test_owner_cookie_is_left_alone_beside_the_page(server):
    assert "set-cookie" not in httpx.get(f"{server.url}/jobs").headers


def test_browser_without_a_cookie_is_refused(server):
    with client_of(server, FROM_A_BROWSER) as client:
        assert "allow cookies" in call(client, "photo", prompt="a cat").text


def test_key_owns_what_is_made_with_it(public, key):
    with client_of(public, key) as client, client_of(public, key) as later:
        assert "set-cookie" not in client.get("/config").headers
        job_id = submit(client)
        assert jobs_of(later) == [job_id]
        assert later.get(f"/jobs/{job_id}").status_code == 200
    with public.visitor() as other:
        assert other.get(f"/jobs/{job_id}").status_code == 404


def test_key_comes_before_a_cookie(public, key):
    with public.visitor() as client:
        job_id = submit(client)
        client.headers.update(key)
        assert client.get(f"/jobs/{job_id}").status_code == 404


@pytest.mark.parametrize("key", ["", "mine", COMMAND_LINE, "a" * 44, "a" * 42 + "!"])
def test_key_that_could_be_guessed_is_refused_everywhere(public, key):
    with client_of(public, {"X-AIO-Key": key}) as client:
        for path in ("/", "/config", "/jobs", "/gradio_api/info"):
            answer = client.get(path)
            assert (answer.status_code, answer.json()["kind"]) == (400, "BadInput")


def test_program_of_this_machine_needs_no_key(server):
    with client_of(server) as one, client_of(server) as another:
        assert "set-cookie" not in one.get("/config").headers
        job_id = submit(one)
        assert job_id in jobs_of(another)
    assert server.studio.table.get_for(COMMAND_LINE, job_id)


@pytest.mark.parametrize(
    "headers",
    [
        FROM_A_BROWSER,
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-origin"},
        {"X-Forwarded-For": "203.0.113.7"},
        {"Host": "studio.example"},
        {"Cookie": "aio_owner=" + "a" * 43},
    ],
    ids=lambda headers: next(iter(headers)),
)
def test_nobody_else_is_this_machine(server, headers):
    with client_of(server) as client:
        job_id = submit(client)
    with client_of(server, headers) as other:
        assert jobs_of(other) == []
        assert other.get(f"/jobs/{job_id}").status_code == 404


def test_without_a_key_strangers_are_refused(public):
    with client_of(public) as client:
        answer = call(client, "photo", prompt="a cat")
        assert answer.status_code == 500 and "X-AIO-Key" in answer.json()["error"]
        assert jobs_of(client) == []


def test_behind_a_login_this_machine_is_a_stranger(tmp_path):
    server = Server(Home(tmp_path / "home"), auth=("me", "secret"))
    try:
        job = server.studio.submit(COMMAND_LINE, "photo", {"prompt": "a cat"})
        with client_of(server) as client:
            client.post("/login", data={"username": "me", "password": "secret"})
            assert jobs_of(client) == []
            assert client.get(f"/jobs/{job.id}").status_code == 404
    finally:
        server.stop()
