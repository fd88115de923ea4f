"""What becomes of a made file on a disk that refuses."""

import pytest
from largest_file import largest_file
from requests_of_modes import raw_request

from studio.studio import open_studio


@pytest.mark.parametrize("mode_id", ["photo", "t2v"])
def test_result_says_that_the_disk_refuses_its_recipe(demo_home, media, monkeypatch, mode_id):
    from studio import finishing

    studio = open_studio(demo_home)
    raw = raw_request(mode_id, media, preset="fast", seed=81)
    job = studio.submit("somebody", mode_id, raw)
    whole = finishing.finish

    def finish_on_a_full_disk(plan, job, item, made, *more):
        with largest_file(made.stat().st_size // 2):
            return whole(plan, job, item, made, *more)

    with monkeypatch.context() as patch:
        patch.setattr("studio.production.finish", finish_on_a_full_disk)
        failed = studio.runner.run_one(job.id)
    assert failed.failure.kind == "EngineFailed"
    assert "takes no file of this size: use another disk." in failed.failure.sentence
    studio.table.rerun("somebody", job.id)
    assert studio.runner.run_one(job.id).state == "done"
