"""What a visitor is told where the disk refuses what they send."""

from pathlib import Path

from largest_file import largest_file


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
