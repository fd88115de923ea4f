"""One named endpoint per mode for scripts, with the mode's controls as its parameters."""

import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

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
from studio.modes import Mode
from studio.page_owner import NO_OWNER, owner_of
from studio.page_values import not_uploaded, paths_in, safe_values
from studio.studio import Studio


def queue_request(
    studio: Studio, engine: str, mode: Mode, raw: Mapping[str, object], request: gr.Request
) -> Job:
    """Checks the raw values and queues a job for the visitor. `engine` forces one that fits.

    Raises BadInput or MissingWeights, and then nothing is queued.
    """
    owner = owner_of(request)
    if owner is None:
        raise NotAllowed(NO_OWNER)
    if studio.visits is not None:
        studio.visits.keep(owner)
    values = safe_values(mode, raw, studio.home)
    for field in mode.media:
        if not all(studio.uploads.is_of(owner, path) for path in paths_in(values[field.name])):
            raise not_uploaded(field)
    forced = {"engine": engine} if engine in mode.engines else {}
    return studio.submit(owner, mode.id, {**values, **forced})


def add_endpoint(studio: Studio, engine: str, mode: Mode) -> None:
    """Adds `/<mode id>`, which takes the mode's controls and returns the id of the queued job."""
    parameters = _parameters(mode)
    names = [parameter.name for parameter in parameters]

    def submit(request: gr.Request, *values: object) -> str:
        raw = dict(zip(names, values, strict=True))
        try:
            return queue_request(studio, engine, mode, raw, request).id
        except StudioError as error:
            raise gr.Error(str(error), print_exception=False) from error

    _declare(submit, mode, parameters)
    gr.api(submit, api_name=mode.id, queue=False)


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
    """The Python type of a control's value, as the API's own pages show it."""
    if isinstance(field, NumberControl):
        number: Any = int if field.integer else float
        return number | None if field.default is None else number
    if isinstance(field, ChoiceControl):
        return Literal[tuple(option.value for option in field.options)]
    if isinstance(field, ToggleControl):
        return bool
    if isinstance(field, MediaControl):
        file: Any = list[gr.FileData] if field.most > 1 else gr.FileData
        return file if field.required else file | None
    return list[str] | None if isinstance(field, LoraControl) else str


def _description(mode: Mode) -> str:
    lines = [f"    {field.name}: {field.label}. {field.help}".rstrip() for field in mode.fields]
    return "\n".join([f"{mode.does}. Returns the id of the queued job.", "", "Args:", *lines])
