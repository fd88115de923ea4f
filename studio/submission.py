"""From a request to a row in the job table, and back: what is stored is enough to run it again."""

from collections.abc import Mapping
from dataclasses import asdict, is_dataclass
from pathlib import Path

from studio.engine import ENGINES
from studio.errors import BadInput
from studio.fields import Params
from studio.home import Home
from studio.inputs import InputFile, input_path, store_input
from studio.jobs import Job, JobTable
from studio.modes import Mode
from studio.outputs import ensure_room
from studio.planning import plan_request
from studio.request import Request, mode_called, read_request, with_seed

ROOM = 200 * 1000**2
"""Bytes that must be free for a job: the longest full-HD clip and its latents stay below."""


def submit(
    table: JobTable,
    home: Home,
    owner: str,
    mode_id: str,
    raw: Mapping[str, object],
    names: Mapping[str, str] | None = None,
) -> Job:
    """Check everything, keep the inputs and put the job into the queue.

    `names` gives the original name of an uploaded file by its path. Raises BadInput,
    MissingWeights, or EngineFailed for a graph of the user's, and then nothing is queued.
    """
    request = with_seed(read_request(home, mode_id, raw))
    plans = plan_request(request)
    for plan in plans:
        ENGINES[plan.engine].check(home, plan)
    ensure_room(home, ROOM * len(plans))
    inputs = _store_media(request, names or {})
    batch = request.mode.batch
    return table.submit(
        owner=owner,
        mode=mode_id,
        params=plain_params(request.mode, request.params),
        seed=plans[0].seed,
        inputs=inputs,
        items=inputs[batch] if batch else (None,),
    )


def plain_params(mode: Mode, params: Params) -> dict[str, object]:
    """The values as JSON knows them, without the media."""
    media = {field.name for field in mode.media}
    return {name: _plain(value) for name, value in params.items() if name not in media}


def stored_request(home: Home, job: Job, item: int) -> Request:
    """The request of one item of a stored job, its files taken from the input store.

    Raises BadInput where an input is no longer there.
    """
    media = {
        name: [str(input_path(home, stored)) for stored in files]
        for name, files in _item_inputs(job, item).items()
    }
    return read_request(home, job.mode, {**job.params, **media})


def submit_again(table: JobTable, home: Home, job: Job, item: int, seed: int | None) -> Job:
    """Queues one item of a stored job as a job of its own; with no `seed` a new one is drawn.

    Raises as `submit`, and BadInput where an input is no longer there.
    """
    inputs = _item_inputs(job, item)
    paths = {
        name: {str(input_path(home, stored)): stored.name for stored in files}
        for name, files in inputs.items()
    }
    raw = {**job.params, **{name: list(files) for name, files in paths.items()}, "seed": seed}
    names = {path: name for files in paths.values() for path, name in files.items()}
    return submit(table, home, job.owner, job.mode, raw, names)


def _item_inputs(job: Job, item: int) -> dict[str, tuple[InputFile, ...]]:
    """The item's own file of a batch, and what all items share."""
    batch = mode_called(job.mode).batch
    own = {batch: (job.inputs[batch][item],)} if batch else {}
    return {**job.inputs, **own}


def _store_media(request: Request, names: Mapping[str, str]) -> dict[str, tuple[InputFile, ...]]:
    return {
        field.name: tuple(
            _store(request.home, path, names, field.name) for path in request.files(field.name)
        )
        for field in request.mode.media
    }


def _store(home: Home, path: Path, names: Mapping[str, str], control: str) -> InputFile:
    try:
        return store_input(home, path, names.get(str(path)))
    except BadInput as error:
        raise BadInput(str(error), control) from error


def _plain(value: object) -> object:
    if isinstance(value, tuple):
        return [_plain(one) for one in value]
    return asdict(value) if is_dataclass(value) and not isinstance(value, type) else value
