"""`python -m studio batch`: a file of jobs, checked as a whole, and gone on with after its end."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image
from requests_of_modes import Media

from studio.cli_batch_lines import Begun, read_lines
from studio.jobs import JobTable
from studio.studio import COMMAND_LINE

QUICK = {"mode": "image", "preset": "fast"}


@pytest.fixture(scope="module")
def media(tmp_path_factory):
    return Media(tmp_path_factory.mktemp("media"))


@pytest.fixture
def written(tmp_path):
    """Writes a file of jobs, one a line; text stays as it is."""

    def write(*lines):
        file = tmp_path / "jobs.jsonl"
        texts = [line if isinstance(line, str) else json.dumps(line) for line in lines]
        file.write_text("\n".join(texts) + "\n", encoding="utf-8")
        return file

    return write


@pytest.fixture(scope="module")
def batch(demo_home):
    def run(file, *options):
        done = subprocess.run(
            [sys.executable, "-m", "studio", "batch", str(file), *options],
            capture_output=True,
            text=True,
            env={**os.environ, "AIO_HOME": str(demo_home.root)},
            check=False,
        )
        return done.returncode, done.stdout, done.stderr

    return run


def told(output):
    return [json.loads(line) for line in output.splitlines()]


def test_every_bad_line_is_named_and_nothing_runs(home, written):
    taken = {**QUICK, "prompt": "a", "output": "a.png"}
    file = written(
        {**QUICK, "prompt": "a red circle"},
        "no json",
        "",
        "[1]",
        {"mode": "paint", "prompt": "a"},
        {**QUICK, "prompt": " "},
        {**QUICK, "prompt": "a", "colour": "red"},
        {**QUICK, "prompt": "a", "output": "a.mp4"},
        taken,
        taken,
        {"mode": "i2v", "prompt": "a", "image": "none.png"},
        {**QUICK, "prompt": "a", "weights": "none"},
    )
    good, bad = read_lines(home, file)
    assert [line.number for line in good] == [1, 9]
    says = ["no JSON", "no JSON object", "'paint'", "Prompt is empty", "'colour'", "end in .png"]
    says += ["Line 9", "none.png", "none"]
    assert [one.number for one in bad] == [2, 4, 5, 6, 7, 8, 10, 11, 12]
    for one, sentence in zip(bad, says, strict=True):
        assert sentence in one.sentence
    assert not home.database.exists()


def test_equal_lines_are_jobs_of_their_own_and_keep_them_when_moved(home, written):
    line = {**QUICK, "prompt": "a red circle"}
    (first, second), _ = read_lines(home, written(line, line))
    assert first.key != second.key
    again, _ = read_lines(home, written({**QUICK, "prompt": "b"}, line, line))
    assert [one.key for one in again[1:]] == [first.key, second.key]


def test_torn_note_of_a_killed_process_is_no_note(home, written):
    file = written({**QUICK, "prompt": "a"}, {**QUICK, "prompt": "b"})
    (one, other), _ = read_lines(home, file)
    Begun(file).note(one, "job 1")
    with file.with_name("jobs.jsonl.jobs").open("a") as notes:
        notes.write('{"line": "' + other.key[:9])
    assert Begun(file).job_of(one) == "job 1" and Begun(file).job_of(other) is None


def test_note_after_a_torn_one_is_found(home, written):
    file = written({**QUICK, "prompt": "a"})
    ((line,), _) = read_lines(home, file)
    file.with_name("jobs.jsonl.jobs").write_text('{"line": "torn')
    Begun(file).note(line, "job 1")
    assert Begun(file).job_of(line) == "job 1"


def test_bad_line_ends_the_command_with_status_2(batch, written, demo_home):
    status, said, complaint = batch(written({**QUICK, "prompt": "a"}, "no json"), "--json")
    assert status == 2 and "Line 2: This is no JSON" in complaint
    assert [(one["line"], one["state"]) for one in told(said)] == [(2, "bad")]


def test_failed_line_stops_no_other_and_is_tried_again(batch, written, media, tmp_path):
    whole = Path(media.path("image")).read_bytes()
    (tmp_path / "broken.png").write_bytes(whole[: len(whole) // 2])
    edit = {"mode": "edit", "preset": "fast", "prompt": "make it blue", "image": "broken.png"}
    circle = {**QUICK, "prompt": "a red circle", "output": "circle.png"}
    file = written(circle, edit, {**QUICK, "prompt": "a blue square"})
    status, said, summary = batch(file, "--json")
    outcomes = told(said)
    assert status == 1, summary
    assert [one["state"] for one in outcomes] == ["done", "failed", "done"]
    assert outcomes[1]["error"] and outcomes[1]["kind"]
    assert "2 made, 0 made before, 1 failed." in summary and "line 2" in summary
    with Image.open(tmp_path / "circle.png") as picture:
        assert picture.size == (128, 128)

    assert [one["state"] for one in told(batch(file, "--dry-run", "--json")[1])] == [
        "done", "todo", "done"
    ]  # fmt: skip
    (tmp_path / "broken.png").write_bytes(whole)
    (tmp_path / "circle.png").unlink()
    status, said, summary = batch(file)
    assert "2 made before" in summary
    assert (tmp_path / "circle.png").is_file(), "a copy that was deleted is made anew"
    assert said.splitlines()[0] == str(tmp_path / "circle.png")


def test_killed_batch_goes_on_with_the_same_jobs(batch, written, demo_home):
    clip = {"mode": "t2v", "preset": "quality", "prompt": "waves", "seconds": 1}
    file = written({**QUICK, "prompt": "a green triangle"}, clip)
    process = subprocess.Popen(
        [sys.executable, "-m", "studio", "batch", str(file)],
        env={**os.environ, "AIO_HOME": str(demo_home.root)},
        stderr=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        text=True,
    )
    # Of the second line: the first is a picture, whose sampling has no number.
    assert any("Sampling 1" in line for line in process.stderr)
    process.send_signal(signal.SIGKILL)
    process.wait()
    begun = [json.loads(one)["job"] for one in Path(f"{file}.jobs").read_text().splitlines()]
    status, said, summary = batch(file, "--json")
    assert status == 0, summary
    assert [one["job"] for one in told(said)] == begun
    assert "1 made, 1 made before, 0 failed." in summary
    states = {job.id: job.state for job in JobTable(demo_home.database).list_for(COMMAND_LINE)}
    assert [states[job_id] for job_id in begun] == ["done", "done"]
