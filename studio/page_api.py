"""The named endpoints for scripts, which are the MCP tools too: one per mode, and their jobs.

`/<mode id>` takes the mode's controls and returns the id of the queued job; `page_api_jobs` tells
what becomes of it. docs/api.md is the guide.
"""

import importlib.util
import inspect
import json
import logging
from collections.abc import Callable, Mapping, Sequence
from functools import wraps
from typing import Any, Literal, ParamSpec, TypeVar

import gradio as gr

from studio.errors import NotAllowed, StudioError
from studio.fields import (
    ChoiceControl,
    Field,
    LoraControl,
    MediaControl,
    NumberControl,
    ToggleControl,
)
from studio.jobs import Job
from studio.modes import MODES, Mode
from studio.page_api_files import brought_files
from studio.page_api_jobs import JobEndpoints
from studio.page_owner import NO_OWNER, owner_of
from studio.page_values import is_upload, not_uploaded, paths_in, safe_values
from studio.studio import COMMAND_LINE, Studio

logger = logging.getLogger(__name__)

P = ParamSpec("P")
T = TypeVar("T")

_MAKES = {"image": "a PNG picture", "video": "an MP4 clip"}


class Refusal(gr.Error):  # type: ignore[misc]
    """A `StudioError` as Gradio passes it on: its sentence as the message, its kind as the title.

    MCP has its text alone, and gets both in it.
    """

    def __init__(self, error: StudioError) -> None:
        super().__init__(str(error), title=type(error).__name__, print_exception=False)

    def __str__(self) -> str:
        return json.dumps({"error": self.message, "kind": self.title})


def add_endpoints(studio: Studio, engine: str) -> None:
    """Adds all of them. `engine` is forced for the modes that it can run."""
    for mode in MODES.values():
        _add(_submit(studio, engine, mode), mode.id)
    jobs = JobEndpoints(studio)
    _add(_refusing(jobs.jobs), "jobs")
    _add(_refusing_async(jobs.job), "job")
    _add(_refusing(jobs.cancel), "cancel")


def has_mcp() -> bool:
    """Whether the endpoints can be served as MCP tools; says it where not."""
    found = importlib.util.find_spec("mcp") is not None
    if not found:
        logger.warning("No MCP tools: the package 'mcp' of requirements.txt is not installed.")
    return found


def queue_request(
    studio: Studio, engine: str, mode: Mode, raw: Mapping[str, object], request: gr.Request
) -> Job:
    """Checks the raw values and queues a job for the visitor. `engine` forces one that fits.

    Raises BadInput, MissingWeights or NotAllowed, and then nothing is queued.
    """
    owner = owner_of(request)
    if owner is None:
        raise NotAllowed(NO_OWNER)
    if studio.visits is not None:
        studio.visits.keep(owner)
    own_files = owner == COMMAND_LINE
    forced = {"engine": engine} if engine in mode.engines else {}
    with brought_files(mode, raw, lambda path: studio.uploads.note(owner, path)) as brought:
        values = safe_values(mode, brought, studio.home, own_files)
        for field in mode.media:
            if not all(
                studio.uploads.is_of(owner, path) or (own_files and not is_upload(path))
                for path in paths_in(values[field.name])
            ):
                raise not_uploaded(field)
        return studio.submit(owner, mode.id, {**values, **forced})


def _add(function: Callable[..., object], name: str) -> None:
    """The name of the function is the tool's. Never in Gradio's queue, which is for handlers that
    compute; its clients go through it all the same, hence no limit there.
    """
    function.__name__ = name
    gr.api(function, api_name=name, queue=False, concurrency_limit=None)


def _refusing(function: Callable[P, T]) -> Callable[P, T]:
    @wraps(function)
    def call(*args: P.args, **kwargs: P.kwargs) -> T:
        try:
            return function(*args, **kwargs)
        except StudioError as error:
            raise Refusal(error) from error

    return call


def _refusing_async(function: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(function)
    async def call(*args: object, **kwargs: object) -> object:
        try:
            return await function(*args, **kwargs)
        except StudioError as error:
            raise Refusal(error) from error

    return call


def _submit(studio: Studio, engine: str, mode: Mode) -> Callable[..., str]:
    parameters = _parameters(mode)
    names = [parameter.name for parameter in parameters]

    def submit(request: gr.Request, *values: object) -> str:
        raw = dict(zip(names, values, strict=True))
        return queue_request(studio, engine, mode, raw, request).id

    _declare(submit, mode, parameters)
    return _refusing(submit)


def _declare(function: Callable[..., str], mode: Mode, parameters: Sequence[Any]) -> None:
    """Gives the function the signature that Gradio builds the endpoint from."""
    request = inspect.Parameter(
        "request", inspect.Parameter.POSITIONAL_OR_KEYWORD, annotation=gr.Request
    )
    function.__signature__ = inspect.Signature(  # type: ignore[attr-defined]
        [request, *parameters], return_annotation=str
    )
    function.__annotations__ = {one.name: one.annotation for one in (request, *parameters)}
    function.__doc__ = _description(mode)


def _parameters(mode: Mode) -> list[inspect.Parameter]:
    """One for each control, those that must be given first, as Python wants it."""
    parameters = [_parameter(field) for field in mode.fields]
    weights = inspect.Parameter(
        "weights", inspect.Parameter.POSITIONAL_OR_KEYWORD, default="", annotation=str
    )
    required = [one for one in parameters if one.default is inspect.Parameter.empty]
    return [*required, *(one for one in parameters if one not in required), weights]


def _parameter(field: Field) -> inspect.Parameter:
    default: object = None if isinstance(field, MediaControl | LoraControl) else field.default
    return inspect.Parameter(
        field.name,
        inspect.Parameter.POSITIONAL_OR_KEYWORD,
        default=inspect.Parameter.empty if getattr(field, "required", False) else default,
        annotation=_annotation(field),
    )


def _annotation(field: Field) -> object:
    """The Python type of a control's value, as the API's own pages show it.

    A file is text where no client of Gradio's uploads it: its address, its data, its path.
    """
    if isinstance(field, NumberControl):
        number: Any = int if field.integer else float
        return number | None if field.default is None else number
    if isinstance(field, ChoiceControl):
        return Literal[tuple(option.value for option in field.options)]
    if isinstance(field, ToggleControl):
        return bool
    if isinstance(field, MediaControl):
        file: Any = list[gr.FileData | str] if field.most > 1 else gr.FileData | str
        return file if field.required else file | None
    return list[str] | None if isinstance(field, LoraControl) else str


def _description(mode: Mode) -> str:
    lines = [f"    {field.name}: {_about(field)}" for field in mode.fields]
    return "\n".join(
        [
            f"{mode.does}. Makes {_MAKES[mode.makes]}. Returns the id of the queued job at once;"
            " ask 'job' with it, and with 'wait', for the files.",
            "",
            "Args:",
            *lines,
            "    weights: Which weights run it: '' for the best that are here, 'demo' for the demo"
            " weights.",
        ]
    )


def _about(field: Field) -> str:
    """What the control does and allows, in one line, as Gradio's reader of docstrings needs it."""
    allowed = ""
    if isinstance(field, NumberControl):
        empty = f"; left out: {field.empty}" if field.default is None else ""
        limits = f"{field.minimum:.12g} to {field.maximum:.12g} {field.unit}".rstrip()
        allowed = f" {limits}{empty}."
    if isinstance(field, MediaControl):
        allowed = f" Up to {field.most} files." if field.most > 1 else ""
        allowed += f" The {field.kind} as an upload, as an http(s) address, or as a data: URI."
    if isinstance(field, ChoiceControl):
        meant = [f"{one.value}: {(one.help or one.label).rstrip('.')}" for one in field.options]
        allowed = f" One of {'; '.join(meant)}."
    return " ".join(f"{field.label}. {field.help}{allowed}".split())
