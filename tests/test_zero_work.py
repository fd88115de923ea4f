"""What a ZeroGPU is asked for, what its refusals are, and jobs whose visitor has gone."""

import time
from dataclasses import replace

import pytest
from requests_of_modes import raw_request

from studio import zero_seconds
from studio.errors import Interrupted
from studio.estimates import Prediction
from studio.events import StillAtWork
from studio.jobs import JobTable
from studio.modes import MODES
from studio.planning import plan_item
from studio.request import read_request
from studio.runner import ItemResult, Runner
from studio.zero_failures import LINKS, RETRYING, Held, failure_of
from studio.zero_seconds import (
    LIMITS,
    PRESET_TIMES,
    SHORTEST,
    limit_below,
    seconds_for,
)
from studio.zero_visits import MOST_VISITORS, Visits
from studio.zero_work import ZeroWork

HELD = Held(declared=100, limit=2400, seconds=0.0, again=False)


class GradioError(Exception):
    """As Gradio's own: a title and a message, which `str` gives in quotes."""

    def __init__(self, title, message):
        super().__init__(message)
        self.title, self.message = title, message


ABORTED = GradioError("ZeroGPU worker error", "GPU task aborted")


def kind(error, **held):
    return failure_of(error, replace(HELD, **held)).kind


# Failures


def test_aborted_call_is_a_time_out_only_when_its_time_was_over():
    assert kind(ABORTED, seconds=0) == kind(ABORTED, seconds=89) == "gpu-crash"
    assert kind(ABORTED, seconds=90) == kind(ABORTED, seconds=150) == "gpu-time"


def test_time_out_is_offered_again_and_not_done_by_itself_twice():
    assert kind(ABORTED, seconds=100, again=True) == "gpu-time-again"


def test_time_out_of_the_longest_call_is_not_tried_again():
    late = {"seconds": 2400, "declared": 2400}
    assert kind(ABORTED, **late) == kind(ABORTED, **late, again=True) == "gpu-time-most"


@pytest.mark.parametrize(
    ("title", "message", "expected"),
    [
        # The title of a quota, for a visitor without a token who has waited in vain.
        ("ZeroGPU quota exceeded", "No GPU was available after 60s. Try re-running", "gpu-busy"),
        ("ZeroGPU quota exceeded", "You have exceeded your ZeroGPU runs limit. ", "gpu-runs"),
        ("ZeroGPU worker error", "OutOfMemoryError", "gpu-crash"),
        ("ZeroGPU client error", "Internal Gradio error", "gpu-service"),
    ],
)
def test_failure_is_told_by_title_and_message(title, message, expected):
    assert kind(GradioError(title, message)) == expected


@pytest.mark.parametrize(
    "error", [RuntimeError("ZeroGPU API /schedule error: 500"), OSError("Connection refused")]
)
def test_failure_without_a_title_is_the_services(error):
    assert kind(error) == "gpu-service"


def test_html_in_a_message_is_not_passed_on():
    link = '<a href="https://huggingface.co/join">Create a free account</a>'
    message = f"No GPU was available after 60s. {link}"
    failure = failure_of(GradioError("ZeroGPU queue timeout", message), HELD)
    assert "<" not in str(failure) and "Create" not in str(failure)
    assert all(address.startswith("https://") for pairs in LINKS.values() for _, address in pairs)


@pytest.mark.parametrize("wait", ["1:00:00", "1 day, 2:03:04"])
def test_quota_is_told_in_numbers(wait):
    message = (
        "You have exceeded your Pro ZeroGPU quota (20s requested vs. 12s left)."
        f" Try again in {wait}. Add credits to keep using ZeroGPU."
    )
    sentence = str(failure_of(GradioError("ZeroGPU quota exceeded", message), HELD))
    assert "asks for 20 s and 12 s are left" in sentence and wait in sentence


# Seconds


def plan_of(home, media, mode_id, **values):
    return plan_item(read_request(home, mode_id, raw_request(mode_id, media, **values)), 0)


def real(plan):
    """As if its weights were not the demo's."""
    return replace(plan, weights=replace(plan.weights, demo=False))


def test_every_preset_has_its_times():
    assert set(PRESET_TIMES) == {preset for mode in MODES.values() for preset in mode.presets}


def test_demo_weights_ask_for_the_least(home, media):
    assert seconds_for(plan_of(home, media, "t2v", preset="quality"), None) == SHORTEST


def test_seconds_grow_with_preset_frames_and_size(home, media):
    plan = real(plan_of(home, media, "t2v", preset="fast", seconds=5))
    plans = [
        plan,
        replace(plan, preset="quality"),
        real(plan_of(home, media, "t2v", preset="fast", seconds=10)),
        replace(plan, width=1920, height=1088),
    ]
    asked = [seconds_for(plan, None) for plan in plans]
    # By the document: 90 for the mode, 60 for cold weights, 0.3 a frame.
    assert asked[0] == round(90 + 60 + 0.3 * 121)
    assert all(more > asked[0] for more in asked[1:])
    assert asked[1] == round(90 * 3 + 60 + 0.3 * 121)


def test_what_was_learned_goes_before_the_table(home, media):
    plan = real(plan_of(home, media, "t2v"))
    assert seconds_for(plan, Prediction({"load": 20.0, "sample1": 180.0})) == 300
    assert seconds_for(plan, Prediction({"load": 1.0})) == SHORTEST


def test_limit_goes_down_a_tier_with_every_refusal():
    limits = [2400]
    while limits[-1] > SHORTEST:
        limits.append(limit_below(limits[-1]))
    assert limits == [*LIMITS, SHORTEST]
    assert limit_below(400) == 300 and limit_below(10) == SHORTEST


# Jobs


class Call:
    """In place of the decorated call: says what the prompt asks for."""

    def __init__(self, home):
        self.home, self.declared = home, []

    def __call__(self, order, root, seconds):
        self.declared.append(seconds)
        first = self.declared.count(seconds) == 1
        if order.job.params["prompt"] == "late" and first and seconds < 4:
            yield StillAtWork()
            time.sleep(seconds)
            raise ABORTED
        output = self.home.outputs / f"{order.id}.png"
        output.parent.mkdir(parents=True, exist_ok=True)
        output.write_bytes(b"")
        yield ItemResult(output, (), {"seed": 1})


@pytest.fixture
def zero(home):
    table = JobTable(home.database)
    visits, call = Visits(table), Call(home)
    runner = Runner(table, ZeroWork(home, visits, call), home, at_once=2)
    return table, visits, call, runner


def test_job_whose_visitor_is_unknown_is_interrupted_and_can_be_run_again(zero):
    table, visits, call, runner = zero
    job = runner.run_one(table.submit("ann", "photo", {"prompt": "a", "preset": "fast"}, 7, {}).id)
    assert (job.state, job.failure.kind, call.declared) == ("interrupted", "Interrupted", [])
    assert "run it again" in job.failure.sentence
    visits.keep("ann")
    table.rerun("ann", job.id)
    assert runner.run_one(job.id).state == "done"


def test_request_that_is_wrong_costs_no_gpu(zero):
    table, visits, call, runner = zero
    visits.keep("ann")
    wrong = {"prompt": "a", "preset": "fast", "weights": "none such"}
    job = runner.run_one(table.submit("ann", "photo", wrong, 7, {}).id)
    assert (job.failure.kind, call.declared) == ("BadInput", [])


def test_item_that_ran_out_of_time_asks_for_twice_and_no_other(zero, monkeypatch):
    monkeypatch.setattr(zero_seconds, "SHORTEST", 1)
    table, visits, call, runner = zero
    visits.keep("ann")
    late = {"prompt": "late", "preset": "fast"}
    job = runner.run_one(table.submit("ann", "photo", late, 7, {}, (None, None)).id)
    assert [item.state for item in job.items] == ["failed", "done"]
    assert job.items[0].failure.kind == "gpu-time"
    job = runner.run_one(table.rerun("ann", job.id).id)
    assert [item.state for item in job.items] == ["failed", "done"]
    assert job.items[0].failure.kind == "gpu-time-again"
    job = runner.run_one(table.rerun("ann", job.id).id)
    assert (job.state, call.declared, job.notes) == ("done", [1, 1, 2, 4], (RETRYING,))


def test_visits_forget_whoever_was_longest_away(zero):
    _, visits, _, _ = zero
    for number in range(MOST_VISITORS + 1):
        visits.keep(str(number))
    visits.context_of("1")
    with pytest.raises(Interrupted):
        visits.context_of("0")
