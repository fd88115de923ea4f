"""The studio as a ZeroGPU Space: the real `spaces`, a device API on loopback, workers that are
forks, and visitors who come over HTTP.
"""

import base64
import json
import os
import re
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace

import httpx
import page_visit
import pytest
from model_files import put, variant
from page_server import free_port, jpeg
from page_visit import generate, open_page, person, wait_for_state
from zero_device_api import DeviceApi

from studio.families import QWEN_IMAGE, SDXL
from studio.home import Home
from studio.jobs import JobTable
from studio.recipe_read import read_recipe
from studio.zero_failures import LINKS, RETRYING

pytest.importorskip("spaces", reason="needs the package spaces: requirements-dev.txt")

ROOT = Path(__file__).parent.parent
LIGHT, HEAVY = ("photo", "fast"), ("image", "quality")
SHORTEST = 1


@pytest.fixture(scope="module")
def space(tmp_path_factory):
    """A started Space. Its home has whole models with nothing in them for `photo` and `image`."""
    folder = tmp_path_factory.mktemp("space")
    home, api, port = Home(folder / "home"), DeviceApi(), free_port()
    put(home, *variant(SDXL, "epiCRealism XL").models, *variant(QWEN_IMAGE, "Qwen-Image").models)
    (folder / "user").mkdir()
    environ = {
        **os.environ,
        "PYTHONPATH": str(ROOT),
        "HOME": str(folder / "user"),
        "SPACE_ID": "me/studio",
        "SPACES_ZERO_GPU": "true",
        "SPACES_ZERO_DEVICE_API_URL": api.url,
        "AIO_HOME": str(home.root),
        "GRADIO_SERVER_PORT": str(port),
        "SHORTEST": str(SHORTEST),
        "OMP_NUM_THREADS": "1",
    }
    with (folder / "said.txt").open("w") as said:
        process = subprocess.Popen(
            [sys.executable, str(ROOT / "tests" / "zero_space.py")],
            env=environ,
            stdout=said,
            stderr=subprocess.STDOUT,
        )
    space = SimpleNamespace(
        home=home, api=api, url=f"http://127.0.0.1:{port}", said=folder / "said.txt"
    )
    try:
        wait_for(lambda: "Ctrl+C" in space.said.read_text(), space.said.read_text, process, 170)
        yield space
    finally:
        process.kill()
        process.wait()
        api.stop()
    assert not (home.root / "foreign.txt").exists(), "a request to another machine"


@pytest.fixture
def visitor(space):
    with visits(space, "ann") as client:
        yield client
    space.api.answers.clear()


@contextmanager
def visits(space, name):
    with httpx.Client(base_url=space.url, timeout=30, headers={"x-ip-token": token(name)}) as one:
        one.get("/").raise_for_status()
        yield one


def token(name):
    """As the Hub's proxy makes them: the package reads the middle part."""
    part = base64.urlsafe_b64encode(json.dumps({"user": name}).encode()).decode()
    return f"e30.{part.rstrip('=')}.x"


def wait_for(happened, said=str, process=None, seconds=60):
    deadline = time.monotonic() + seconds
    while not (found := happened()):
        assert process is None or process.poll() is None, said()
        assert time.monotonic() < deadline, said()
        time.sleep(0.05)
    return found


def ask(client, prompt, mode_id="photo", **values):
    """Queues a job through the mode's endpoint; on demo weights unless said otherwise."""
    values = {"weights": "demo", "preset": "fast", **values, "prompt": prompt}
    info = client.get("/gradio_api/info").json()["named_endpoints"][f"/{mode_id}"]
    defaults = {one["parameter_name"]: one["parameter_default"] for one in info["parameters"]}
    answer = client.post(
        f"/gradio_api/run/{mode_id}", json={"data": list({**defaults, **values}.values())}
    )
    assert answer.status_code == 200, answer.text
    return answer.json()["data"][0]


def job_of(client, job_id):
    return client.get(f"/jobs/{job_id}").json()


def ended(client, job_id):
    wait_for(lambda: not job_of(client, job_id)["live"], lambda: str(job_of(client, job_id)))
    return job_of(client, job_id)


def made(client, prompt="paint", *rest, **values):
    job = ended(client, ask(client, prompt, *rest, **values))
    assert job["state"] == "done", job["failure"]
    return job


# The start, and what is asked for


def test_call_is_found_at_the_start(space):
    """The network is refused meanwhile, and for all tests here."""
    assert space.api.calls[0] == ("/startup-report", {})
    assert not (space.home.root / "foreign.txt").exists()


def test_heavy_job_asks_for_more_seconds_than_a_light_one(space, visitor):
    for mode_id, preset in (LIGHT, HEAVY):
        made(visitor, "paint", mode_id, preset=preset, weights="")
    light, heavy = (int(one["durationSeconds"]) for one in space.api.scheduled()[-2:])
    assert SHORTEST < light < heavy
    card = visitor.get("/").text
    assert f"Asks ZeroGPU for {light + 8} s" in card, "balanced, as the form starts"


def test_call_is_made_in_the_name_of_whoever_asks(space, visitor):
    made(visitor)
    with visits(space, "bob") as other:
        made(other)
    assert [one["token"] for one in space.api.scheduled()[-2:]] == [token("ann"), token("bob")]


# What the worker makes


def test_result_comes_back_with_progress_seen_meanwhile(space, visitor):
    job_id = ask(visitor, "a red circle", "image", width=128, height=128, seed=3)
    seen = set()
    while (job := job_of(visitor, job_id))["live"]:
        seen.add((job["progress"] or {}).get("label"))
        time.sleep(0.02)
    assert job["state"] == "done", job["failure"]
    assert seen - {None, "Waiting for a GPU"}, "what the worker says"
    (item,) = job["items"]
    picture = visitor.get(f"/{item['url']}")
    assert picture.headers["content-type"] == "image/png"
    path = space.home.root / "result.png"
    path.write_bytes(picture.content)
    recipe = read_recipe(path).recipe
    assert (recipe.mode, recipe.seed, recipe.demo) == ("image", 3, True)
    assert (item["engine"], item["weights"]) == ("diffusers", "demo")
    # What it took is what the next one asks for, and half as much more.
    made(visitor, "paint", "image", width=128, height=128)
    learned = int(space.api.scheduled()[-1]["durationSeconds"])
    assert learned == max(SHORTEST, round(1.5 * own_seconds(space, job_id)))


def own_seconds(space, job_id):
    """Of the stages of the plan, without the wait for a GPU."""
    timings = JobTable(space.home.database).get(job_id).items[0].timings
    return sum(seconds for stage, seconds in timings.items() if stage != "worker")


def test_cancel_reaches_the_worker_which_makes_the_next_job(space, visitor):
    job_id = ask(visitor, "wait")
    wait_for(lambda: (job_of(visitor, job_id)["progress"] or {}).get("step", 0) > 3)
    assert visitor.get(f"/preview/{job_id}").content == b"a jpeg"
    (worker,) = wait_for(lambda: len(space.api.workers) == 1 and space.api.workers.values())
    assert visitor.post(f"/jobs/{job_id}/cancel").json()["outcome"] == "stopping"
    assert ended(visitor, job_id)["state"] == "cancelled"
    # It would be at it for half an hour.
    wait_for(lambda: not space.api.workers)
    after = visitor.get(f"/{made(visitor)['items'][0]['url']}").content
    assert int(after) == worker


def test_jobs_run_side_by_side(space, visitor):
    job_id = ask(visitor, "wait")
    wait_for(lambda: job_of(visitor, job_id)["progress"])
    made(visitor)
    assert job_of(visitor, job_id)["state"] == "running"
    visitor.post(f"/jobs/{job_id}/cancel")
    assert ended(visitor, job_id)["state"] == "cancelled"


def test_job_waits_in_zerogpus_own_queue(space, visitor):
    space.api.answers = ["wait"]
    made(visitor)


# What is refused

REFUSED = {
    "quota": (r"this asks for 1 s and 12 s are left; there is more in 1:00:00", "gpu-quota"),
    "runs": (r"all ZeroGPU runs", "gpu-runs"),
    "pending": (r"hold all of your ZeroGPU credits", "gpu-credits"),
    "expired": (r"pass to ZeroGPU has expired", None),
    "none": (r"has no GPU to give now", None),
    "in vain": (r"No GPU became free within a minute", None),
    "broken": (r"did not answer as it should", None),
}


@pytest.mark.parametrize("answer", REFUSED)
def test_refusal_has_its_card_and_the_queue_goes_on(space, visitor, answer):
    sentence, kind = REFUSED[answer]
    space.api.answers = [answer]
    job = ended(visitor, ask(visitor, "paint"))
    assert job["state"] == "failed"
    assert re.search(sentence, job["failure"]["sentence"])
    assert "<" not in job["failure"]["sentence"]
    assert job["failure"]["links"] == [list(one) for one in LINKS.get(kind, ())]
    assert not job["failure"]["retries"]
    made(visitor)


def test_visitor_without_an_account_is_told_to_log_in(space, visitor):
    with httpx.Client(base_url=space.url, timeout=30) as stranger:
        stranger.get("/")
        space.api.answers = ["quota"]
        failure = ended(stranger, ask(stranger, "paint"))["failure"]
        assert "log in" in failure["sentence"] and failure["links"]
        space.api.answers = ["in vain"]
        failure = ended(stranger, ask(stranger, "paint"))["failure"]
        assert failure["sentence"].startswith("No GPU became free")
        assert "token" not in space.api.scheduled()[-1]


def test_duration_that_is_refused_is_not_asked_for_again(space, visitor):
    space.api.answers = ["illegal"]
    mode_id, preset = HEAVY
    job = ended(visitor, ask(visitor, "paint", mode_id, preset=preset, weights=""))
    asked = int(space.api.scheduled()[-1]["durationSeconds"])
    assert f"to take {asked} s of GPU time" in job["failure"]["sentence"]
    again(visitor, job["id"])
    assert ended(visitor, job["id"])["state"] == "done"
    assert int(space.api.scheduled()[-1]["durationSeconds"]) == 120 < asked


def again(client, job_id):
    """As the page's script does it."""
    event = {"data": [], "session_hash": "test"}
    client.post("/gradio_api/run/visit", json=event).raise_for_status()
    client.post(f"/jobs/{job_id}/rerun").raise_for_status()


# What is taken back


@pytest.mark.parametrize("way", ["dies", "is killed"])
def test_worker_that_dies_early_is_not_called_late(space, visitor, way):
    mode_id, preset = HEAVY
    prompt = "die" if way == "dies" else "wait"
    job_id = ask(visitor, prompt, mode_id, preset=preset, weights="")
    if way == "is killed":
        wait_for(lambda: (job_of(visitor, job_id)["progress"] or {}).get("step"))
        space.api.end()
    job = ended(visitor, job_id)
    assert "has died" in job["failure"]["sentence"]
    assert not job["failure"]["retries"] and not job["failure"]["longer"]
    made(visitor)


@pytest.fixture
def twice(space):
    """A prompt whose first try does not end."""
    (space.home.root / "tried").unlink(missing_ok=True)
    return "twice"


def end_late(space, client, job_id):
    """Takes the GPU back when the seconds that were asked for are over."""
    wait_for(lambda: (job_of(client, job_id)["progress"] or {}).get("step"))
    time.sleep(SHORTEST)
    space.api.end()


def test_time_out_is_asked_for_again_with_twice_the_time(space, visitor, twice):
    job_id = ask(visitor, twice)
    end_late(space, visitor, job_id)
    job = ended(visitor, job_id)
    assert f"after the {SHORTEST} s" in job["failure"]["sentence"]
    assert job["failure"]["retries"] and job["failure"]["longer"]
    visitor.headers["x-ip-token"] = token("ann, later")
    again(visitor, job["id"])
    job = ended(visitor, job["id"])
    assert (job["state"], job["notes"]) == ("done", [RETRYING])
    call = space.api.scheduled()[-1]
    assert (int(call["durationSeconds"]), call["token"]) == (2 * SHORTEST, token("ann, later"))


@pytest.mark.skipif(page_visit.CHROMIUM is None, reason="no Chromium is installed")
@pytest.mark.browser
def test_page_asks_again_by_itself_once(space, chromium, twice):
    with person(chromium, space) as context:
        page = open_page(context, space, "?mode=t2v")
        before = len(space.api.scheduled())
        job_id = generate(page, "t2v", twice)
        cookies = {one["name"]: one["value"] for one in context.cookies()}
        with httpx.Client(base_url=space.url, cookies=cookies) as same:
            end_late(space, same, job_id)
        page.wait_for_selector("#job .job-notes >> text=Retrying with extended GPU budget")
        wait_for_state(page, "done")
        asked = [int(one["durationSeconds"]) for one in space.api.scheduled()[before:]]
        assert asked == [asked[0], 2 * asked[0]]


@pytest.mark.skipif(page_visit.CHROMIUM is None, reason="no Chromium is installed")
@pytest.mark.browser
def test_page_shows_what_helps_and_runs_the_job_again(space, chromium):
    with person(chromium, space) as context:
        page = open_page(context, space, "?mode=t2v")
        space.api.answers = ["quota"]
        generate(page, "t2v", "paint")
        link = page.wait_for_selector("#job .card.failed a >> text=Create an account")
        assert link.get_attribute("href") == "https://huggingface.co/join"
        page.click("#job .job-actions >> text=Run again")
        wait_for_state(page, "done")


# Two visitors


def test_cookie_is_one_that_a_frame_on_the_hub_may_have(space):
    secure = httpx.get(space.url, headers={"X-Forwarded-Proto": "https"}).headers["set-cookie"]
    assert secure.endswith("; HttpOnly; SameSite=None; Secure; Partitioned")
    # Without TLS a browser would refuse that one.
    assert httpx.get(space.url).headers["set-cookie"].endswith("; HttpOnly; SameSite=Lax")


def test_visitors_have_nothing_of_each_other(space, visitor):
    (path,) = visitor.post(
        "/gradio_api/upload", files={"files": ("face.jpg", jpeg(), "image/jpeg")}
    ).json()
    data = {"path": path, "meta": {"_type": "gradio.FileData"}}
    job = made(visitor, "paint", "edit", image=[data])
    job_id = job["id"]
    (output,) = space.home.outputs.rglob(f"{job_id}_0.png")
    (stored,) = (one for one in space.home.inputs.rglob("*.jpg"))
    mine = [f"/jobs/{job_id}", f"/media/{job_id}/0", f"/media/{job_id}/input/image/0"]
    assert [visitor.get(one).status_code for one in mine] == [200, 200, 200]
    files = [f"/gradio_api/file={one}" for one in (output, stored, space.home.database)]
    files += [f"/gradio_api/file={one}/../{one.name}" for one in (output, stored)]
    upload = [f"/gradio_api/file={path}", f"/gradio_api/file/{path}"]
    assert [visitor.get(one).content for one in upload] == [jpeg()] * 2
    with visits(space, "bob") as bob, httpx.Client(base_url=space.url, timeout=30) as nobody:
        for other in (bob, nobody):
            assert other.get("/jobs").json()["jobs"] == []
            assert other.get("/gallery").json()["items"] == []
            for one in (*mine, f"/preview/{job_id}", f"/gallery/{job_id}/0/poster"):
                assert other.get(one).status_code == 404, one
            for one in ("jobs/{}/cancel", "jobs/{}/rerun", "gallery/{}/0/delete"):
                assert other.post("/" + one.format(job_id)).status_code == 404, one
            assert other.post(f"/gallery/{job_id}/0/again").status_code == 404
            for one in files:
                assert other.get(one).status_code == 403, one
            for one in upload:
                assert other.get(one).status_code == 404, one
        with pytest.raises(AssertionError, match="was not uploaded here"):
            ask(bob, "paint", "edit", image=[data])
    assert job_of(visitor, job_id)["items"][0]["url"]
