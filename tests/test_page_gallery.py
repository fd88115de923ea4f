"""The gallery and dropped files over HTTP: a real server, two visitors, forged requests."""

import json
import threading
import time

import av
import httpx
import numpy as np
import pytest
from page_calls import call, submit, wait_for
from PIL import Image
from recipe_samples import A1111_REAL, write_foreign_png, write_our_clip, write_picture

from studio import page_gallery_routes
from studio.fields import LoraControl
from studio.modes import MODES

XSS = '<img src=x onerror="window.hacked=1">'


def make(client, prompt="a cat", mode_id="photo", **values):
    job_id = submit(client, prompt, mode_id, **values)
    wait_for(client, job_id, "done")
    return job_id


def upload(client, path):
    with path.open("rb") as file:
        answer = client.post("/gradio_api/upload", files={"files": (path.name, file)})
    return {"path": answer.json()[0], "meta": {"_type": "gradio.FileData"}}


def picture(folder, name="cat.png", colour=(200, 120, 40)):
    path = folder / name
    Image.new("RGB", (96, 64), colour).save(path)
    return path


def listed(client, **query):
    return client.get("/gallery", params=query).json()["items"]


# The gallery


def test_gallery_lists_what_was_made(visitor):
    job_id = make(visitor, XSS, seed=5)
    (made,) = listed(visitor)
    assert (made["job"], made["index"], made["prompt"]) == (job_id, 0, XSS)
    assert (made["kind"], made["mode"], made["tag"], made["seed"]) == ("image", "photo", "PHOTO", 5)
    assert made["name"] == f"{job_id}_0.png"
    assert visitor.get(f"/{made['url']}").headers["content-type"] == "image/png"
    poster = visitor.get(f"/{made['poster']}")
    assert poster.headers["content-type"] == "image/jpeg"
    assert poster.headers["cache-control"].startswith("private")
    assert len(poster.content) < 5000


def test_gallery_is_filtered_and_paged(visitor):
    for number in range(26):
        make(visitor, f"picture {number}")
    make(visitor, "drawn", "image")
    first = visitor.get("/gallery").json()
    second = visitor.get("/gallery", params={"before": first["next"]}).json()
    assert (len(first["items"]), len(second["items"]), second["next"]) == (24, 3, None)
    assert [one["prompt"] for one in listed(visitor, mode="image")] == ["drawn"]
    assert [one["prompt"] for one in listed(visitor, text="PICTURE 25")] == ["picture 25"]


def test_poster_of_a_damaged_file_is_refused(server, visitor):
    job_id = make(visitor)
    (server.home.outputs / "2025-01-31" / f"{job_id}_0.png").write_bytes(b"damaged")
    assert visitor.get(f"/gallery/{job_id}/0/poster").status_code == 404


def test_delete_and_undo(visitor):
    job_id = make(visitor)
    assert visitor.post(f"/gallery/{job_id}/0/delete").status_code == 200
    assert listed(visitor) == []
    assert visitor.get(f"/media/{job_id}/0").status_code == 404
    assert visitor.post(f"/gallery/{job_id}/0/delete").status_code == 404
    assert visitor.post(f"/gallery/{job_id}/0/undo").status_code == 200
    assert len(listed(visitor)) == 1
    assert visitor.get(f"/media/{job_id}/0").status_code == 200


def test_again_makes_another_job_with_this_or_a_new_seed(visitor, tmp_path):
    image = [upload(visitor, picture(tmp_path, name)) for name in ("a.png", "b.png")]
    job_id = make(visitor, "a hat", "edit", image=image, seed=7)
    for query, same in (("", True), ("?seed=new", False)):
        again = visitor.post(f"/gallery/{job_id}/1/again{query}").json()
        job = wait_for(visitor, again["id"], "done")
        assert (job["prompt"], job["mode"]) == ("a hat", "edit")
        assert [item["name"] for item in job["items"]] == ["b.png"]
        assert (job["seed"] == 7) == same


def test_one_item_of_a_batch_is_made_again(visitor, tmp_path):
    image = [upload(visitor, picture(tmp_path, f"{n}.png")) for n in ("fail 1", "fine", "fail 2")]
    job_id = make(visitor, "a hat", "edit", image=image)
    assert visitor.post(f"/jobs/{job_id}/rerun?item=1").status_code == 409
    assert visitor.post(f"/jobs/{job_id}/rerun?item=2").status_code == 200
    job = wait_for(visitor, job_id, "done")
    assert [item["state"] for item in job["items"]] == ["failed", "done", "failed"]
    assert job["items"][1]["before"] == f"media/{job_id}/input/image/1"
    assert visitor.get(f"/{job['items'][1]['before']}").status_code == 200


# Strangers


def test_gallery_of_others_looks_unknown(server, visitor):
    job_id = make(visitor)
    name = listed(visitor)[0]["name"]
    with server.visitor() as stranger:
        make(stranger, "mine")
        for method, path in (
            ("GET", "/gallery/{}/0/poster"),
            ("POST", "/gallery/{}/0/delete"),
            ("POST", "/gallery/{}/0/undo"),
            ("POST", "/gallery/{}/0/again"),
            ("POST", "/jobs/{}/rerun?item=0"),
            ("GET", "/gallery?before={}-0"),
            ("GET", "/jobs?before={}"),
        ):
            theirs, unknown = (
                stranger.request(method, path.format(one)) for one in (job_id, "0" * 32)
            )
            assert (theirs.status_code, theirs.content) == (unknown.status_code, unknown.content)
            assert theirs.status_code == 404 or theirs.json().get("next") is None
        for guess in (name, f"outputs/2025-01-31/{name}"):
            assert stranger.get(f"/media/{guess}").status_code == 404
            assert stranger.get(f"/gallery/{guess}/0/poster").status_code == 404
        assert [one["prompt"] for one in listed(stranger)] == ["mine"]
    assert len(listed(visitor)) == 1


def test_nothing_is_told_or_changed_without_a_cookie(server, visitor):
    job_id = make(visitor)
    headers = {"Sec-Fetch-Site": "same-origin"}
    with httpx.Client(base_url=server.url, headers=headers) as client:
        assert client.get("/gallery").json() == {"items": [], "next": None}
        assert client.get(f"/gallery/{job_id}/0/poster").status_code == 404
        for act in ("delete", "undo", "again"):
            assert client.post(f"/gallery/{job_id}/0/{act}").status_code == 404
        assert client.post("/recipe", content=b"x").status_code == 404


@pytest.mark.parametrize("headers", [{"Origin": "https://evil.example"}, {"Origin": "null"}])
def test_posts_of_other_pages_are_refused(visitor, headers):
    job_id = make(visitor)
    for path in (*(f"/gallery/{job_id}/0/{act}" for act in ("delete", "undo", "again")), "/recipe"):
        assert visitor.post(path, headers=headers).status_code == 403
    assert len(listed(visitor)) == 1


# Dropped files


def drop(client, path, **query):
    return client.post("/recipe", params={"name": path.name, **query}, content=path.read_bytes())


def test_dropped_clip_says_what_it_restores_and_what_not(server, visitor, tmp_path):
    answer = drop(visitor, write_our_clip(tmp_path / "clip.mp4")).json()
    assert (answer["mode"], answer["title"]) == ("photo", "Photo")
    assert {"Prompt", "Seed", "Guidance", "LoRAs"} <= set(answer["restored"])
    assert "Weights: epicrealism-xl are not on this machine" in answer["lost"]
    assert list(server.home.scratch.glob(".partial-*")) == []


def test_dropped_picture_of_a1111_goes_to_the_open_mode(visitor, tmp_path):
    path = write_foreign_png(tmp_path / "a.png", parameters=A1111_REAL)
    assert drop(visitor, path).json()["mode"] == "photo"
    assert drop(visitor, path, mode="image").json()["mode"] == "image"


def test_dropped_file_without_a_recipe_is_refused_by_its_name(server, visitor, tmp_path):
    answer = drop(visitor, picture(tmp_path, "holiday <b>.png"))
    assert answer.status_code == 422
    assert "'holiday <b>.png' carries no recipe" in answer.json()["error"]
    text = tmp_path / "notes.txt"
    text.write_text("no picture")
    assert "neither a PNG" in drop(visitor, text).json()["error"]
    assert drop(visitor, write_picture(tmp_path / "cut.png").with_suffix(".png")).status_code == 200
    assert str(server.home.root) not in answer.text
    assert ".partial" not in answer.text


def test_dropped_file_that_is_too_large_is_not_kept(server, visitor, monkeypatch):
    monkeypatch.setattr(page_gallery_routes, "MOST_RECIPE_BYTES", 1000)
    assert visitor.post("/recipe", content=b"x" * 1001).status_code == 413
    chunks = (b"x" * 600 for _ in range(3))
    assert visitor.post("/recipe", content=chunks).status_code == 413
    assert list(server.home.scratch.glob(".partial-*")) == []


@pytest.mark.parametrize("before", ["", "x", "-", "a-9", "a-" + 30 * "9", "a-²"])
def test_gallery_starts_after_no_such_file(visitor, before):
    assert visitor.get("/gallery", params={"before": before}).json()["items"] == []


# The forms


def fill(client, mode_id, asked):
    """What the hidden button of a form answers: values by control, and what is said."""
    config = client.get("/config").json()
    buttons = {one["props"].get("elem_id"): one["id"] for one in config["components"]}
    event = next(
        one
        for one in config["dependencies"]
        if [buttons[f"{mode_id}-fill"], "click"] in one["targets"] and one["backend_fn"]
    )
    body = {"data": [asked], "fn_index": event["id"], "session_hash": "test"}
    answer = client.post("/gradio_api/run/predict", json=body)
    *values, weights, said = answer.json()["data"]
    names = [
        field.name if not isinstance(field, LoraControl) else f"{field.name}-{number}"
        for field in MODES[mode_id].fields
        for number in range(2 * field.most if isinstance(field, LoraControl) else 1)
    ]
    return {**dict(zip(names, values, strict=True)), "weights": weights}, said


def untouched(value):
    return isinstance(value, dict) and value.get("__type__") == "update" and len(value) == 1


def test_job_fills_its_form_and_runs_again_from_there(server, visitor, tmp_path):
    cat = picture(tmp_path, "cat & mouse.png")
    job_id = make(visitor, XSS, "i2v", image=upload(visitor, cat), seed=9, fps=30, width=256)
    values, said = fill(visitor, "i2v", {"job": job_id, "item": 0})
    assert (values["prompt"], values["seed"], values["fps"], values["width"]) == (
        XSS, "9", 30, "256",
    )  # fmt: skip
    assert said["lost"] == []
    handed = values["image"]
    assert visitor.get(handed["url"]).content == cat.read_bytes()
    assert handed["orig_name"] == "cat & mouse.png"
    again = call(visitor, "i2v", prompt="again", image=handed)
    assert wait_for(visitor, again.json()["data"][0], "done")["prompt"] == "again"
    copies = [path.read_bytes() for path in server.home.inputs.rglob("*.png")]
    assert copies.count(cat.read_bytes()) == 1


def test_video_is_handed_back_as_it_was(visitor, tmp_path):
    """Browsers do not show this one, and Gradio would encode it anew."""
    film = tmp_path / "film.mov"
    with av.open(str(film), "w") as container:
        stream = container.add_stream("mpeg4", rate=24)
        stream.width, stream.height = 64, 48
        for shade in range(9):
            frame = av.VideoFrame.from_ndarray(np.full((48, 64, 3), shade * 20, np.uint8))
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    style = upload(visitor, picture(tmp_path))
    job_id = make(visitor, "ink", "style", video=upload(visitor, film), image=style)
    values, said = fill(visitor, "style", {"job": job_id, "item": 0})
    assert said["lost"] == []
    assert visitor.get(values["video"]["url"]).content == film.read_bytes()


def test_batch_fills_its_gallery(visitor, tmp_path):
    image = [upload(visitor, picture(tmp_path, name)) for name in ("a.png", "b.png")]
    job_id = make(visitor, "a hat", "edit", image=image)
    values, _ = fill(visitor, "edit", {"job": job_id, "item": 1})
    assert [one["image"]["orig_name"] for one in values["image"]] == ["b.png"]
    assert values["reference"] == []


def test_result_is_sent_to_one_control(visitor):
    job_id = make(visitor, "a cat")
    asked = {"job": job_id, "item": 0, "control": "last", "part": "file"}
    values, said = fill(visitor, "keyframe", asked)
    assert said["sent"] == "Keyframe → Video, last frame"
    assert said["element"] == "keyframe-last"
    assert visitor.get(values.pop("last")["url"]).headers["content-type"] == "image/png"
    assert all(map(untouched, values.values()))
    edit, _ = fill(visitor, "edit", {**asked, "control": "image"})
    assert len(edit["image"]) == 1


@pytest.mark.parametrize(
    "asked",
    [
        {"job": "{job}", "item": 0},
        {"job": "{job}", "item": 0, "control": "image", "part": "file"},
        {"job": "{job}", "item": "0"},
        None,
        {"wish": {"mode": "i2v"}},
    ],
)
def test_forms_are_not_filled_with_what_is_others(server, visitor, tmp_path, asked):
    image = upload(visitor, picture(tmp_path, "secret.png", (1, 2, 3)))
    job_id = make(visitor, "secret", "i2v", image=image)
    text = json.dumps(asked)
    with server.visitor() as stranger:
        theirs, unknown = (
            fill(stranger, "i2v", json.loads(text.replace("{job}", one)))
            for one in (job_id, "0" * 32)
        )
    assert theirs == unknown
    assert "error" in theirs[1]
    assert all(map(untouched, theirs[0].values()))


def test_inputs_of_others_are_not_handed_over_by_their_hash(server, visitor, tmp_path):
    path = picture(tmp_path, "secret.png", (4, 5, 6))
    make(visitor, "secret", "i2v", image=upload(visitor, path))
    stored = next(
        one for one in server.home.inputs.rglob("*.png") if one.read_bytes() == path.read_bytes()
    )
    wish = {
        "mode": "i2v",
        "settings": {"prompt": "mine"},
        "inputs": {"image": [{"sha256": stored.stem, "name": "secret.png"}]},
        "whole": True,
        "lost": [],
    }
    with server.visitor() as stranger:
        values, said = fill(stranger, "i2v", {"wish": wish})
        unknown = json.loads(json.dumps(wish).replace(stored.stem, "0" * 64))
        assert fill(stranger, "i2v", {"wish": unknown}) == (values, said)
    assert values["image"] is None
    assert said["lost"] == ["Picture: secret.png is not among your files; add it again"]
    assert fill(visitor, "i2v", {"wish": wish})[0]["image"] is not None


def test_page_answers_while_posters_are_made(server, visitor):
    job_id = make(visitor)
    path = server.home.outputs / "2025-01-31" / f"{job_id}_0.png"
    Image.effect_noise((3000, 3000), 80).save(path, compress_level=1)
    posters, waits = [], []

    def look():
        with httpx.Client(base_url=server.url, cookies=visitor.cookies, timeout=20) as other:
            posters.append(other.get(f"/gallery/{job_id}/0/poster").status_code)

    threads = [threading.Thread(target=look) for _ in range(4)]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        start = time.monotonic()
        assert visitor.get("/jobs").status_code == 200
        waits.append(time.monotonic() - start)
    assert posters == [200] * 4
    assert max(waits) < 2
