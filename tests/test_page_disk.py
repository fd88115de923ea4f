"""What a visitor is told where the disk refuses what they send."""

from pathlib import Path

from largest_file import largest_file
from page_server import Server

from studio.errors import BadInput, leave_out
from studio.home import Home


def test_upload_that_the_disk_refuses_is_told_in_a_sentence(server, visitor, media):
    picture = Path(media.path("image")).read_bytes() + bytes(500_000)
    files = {"files": ("cat.png", picture, "image/png")}
    with largest_file(100_000):
        refused = visitor.post("/gradio_api/upload", files=files)
    assert (refused.status_code, refused.headers["content-type"]) == (
        507,
        "text/plain; charset=utf-8",
    )
    assert refused.text.endswith("takes no file of this size: use another disk.")
    assert visitor.post("/gradio_api/upload", files=files).status_code == 200


def test_dropped_file_that_the_disk_refuses_is_told_in_a_sentence(server, visitor, media):
    dropped = Path(media.path("image")).read_bytes() + bytes(5_000_000)
    with largest_file(100_000):
        refused = visitor.post("/recipe?name=cat.png", content=dropped)
    assert refused.status_code == 422
    assert "takes no file of this size: use another disk." in refused.json()["error"]
    assert "carries no recipe" in visitor.post("/recipe?name=cat.png", content=dropped).text


def test_strangers_are_not_told_where_the_studio_is(tmp_path, media):
    server = Server(Home(tmp_path / "shared"), strangers=True)
    picture = Path(media.path("image")).read_bytes() + bytes(5_000_000)
    files = {"files": ("cat.png", picture, "image/png")}
    try:
        with server.visitor() as visitor:
            with largest_file(100_000):
                upload = visitor.post("/gradio_api/upload", files=files)
                dropped = visitor.post("/recipe?name=cat.png", content=picture)
            kept = visitor.post("/gradio_api/upload", files=files).json()[0]
            (server.home.root / "inputs").write_text("in the folder's place")
            refused = ask(visitor, kept)
        told = [upload.text, dropped.json()["error"], refused.text]
        assert "The disk that holds scratch/uploads takes no file of this size" in told[0]
        assert "The disk that holds scratch takes no file of this size" in told[1]
        assert "inputs cannot be used as a folder: a file has its place" in told[2]
        assert not [one for one in told if str(tmp_path) in one]
    finally:
        server.stop()


def ask(client, upload):
    """For a clip from an upload, everything else left at its default."""
    info = client.get("/gradio_api/info").json()["named_endpoints"]["/i2v"]["parameters"]
    values = {one["parameter_name"]: one["parameter_default"] for one in info}
    image = {"path": upload, "meta": {"_type": "gradio.FileData"}}
    values = {**values, "prompt": "a cat", "image": image}
    return client.post("/gradio_api/run/i2v", json={"data": list(values.values())})


def test_place_that_is_left_out_is_told_by_what_is_below_it(tmp_path):
    place, other = tmp_path / "home", tmp_path / "homes"
    leave_out(place)
    told = {
        f"The disk that holds {place} is full.": "The disk that holds the studio's folder is full.",
        f"The disk that holds {place / 'outputs'} is full.": "The disk that holds outputs is full.",
        f"{place} is read-only.": "the studio's folder is read-only.",
        f"'{place}' and '{place}.'": "'the studio's folder' and 'the studio's folder.'",
        f"{place}-2 and {other} are full.": f"{place}-2 and {other} are full.",
    }
    assert {one: str(BadInput(one)) for one in told} == told
