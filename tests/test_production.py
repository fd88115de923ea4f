"""One item from plan to file, and what a kill at the worst moment leaves behind."""

import multiprocessing
import os
from pathlib import Path

from requests_of_modes import raw_request

from studio.jobs import JobTable
from studio.recipe_read import read_recipe
from studio.studio import open_studio

SPAWN = multiprocessing.get_context("spawn")


def die_before_the_row_is_written(home, job_id):
    JobTable.finish_item = lambda *_: os._exit(9)
    open_studio(home).runner.run_one(job_id)


def test_item_is_made_once_though_the_studio_is_killed(demo_home, media):
    studio = open_studio(demo_home)
    raw = raw_request("photo", media, preset="fast", width=64, height=64, seed=77)
    job = studio.submit("somebody", "photo", raw)
    child = SPAWN.Process(target=die_before_the_row_is_written, args=(demo_home, job.id))
    child.start()
    child.join(120)
    assert child.exitcode == 9
    (output,) = files(demo_home, job.seed)
    studio.runner.recover()
    studio.table.rerun("somebody", job.id)
    done = studio.runner.run_one(job.id)
    assert done.state == "done", done.failure
    assert files(demo_home, job.seed) == [output]
    assert demo_home.root / done.outputs[0] == output
    assert done.items[0].details["width"] == 64


def test_same_settings_in_another_job_make_another_file(demo_home, media):
    studio = open_studio(demo_home)
    raw = raw_request("photo", media, preset="fast", width=64, height=64, seed=79)
    done = [studio.runner.run_one(studio.submit("one", "photo", raw).id) for _ in range(2)]
    first, second = (demo_home.root / job.outputs[0] for job in done)
    assert first != second
    assert read_recipe(first).recipe.item != read_recipe(second).recipe.item
    assert all(job.id not in first.read_bytes().decode("latin1") for job in done)


def files(home, seed) -> list[Path]:
    return sorted(home.outputs.glob(f"*/*_photo_{seed}*"))
