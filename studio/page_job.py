"""A job as the page's script reads it: plain JSON, only what its owner may see."""

import zlib
from collections.abc import Collection, Mapping

from studio.estimates import about
from studio.events import MemoryUsed
from studio.jobs import CancelOutcome, Failure, Item, Job, State
from studio.modes import MODES, Mode
from studio.weights_hub import GIGABYTE
from studio.zero_failures import LINKS, RETRIES

View = dict[str, object]
"""A JSON object."""

STATES: Mapping[State, str] = {
    "queued": "Waiting",
    "running": "Working",
    "done": "Done",
    "failed": "Failed",
    "cancelled": "Cancelled",
    "interrupted": "Interrupted",
}

CANCELLED: Mapping[CancelOutcome, str] = {
    CancelOutcome.WAS_QUEUED: "Taken out of the queue.",
    CancelOutcome.STOPPING: "Stopping after this step.",
    CancelOutcome.HAD_FINISHED: "It had already ended.",
    CancelOutcome.UNKNOWN: "There is no such job; it may have been made in another browser.",
}


def row_view(job: Job, position: int | None, now: float) -> View:
    """A line of the list of jobs. `position` is the place in the queue, 1 being next; `now` is in
    seconds since the epoch.
    """
    mode = MODES.get(job.mode)
    return {
        "id": job.id,
        "mode": job.mode,
        "tag": mode.tag if mode else job.mode.upper(),
        "prompt": str(job.params.get("prompt", "")),
        "seed": job.seed,
        "state": job.state,
        "stateLabel": STATES[job.state],
        "live": job.is_live,
        "position": position,
        "percent": round(100 * job.progress.fraction),
        "serial": job.serial,
        "created": job.created,
        "elapsed": _elapsed(job, now),
    }


def job_view(
    job: Job,
    position: int | None,
    preview: bytes | None,
    now: float,
    tell_details: bool,
    gone: Collection[str] = (),
    memory: MemoryUsed | None = None,
) -> View:
    """All that the page shows of a job.

    `tell_details` adds what tells of the server: tracebacks, which name its paths, and its
    `memory`. `gone` are the outputs whose file was deleted.
    """
    mode = MODES.get(job.mode)
    return {
        **row_view(job, position, now),
        "title": mode.label if mode else job.mode,
        "preset": _preset_label(mode, job),
        "stopping": job.cancel_requested and job.is_live,
        "canRerun": job.can_rerun,
        "progress": _progress_view(job),
        "left": _left(job, now),
        "memory": _memory_sentence(memory) if memory and tell_details else None,
        "preview": zlib.crc32(preview) if preview else None,
        "notes": list(job.notes),
        "failure": _failure_view(job.failure, tell_details),
        "items": [_item_view(job, item, tell_details, gone) for item in job.items],
    }


def _preset_label(mode: Mode | None, job: Job) -> str:
    preset = mode.presets.get(job.preset or "") if mode else None
    return preset.label if preset else job.preset or ""


def _progress_view(job: Job) -> View | None:
    progress = job.progress
    if progress.stage is None or job.state != "running":
        return None
    return {
        "label": progress.label or f"Stage {progress.stage + 1}",
        "stage": progress.stage + 1,
        "stages": max(len(progress.stages), progress.stage + 1),
        "step": progress.step,
        "steps": progress.steps,
    }


def _elapsed(job: Job, now: float) -> float | None:
    """Seconds since the start, to the end where it has ended."""
    if job.state == "running" and job.started is not None:
        return max(0.0, now - job.started)
    return job.seconds


def _left(job: Job, now: float) -> str | None:
    """How long until the end of the whole job; None where nothing was learned yet."""
    forecast = job.progress.forecast
    if forecast is None or job.state != "running":
        return None
    seconds = forecast.remaining(now)
    return "almost done" if seconds < 1 else f"{about(seconds)} left"


def _memory_sentence(memory: MemoryUsed) -> str:
    used, total = memory.used / GIGABYTE, memory.total / GIGABYTE
    return f"{used:.1f} of {total:.0f} GB of {memory.kind} in use"


def _failure_view(failure: Failure | None, tell_details: bool) -> View | None:
    if failure is None:
        return None
    return {
        "sentence": failure.sentence,
        "stage": failure.stage,
        "details": failure.details if tell_details else None,
        "links": LINKS.get(failure.kind, ()),
        "longer": failure.kind in RETRIES,
        "retries": failure.kind == RETRIES[0],
    }


def _item_view(job: Job, item: Item, tell_details: bool, gone: Collection[str]) -> View:
    mode = MODES.get(job.mode)
    frames, fps = item.details.get("frames"), item.details.get("fps")
    return {
        "index": item.index,
        "name": item.source.name if item.source else None,
        "before": f"media/{job.id}/input/{mode.batch}/{item.index}"
        if mode and mode.batch and item.source
        else None,
        "file": item.output.rpartition("/")[2] if item.output else None,
        "state": item.state,
        "stateLabel": STATES[item.state],
        "url": f"media/{job.id}/{item.index}" if item.output and item.output not in gone else None,
        "gone": item.output in gone,
        "kind": mode.makes if mode else None,
        "engine": item.engine,
        "weights": item.weights,
        "demo": bool(item.details.get("demo")),
        "seed": item.details.get("seed", job.seed),
        "width": item.details.get("width"),
        "height": item.details.get("height"),
        "seconds": frames / fps if frames and fps else None,
        "fps": fps,
        "took": sum(item.timings.values()) if item.output else None,
        "stages": [
            {"label": job.progress.stages.get(stage, stage), "seconds": seconds}
            for stage, seconds in item.timings.items()
        ],
        "notes": list(item.details.get("notes", ())),
        "findings": list(item.findings),
        "failure": _failure_view(item.failure, tell_details),
    }
