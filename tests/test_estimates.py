"""What is learned from past jobs: predictions for plans, and the rest of a running job."""

import json
import sqlite3
import time

import pytest

from studio.cli import main
from studio.estimates import Prediction, about, extent_of, forecast, predict
from studio.events import StageStarted, StepDone
from studio.jobs import Extent, Forecast, JobTable, Progress
from studio.jobs_schema import MIGRATIONS, migrate
from studio.modes import MODES
from studio.page_job import job_view
from studio.page_read_out import read_out
from studio.planning import plan_request
from studio.request import read_request, with_seed
from studio.runner import ItemResult, Planned, Runner
from studio.runner_report import fraction_done

TAKEN = {
    "load": 8.0, "encode": 2.0, "sample1": 10.0, "upscale": 1.0, "sample2": 20.0, "decode": 6.0,
    "save": 3.0,
}  # fmt: skip
STAGES = {"load": "Loading", "sample1": "Sampling", "decode": "Decoding", "save": "Saving"}


def plan_of(home, mode="t2v", **values):
    raw = {"prompt": "waves", "preset": "fast", "width": 256, "height": 256, "seconds": 1, **values}
    return plan_request(with_seed(read_request(home, mode, raw)))[0]


def remember(table, plan, taken, mode="t2v", preset="fast", engine="diffusers", weights="demo"):
    """A finished job that took so many seconds by stage."""
    job = table.submit("ann", mode, {"preset": preset}, 7, {})
    table.claim(job.id)
    table.save_plan(job.id, 0, engine, weights, extent_of(plan))
    table.finish_item(job.id, 0, "outputs/0.mp4", (), {}, taken)
    table.finish(job.id, "done")


# Before a run


def test_prediction_is_none_before_anything_was_learned(home, table):
    plan = plan_of(home)
    assert predict(table, plan) is None
    for other in ({"mode": "i2v"}, {"preset": "quality"}, {"engine": "comfy"}, {"weights": "real"}):
        remember(table, plan, TAKEN, **other)
    assert predict(table, plan) is None


def test_prediction_is_the_median_of_the_latest_five(home, table):
    plan = plan_of(home)
    for load in (500.0, 500.0, 1.0, 2.0, 3.0, 4.0, 90.0):
        remember(table, plan, {**TAKEN, "load": load})
    prediction = predict(table, plan)
    assert prediction.stages == {**TAKEN, "load": 3.0}
    assert list(prediction.stages) == [stage.id for stage in plan.stages]
    assert prediction.seconds == sum(TAKEN.values()) - 5


def test_prediction_grows_with_pixels_frames_and_steps(home, table):
    small, large = plan_of(home), plan_of(home, width=512, seconds=2)
    assert (extent_of(small).frames, extent_of(large).frames) == (25, 49)
    remember(table, small, TAKEN)
    volume = 2 * 49 / 25
    expected = predict(table, large).stages
    for stage in ("sample1", "sample2", "decode"):
        assert expected[stage] == pytest.approx(TAKEN[stage] * volume)
    for stage in ("load", "encode", "upscale", "save"):
        assert expected[stage] == TAKEN[stage]


def test_prediction_counts_the_steps_of_each_sampling_stage(home, table):
    plan = plan_of(home)
    job = table.submit("ann", "t2v", {"preset": "fast"}, 7, {})
    first, second = extent_of(plan).steps
    past = Extent(256 * 256, 25, (2 * first, second))
    table.save_plan(job.id, 0, "diffusers", "demo", past)
    table.finish_item(job.id, 0, "outputs/0.mp4", (), {}, TAKEN)
    expected = predict(table, plan).stages
    assert (expected["sample1"], expected["sample2"]) == (5.0, 20.0)


def test_prediction_leaves_out_a_stage_that_was_never_seen(home, table):
    remember(table, plan_of(home), {"load": 1.0})
    assert predict(table, plan_of(home)).seconds == 1.0


def test_results_from_before_extents_were_kept_teach_nothing(home, table):
    job = table.submit("ann", "t2v", {"preset": "fast"}, 7, {})
    table.save_plan(job.id, 0, "diffusers", "demo")
    table.finish_item(job.id, 0, "outputs/0.mp4", (), {}, TAKEN)
    assert predict(table, plan_of(home)) is None


def test_read_out_and_dry_run_say_the_time(home, table, capsys):
    raw = {"prompt": "waves", "preset": "fast", "width": 256, "height": 256, "seconds": 1}
    flags = ["--prompt", "waves", "--preset", "fast", "--width", "256", "--height", "256"]
    command = ["t2v", *flags, "--seconds", "1", "--home", str(home.root), "--dry-run"]
    assert main([*command, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["expected_seconds"] is None
    assert not home.root.exists()
    assert "about" not in read_out(home, table, MODES["t2v"], raw)

    remember(table, plan_of(home), TAKEN)
    assert " · about 50 s<" in read_out(home, table, MODES["t2v"], raw)
    assert main(command) == 0
    assert "time: about 50 s" in capsys.readouterr().out
    main([*command, "--json"])
    assert json.loads(capsys.readouterr().out)["expected_seconds"] == TAKEN


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (0.2, "about a second"),
        (3.4, "about 3 s"),
        (38, "about 40 s"),
        (58, "about 60 s"),
        (65, "about 1 min"),
        (400, "about 7 min"),
        (42 * 60, "about 40 min"),
        (3600, "about 1 h"),
        (5000, "about 1 h 25 min"),
    ],
)
def test_time_is_said_no_more_exactly_than_it_is_known(seconds, said):
    assert about(seconds) == said


# While it runs

EXPECTED = {"load": 10.0, "sample1": 40.0, "decode": 5.0, "save": 1.0}


def rest(stage, step, spent, items=0):
    """Seconds to the end in a stage of 8 steps."""
    progress = Progress(STAGES, stage, step, 8)
    now = time.time()
    return forecast(progress, EXPECTED, spent, items, now).remaining(now)


def test_forecast_counts_down_through_the_stages():
    assert rest(None, 0, {}) == 56
    assert rest(0, 0, {"load": 4.0}) == 52
    assert rest(0, 0, {"load": 30.0}) == 46
    assert rest(2, 0, {"load": 4.0, "sample1": 70.0, "decode": 2.0}) == 4


def test_forecast_goes_by_the_pace_of_the_steps_once_there_are_two():
    assert rest(1, 1, {"sample1": 9.0}) == 31 + 6
    assert rest(1, 2, {"sample1": 20.0}) == pytest.approx(60 + 6)
    assert rest(1, 8, {"sample1": 80.0}) == 6


def test_forecast_counts_the_other_pictures_of_a_batch():
    assert rest(0, 0, {}, items=2) == 3 * 56


def test_forecast_of_a_late_stage_does_not_go_below_the_rest():
    assert Forecast(stage_ends=100.0, rest=6.0).remaining(now=97.0) == 9
    assert Forecast(stage_ends=100.0, rest=6.0).remaining(now=500.0) == 6


def test_fraction_weighs_the_stages_by_what_they_should_take():
    assert fraction_done(Progress(STAGES, 1, 4, 8), EXPECTED) == 30 / 56
    assert fraction_done(Progress(STAGES, 1, 4, 8), {}) == 1.5 / 4
    assert fraction_done(Progress(STAGES, 7, 0, 0), EXPECTED) == 1
    assert fraction_done(Progress(STAGES), EXPECTED) == 0


def test_runner_learns_from_one_job_and_foretells_the_next(home, table):
    extent = Extent(64 * 64, 1, (4,))
    views, forecasts = [], []

    def work(job, item, report):
        report(Planned(STAGES, "diffusers", "demo", extent))
        for index, steps in enumerate((0, 4, 0, 0)):
            report(StageStarted(index, steps))
            for step in range(1, steps + 1):
                time.sleep(0.02)
                report(StepDone(step, steps))
            stored, now = table.get(job.id), time.time()
            forecasts.append(stored.progress.forecast and stored.progress.forecast.remaining(now))
            views.append(job_view(stored, None, None, now, tell_details=False))
        return ItemResult(home.outputs / f"{job.id}.png")

    runner = Runner(table, work, home)
    for _ in range(2):
        runner.run_one(table.submit("ann", "photo", {"preset": "fast", "prompt": ""}, 7, {}).id)
    assert forecasts[:4] == [None] * 4
    assert [view["left"] for view in views] == [None] * 4 + ["almost done"] * 4
    assert [view["percent"] for view in views[:4]] == [0, 50, 50, 75]
    assert 0.06 < forecasts[4] < 1
    assert forecasts[4] > forecasts[5] >= forecasts[7]
    assert views[5]["percent"] > 80


def test_prediction_sums_its_stages():
    assert Prediction({"load": 1.0, "save": 2.5}).seconds == 3.5


def test_table_of_an_older_studio_is_taken_along(home):
    home.root.mkdir()
    older = sqlite3.connect(home.database, isolation_level=None)
    migrate(older, home.database, MIGRATIONS[:1])
    older.execute(
        "INSERT INTO jobs (id, owner, mode, params, seed, inputs, state, position, created)"
        " VALUES ('a', 'ann', 't2v', '{}', '7', '{}', 'done', 1, 1)"
    )
    older.close()
    table = JobTable(home.database)
    assert table.get("a").progress.forecast is None
    assert predict(table, plan_of(home)) is None
