"""Results and inputs, as the page serves them."""

from pathlib import Path

import pytest
from page_calls import submit, wait_for
from page_server import jpeg


def test_media_is_served_whole_and_in_ranges(server, visitor):
    job_id = submit(visitor)
    wait_for(visitor, job_id, "done")
    whole = visitor.get(f"/media/{job_id}/0")
    name = f"{job_id}_0.png"
    assert whole.content == (server.home.outputs / "2025-01-31" / name).read_bytes()
    assert whole.headers["content-type"] == "image/png"
    assert whole.headers["x-content-type-options"] == "nosniff"
    assert whole.headers["content-disposition"] == f'inline; filename="{name}"'
    part = visitor.get(f"/media/{job_id}/0", headers={"Range": "bytes=10-19"})
    assert (part.status_code, part.content) == (206, whole.content[10:20])
    kept = visitor.get(f"/media/{job_id}/0", params={"download": ""})
    assert kept.headers["content-disposition"].startswith("attachment")


@pytest.mark.parametrize("item", ["1", "-1", "0/../../jobs.sqlite3", "..%2f..%2fjobs.sqlite3"])
def test_media_that_is_not_a_result_is_not_found(visitor, item):
    job_id = submit(visitor)
    wait_for(visitor, job_id, "done")
    answer = visitor.get(f"/media/{job_id}/{item}")
    assert answer.status_code == 404
    assert b"SQLite" not in answer.content


def test_inputs_are_served_to_their_owner(server, visitor):
    picture = jpeg((1, 2, 3))
    files = {"files": ("hat & coat.jpg", picture, "image/jpeg")}
    (path,) = visitor.post("/gradio_api/upload", files=files).json()
    assert Path(path).is_relative_to(server.home.root)
    data = {"path": path, "meta": {"_type": "gradio.FileData"}}
    job_id = submit(visitor, mode_id="edit", image=[data])
    answer = visitor.get(f"/media/{job_id}/input/image/0")
    assert (answer.content, answer.headers["content-type"]) == (picture, "image/jpeg")
    assert visitor.get(f"/media/{job_id}/input/image/1").status_code == 404
