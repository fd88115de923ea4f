"""The line under a form that says what would come out: true size, frames and length."""

from collections.abc import Mapping
from html import escape

from studio.errors import StudioError
from studio.estimates import about, predict
from studio.fields import MediaControl
from studio.home import Home
from studio.jobs import JobTable
from studio.modes import Mode
from studio.plan import Clip, Edit, Plan
from studio.planning import plan_item
from studio.preflight import ANY_PROMPT
from studio.request import Request, read_request
from studio.zero_visits import Visits


def read_out(home: Home, table: JobTable, mode: Mode, raw: Mapping[str, object]) -> str:
    """HTML with the numbers of the run as they will be, or with what stands in its way.

    `table` tells what such runs have taken.
    """
    missing = [field.label for field in mode.media if _is_missing(field, raw)]
    if missing:
        return _line(f"Size and length are shown once you add: {', '.join(missing)}.")
    try:
        request = _request(home, mode, raw)
        plan = plan_item(request, 0)
        figures = _numbers(plan) + _time(table, plan, request.count)
        size = f"{plan.width}x{plan.height}"
    except StudioError as error:
        return _line(str(error), "warning")
    notes = [note for note in plan.notes if not _repeats(note, plan)]
    lines = [mode.presets[plan.preset].summary, *notes]
    return _line(figures, size=size) + "".join(_line(line, "note") for line in lines)


def seconds_asked(visits: Visits, home: Home, mode: Mode, raw: Mapping[str, object]) -> str:
    """What a run asks ZeroGPU for, in one sentence; empty while something is missing for a plan."""
    try:
        seconds = visits.seconds(plan_item(_request(home, mode, raw), 0))
    # The read-out says what stands in the way.
    except StudioError:
        return ""
    return (
        f"Asks ZeroGPU for {seconds} s a result, or for as much as your account may take at once."
    )


def _is_missing(field: MediaControl, raw: Mapping[str, object]) -> bool:
    return field.required and not raw.get(field.name)


def _request(home: Home, mode: Mode, raw: Mapping[str, object]) -> Request:
    prompt = raw.get("prompt") or ANY_PROMPT
    return read_request(home, mode.id, {**raw, "prompt": prompt})


def _time(table: JobTable, plan: Plan, count: int) -> str:
    """How long `count` such results should take; empty where nothing was learned yet."""
    prediction = predict(table, plan)
    return f" · {about(prediction.seconds * count)}" if prediction else ""


def _numbers(plan: Plan) -> str:
    size = f"{plan.width} x {plan.height} pixels"
    parts = [size]
    if isinstance(plan.task, Clip):
        clip = plan.task
        parts += [f"{clip.frames} frames at {clip.fps} a second", f"{clip.seconds:.2f} seconds"]
    if isinstance(plan.task, Edit) and plan.task.original_size:
        width, height = plan.task.original_size
        parts.append(f"given back at {width} x {height}")
    return " · ".join(parts)


def _repeats(note: str, plan: Plan) -> bool:
    """Whether the note, made for a finished result, says what the line of numbers says already."""
    if f"{plan.width} x {plan.height}" in note:
        return True
    return isinstance(plan.task, Clip) and f"{plan.task.frames} frames" in note


def _line(text: str, kind: str = "figures", **data: str) -> str:
    """`data` is for the page's script."""
    more = "".join(f' data-{name}="{value}"' for name, value in data.items())
    return f'<p class="{kind}"{more}>{escape(text)}</p>'
