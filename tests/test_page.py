"""The page over HTTP: a real server, its routes and endpoints."""

import json
import time

import httpx
import pytest
from model_files import put, put_sdxl
from page_calls import call, submit, wait_for
from page_server import MEMORY, Server, answered, jpeg
from PIL import Image

from studio.families import LTX
from studio.jobs import Failure, JobTable
from studio.modes import MODES
from studio.page_job import job_view
from studio.page_read_out import read_out
from studio.page_values import form_values

# Endpoints


def test_api_has_one_endpoint_per_mode_with_its_controls(visitor):
    endpoints = visitor.get("/gradio_api/info").json()["named_endpoints"]
    assert set(endpoints) == {f"/{name}" for name in (*MODES, "jobs", "job", "cancel")}
    for mode in MODES.values():
        parameters = {one["parameter_name"]: one for one in endpoints[f"/{mode.id}"]["parameters"]}
        assert set(parameters) == {*(field.name for field in mode.fields), "weights"}
        for field in mode.fields:
            required = not parameters[field.name]["parameter_has_default"]
            assert required == getattr(field, "required", False)


def test_api_is_called_by_gradio_client(server):
    from gradio_client import Client, handle_file

    picture = server.home.root / "portrait.png"
    Image.new("RGB", (64, 64), (10, 200, 90)).save(picture)
    client = Client(server.url, verbose=False, analytics_enabled=False)
    job_id = client.predict(
        image=[handle_file(picture)], prompt="a hat", preset="fast", api_name="/edit"
    )
    with httpx.Client(base_url=server.url) as same:
        job = wait_for(same, job_id, "done")
    assert (job["mode"], job["preset"]) == ("edit", "Fast")
    assert job["items"][0]["name"] == "portrait.png"


def test_api_refuses_with_the_sentence(visitor):
    answer = call(visitor, "photo", prompt=" ")
    assert answer.status_code == 500
    assert "Prompt is empty" in answer.text


FORGED = {
    "plain": lambda path, uploads: str(path),
    "data": lambda path, uploads: {"path": str(path), "meta": {"_type": "gradio.FileData"}},
    "unmarked": lambda path, uploads: {"path": str(path)},
    "gallery": lambda path, uploads: {"image": {"path": str(path)}},
    "climbing": lambda path, uploads: f"{uploads}/../../{path.name}",
}


@pytest.mark.parametrize("forge", FORGED.values(), ids=FORGED)
@pytest.mark.parametrize("by", ["endpoint", "form"])
def test_uploads_of_server_files_are_refused(server, visitor, forge, by):
    private = server.home.root / "private.png"
    Image.new("RGB", (64, 64), (1, 2, 3)).save(private)
    forged = forge(private, server.home.scratch / "uploads")
    ask = call if by == "endpoint" else press_generate
    answer = ask(visitor, "i2v", image=forged, prompt="a cat")
    assert answer.status_code == 500 or "error" in answer.json()["data"][0]
    assert visitor.get("/jobs").json()["jobs"] == []


def press_generate(client, mode_id, **values):
    """Sends what the browser sends for a form's button; the other values as they stand."""
    config = client.get("/config").json()
    components = {one["id"]: one for one in config["components"]}
    button = next(
        dependency
        for dependency in config["dependencies"]
        if dependency["backend_fn"]
        and [event for _, event in dependency["targets"]] == ["click"]
        and any(
            components[one]["props"].get("elem_id") == f"{mode_id}-prompt"
            for one in dependency["inputs"]
        )
    )
    data = []
    for one in button["inputs"]:
        props = components[one]["props"]
        name = (props.get("elem_id") or "").removeprefix(f"{mode_id}-")
        data.append(values.get(name, props.get("value")))
    return client.post(
        "/gradio_api/run/predict",
        json={"data": data, "fn_index": button["id"], "session_hash": "test"},
    )


def test_waiting_job_is_moved_by_its_owner_only(visitor, server, slow):
    running, first, second = (submit(visitor, f"slow {number}") for number in range(3))
    wait_for(visitor, running, "running")
    path = f"/jobs/{second}/move"
    with server.visitor() as other:
        assert other.post(f"{path}/sooner").status_code == 404
    foreign = {"Origin": "https://elsewhere.example"}
    assert visitor.post(f"{path}/sooner", headers=foreign).status_code == 403
    assert visitor.post(f"{path}/away").status_code == 404
    assert visitor.get(f"/jobs/{second}").json()["position"] == 2
    assert visitor.post(f"{path}/sooner").json() == {"position": 1}
    assert visitor.get(f"/jobs/{first}").json()["position"] == 2


def test_form_queues_a_job(visitor):
    answer = press_generate(visitor, "photo", prompt="a cat", seed="7", width="256")
    job = wait_for(visitor, answer.json()["data"][0]["job"], "done")
    assert (job["prompt"], job["seed"]) == ("a cat", 7)


def test_form_refusal_names_the_control(visitor):
    refusal = press_generate(visitor, "photo", prompt="a cat", width="9").json()["data"][0]
    assert (refusal["element"], refusal["label"]) == ("photo-width", "Width")
    assert "between 64 and 4096" in refusal["error"]


@pytest.mark.parametrize("name", ["/etc/hostname", "../../secret", "{home}/secret.safetensors"])
def test_loras_outside_the_folder_are_refused(server, visitor, name):
    (server.home.root / "secret.safetensors").write_bytes(b"secret")
    answer = call(visitor, "photo", prompt="a cat", loras=[name.format(home=server.home.root)])
    assert "in the LoRA folder" in answer.text


def test_form_leaves_out_what_is_hidden():
    mode = MODES["t2v"]
    values = {field.name: field.default for field in mode.fields if hasattr(field, "default")}
    rows = [part for number in range(4) for part in (f"{number}.safetensors" * (number > 2), 0.5)]
    flat = [
        one
        for field in mode.fields
        for one in (rows if field.name == "loras" else [values[field.name]])
    ]
    raw = form_values(mode, [*flat, "demo"])
    hidden = {"negative", "guidance", "camera_strength", "detailer_strength"}
    assert {field.name for field in mode.fields} - set(raw) == hidden
    assert raw["loras"] == [{"file": "3.safetensors", "strength": 0.5}]
    assert raw["weights"] == "demo"


def test_page_lists_the_weights_and_loras_of_the_moment(server, visitor):
    folder = server.home.models / "loras"
    for name in ("mine/soft light.safetensors", "Qwen-Image-Lightning-8steps-V1.1.safetensors"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()
    put_sdxl(server.home, "my photos.safetensors")
    put(server.home, LTX.variants[0].models[0])
    changed = answered(visitor, event="load")
    weights, lora = changed["photo-weights"], changed["photo-loras-1"]
    assert (weights["value"], weights["visible"]) == ("my photos", True)
    assert [label for label, _ in weights["choices"]] == ["my photos", "demo"]
    assert [name for _, name in lora["choices"]] == [
        "",
        "Qwen-Image-Lightning-8steps-V1.1.safetensors",
        "mine/soft light.safetensors",
    ]
    image_loras = [name for _, name in changed["image-loras-1"]["choices"]]
    assert image_loras == ["", "mine/soft light.safetensors"]
    numbers = answered(visitor, "photo-count", photo_weights="my photos")
    assert "1024 x 1024" in numbers["photo-read-out"]


def test_half_a_character_is_no_harm(visitor):
    # As JSON can hold it, and UTF-8 cannot.
    job_id = submit(visitor, "half a \ud83d cat")
    assert wait_for(visitor, job_id, "done")["prompt"] == "half a ? cat"
    assert visitor.get("/jobs").json()["jobs"][0]["prompt"] == "half a ? cat"
    refused = call(visitor, "photo", prompt="a cat", guidance="\ud83d")
    assert refused.json()["error"] == "Guidance must be a number, not '\\ud83d'."


@pytest.mark.parametrize("path", ["\0", "\ud83d", "/etc/passwd", "x" * 5000])
def test_only_uploads_are_taken(visitor, path):
    refused = call(visitor, "i2v", prompt="a cat", image={"path": path})
    assert refused.json()["error"] == "Picture: this file was not uploaded here, add it."


# Jobs


def test_job_runs_and_tells_all(visitor):
    job = wait_for(visitor, submit(visitor, "<img src=x onerror=alert(1)>", seed=5), "done")
    (item,) = job["items"]
    assert job["prompt"] == "<img src=x onerror=alert(1)>"
    assert (job["seed"], job["live"], job["canRerun"]) == (5, False, False)
    assert job["notes"] == ["A fallback was taken."]
    assert (item["width"], item["height"], item["engine"]) == (64, 48, "diffusers")
    assert item["demo"] is True
    assert item["findings"] == ["The picture is one colour."]


def test_job_draws_a_seed_and_shows_it(visitor):
    seeds = {visitor.get(f"/jobs/{submit(visitor)}").json()["seed"] for _ in range(3)}
    assert len(seeds) == 3


def test_running_job_shows_its_stage_and_preview(visitor):
    job_id = submit(visitor, "slow")
    wait_for(visitor, job_id, "running")
    until = time.monotonic() + 10
    while not (job := visitor.get(f"/jobs/{job_id}").json())["memory"]:
        assert time.monotonic() < until
    assert job["memory"] == "12.3 of 24 GB of VRAM in use"
    assert job["progress"]["label"] == "Sampling"
    assert (job["progress"]["stage"], job["progress"]["stages"]) == (2, 3)
    assert job["elapsed"] >= 0
    preview = visitor.get(f"/preview/{job_id}")
    assert preview.content == jpeg()
    assert preview.headers["cache-control"] == "no-store"


def test_waiting_job_shows_its_place(visitor):
    submit(visitor, "slow")
    waiting = [submit(visitor, f"next {number}") for number in range(2)]
    assert visitor.get(f"/jobs/{waiting[1]}").json()["position"] == 2


def test_failed_job_says_why_and_can_run_again(server, visitor):
    job_id = submit(visitor, "fail")
    job = wait_for(visitor, job_id, "failed")
    assert job["failure"]["sentence"].startswith("The picture could not be made")
    assert job["failure"]["stage"] == "Sampling"
    assert "Traceback" in job["failure"]["details"]
    again = visitor.post(f"/jobs/{job_id}/rerun")
    assert again.status_code == 200
    wait_for(visitor, job_id, "failed")


def test_finished_job_cannot_run_again(visitor):
    job_id = submit(visitor)
    wait_for(visitor, job_id, "done")
    answer = visitor.post(f"/jobs/{job_id}/rerun")
    assert answer.status_code == 409
    assert "finished" in answer.json()["error"]


def test_details_are_not_told_to_strangers(home):
    table = JobTable(home.database)
    job = table.submit("owner", "photo", {"prompt": "a", "preset": "fast"}, 1, {})
    table.claim_next()
    table.finish(job.id, "failed", Failure("It failed.", "EngineFailed", None, "Traceback: /srv"))
    failed = table.get(job.id)
    views = [job_view(failed, None, None, 0.0, tell, (), MEMORY) for tell in (True, False)]
    assert [bool(view["memory"]) for view in views] == [True, False]
    assert "/srv" in json.dumps(job_view(failed, None, None, 0.0, tell_details=True))
    assert "/srv" not in json.dumps(job_view(failed, None, None, 0.0, tell_details=False))


def test_cancel_says_what_it_met(visitor):
    running, waiting = submit(visitor, "slow"), submit(visitor, "slow too")
    wait_for(visitor, running, "running")

    def cancel(job_id):
        return visitor.post(f"/jobs/{job_id}/cancel").json()["outcome"]

    assert cancel(waiting) == "was queued"
    assert cancel(running) == "stopping"
    wait_for(visitor, running, "cancelled")
    assert cancel(running) == "had finished"
    assert visitor.post("/jobs/unknown/cancel").status_code == 404


def test_jobs_are_listed_newest_first_in_pages(visitor):
    live = submit(visitor, "slow")
    made = [submit(visitor, f"picture {number}") for number in range(21)]
    for job_id in made[:2]:
        visitor.post(f"/jobs/{job_id}/cancel")
    first = visitor.get("/jobs").json()
    ids = [job["id"] for job in first["jobs"]]
    assert ids[:20] == made[:0:-1]
    assert ids[-1] == live
    older = visitor.get("/jobs", params={"before": first["next"]}).json()
    assert [job["id"] for job in older["jobs"]] == [made[0], live]
    assert older["next"] is None


# Strangers


def test_jobs_of_others_look_unknown(server, visitor):
    job_id = submit(visitor)
    wait_for(visitor, job_id, "done")
    paths = ("/jobs/{}", "/media/{}/0", "/media/{}/input/image/0", "/preview/{}")
    with server.visitor() as stranger:
        for path in paths:
            theirs, unknown = stranger.get(path.format(job_id)), stranger.get(path.format("0" * 32))
            assert theirs.status_code == unknown.status_code == 404
            assert theirs.content == unknown.content
        for act in ("cancel", "rerun"):
            assert stranger.post(f"/jobs/{job_id}/{act}").status_code == 404
        assert stranger.get("/jobs").json()["jobs"] == []
    for path in paths:
        assert httpx.get(server.url + path.format(job_id)).status_code == 404


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "https://evil.example"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
        {"Origin": "null"},
    ],
)
def test_posts_of_other_pages_are_refused(visitor, headers):
    job_id = submit(visitor, "slow")
    for act in ("cancel", "rerun"):
        assert visitor.post(f"/jobs/{job_id}/{act}", headers=headers).status_code == 403


def test_posts_of_the_page_are_taken(server, visitor):
    job_id = submit(visitor, "slow")
    for headers in ({"Origin": server.url}, {"Sec-Fetch-Site": "same-origin"}):
        assert visitor.post(f"/jobs/{job_id}/cancel", headers=headers).status_code == 200


def test_login_is_asked_for(home):
    server = Server(home, auth=("ann", "secret"))
    try:
        with httpx.Client(base_url=server.url) as client:
            assert client.post("/gradio_api/run/photo", json={"data": []}).status_code == 401
            assert client.get("/config").status_code == 401
            client.post("/login", data={"username": "ann", "password": "secret"})
            client.get("/")
            assert client.get("/config").status_code == 200
    finally:
        server.stop()


# What the page says before a run


def test_read_out_says_frames_and_length(home):
    line = read_out(home, JobTable(home.database), MODES["t2v"], {"seconds": 3, "fps": 24})
    assert "256 x 256 pixels · 73 frames at 24 a second · 3.04 seconds" in line
    assert "60 frames" not in line


def test_read_out_says_the_snapped_size(home):
    assert "384 x 256 pixels" in read_out(
        home, JobTable(home.database), MODES["photo"], {"width": "381", "height": 253}
    )


def test_read_out_waits_for_the_files(home):
    assert "Portrait, Sound" in read_out(home, JobTable(home.database), MODES["lipsync"], {})


def test_read_out_escapes_what_the_user_wrote(home):
    line = read_out(home, JobTable(home.database), MODES["photo"], {"width": "<b>"})
    assert "&lt;b&gt;" in line
    assert "warning" in line
