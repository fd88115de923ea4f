"""From what the user asked to what exactly will run."""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import cast

from studio import model_places
from studio.demo_words import demo_note
from studio.errors import BadInput, MissingWeights
from studio.fields import LoraChoice, MediaRole
from studio.home import Home
from studio.hub_file import lora_on_hub
from studio.media_images import ImageInfo
from studio.modes import DECODE, SAVE, UPSCALE, Stage
from studio.needs import makers_loras
from studio.plan import (
    Anchor,
    Clip,
    ControlClip,
    Drawing,
    Edit,
    LoraUse,
    Plan,
    SoundTrack,
    Task,
)
from studio.planning_control import control_clip
from studio.planning_sizes import (
    clip_frames,
    crop_notes,
    length_notes,
    longest_side,
    result_size,
    size_notes,
)
from studio.presets import Sampling
from studio.request import Request, idle_controls
from studio.weights_hub_cache import cached
from studio.weights_lora import require_family, require_fit
from studio.weights_modules import modules_of

NOISE_FLOORS: Mapping[str, float | None] = {
    "": None,
    "none": None,
    "faint": 60.0,
    "audible": 45.0,
}
"""Decibels below full scale: just over 16-bit silence, and as loud as a quiet room."""


def plan_request(request: Request) -> tuple[Plan, ...]:
    """One plan for each result that the request asks for; its seed must be drawn already.

    Raises BadInput or MissingWeights, with a sentence, for what cannot run.
    """
    return tuple(plan_item(request, number) for number in range(request.count))


def plan_item(request: Request, number: int) -> Plan:
    """The plan of the `number`-th result."""
    control = control_clip(request)
    size = result_size(request, number, control)
    task = _task(request, number, control)
    loras = _user_loras(request)
    notes = [*idle_controls(request), *size_notes(request, size, control)]
    notes += [*crop_notes(request, size), *_lora_notes(request, loras), *_demo_notes(request)]
    if isinstance(task, Clip):
        notes += length_notes(request, task.frames)
    return Plan(
        mode=request.mode.id,
        engine=request.weights.engine,
        weights=request.weights,
        preset=request.preset.id,
        stages=_stages(request),
        prompt=request.text("prompt"),
        negative=request.text("negative") if request.acts("negative") else "",
        seed=cast(int, request.params["seed"]),
        width=size[0],
        height=size[1],
        sampling=_sampling(request),
        loras=(*_makers_loras(request), *loras),
        task=task,
        notes=tuple(notes),
    )


def _demo_notes(request: Request) -> list[str]:
    """What demo weights know, where the prompt says something else."""
    said = demo_note(request.mode.id, request.text("prompt")) if request.weights.demo else None
    return [said] if said else []


def _stages(request: Request) -> tuple[Stage, ...]:
    count = len(request.sampling)
    samples: list[Stage] = []
    for number in range(1, count + 1):
        label = "Sampling" if count == 1 else f"Sampling {number} of {count}"
        samples += [*([UPSCALE] if samples else []), Stage(f"sample{number}", label)]
    return (*request.mode.stages, *samples, DECODE, SAVE)


def _sampling(request: Request) -> tuple[Sampling, ...]:
    """The preset's, with the user's guidance where the preset has any."""
    for sampling in request.sampling:
        for adapter in sampling.adapters:
            request.weights.adapter(adapter.name)
    if not request.acts("guidance"):
        return request.sampling
    return tuple(_guided(one, request.number("guidance")) for one in request.sampling)


def _guided(sampling: Sampling, scale: float) -> Sampling:
    if sampling.guidance.scale == 1.0:
        return sampling
    return replace(sampling, guidance=replace(sampling.guidance, scale=scale))


def _task(request: Request, number: int, control: ControlClip | None) -> Task:
    if request.mode.makes == "video":
        return _clip(request, control)
    return _edit(request, number) if request.given("source") else Drawing()


def _edit(request: Request, number: int) -> Edit:
    info = cast(ImageInfo, request.media["image"][number])
    return Edit(
        source=request.files("image")[number],
        references=request.files("reference"),
        longest_side=longest_side(request),
        original_size=(info.width, info.height) if request.params["original_size"] else None,
    )


def _clip(request: Request, control: ControlClip | None) -> Clip:
    return Clip(
        frames=clip_frames(request),
        fps=cast(int, request.params["fps"]),
        first=_anchor(request, "first_frame"),
        last=_anchor(request, "last_frame"),
        sound=_sound(request),
        control=control,
    )


def _anchor(request: Request, role: MediaRole) -> Anchor | None:
    field = request.given(role)
    if field is None or field.strength is None:
        return None
    return Anchor(request.files(field.name)[0], request.number(field.strength))


def _sound(request: Request) -> SoundTrack | None:
    field = request.given("sound")
    if field is None:
        return None
    return SoundTrack(request.files(field.name)[0], NOISE_FLOORS[request.text("noise_floor")])


def _makers_loras(request: Request) -> list[LoraUse]:
    """The model makers' LoRAs that the controls ask for."""
    return [
        LoraUse(name, request.weights.adapter(name), strength)
        for name, strength in makers_loras(request.mode, request.params)
    ]


def _user_loras(request: Request) -> list[LoraUse]:
    choices = cast("tuple[LoraChoice, ...]", request.params["loras"])
    found = [(find_lora(request.home, choice.file), choice.strength) for choice in choices]
    return [LoraUse(path.stem, path, strength) for path, strength in found]


def _lora_notes(request: Request, loras: Iterable[LoraUse]) -> list[str]:
    """A sentence for each of the user's LoRAs that fits only in part; by its header alone.

    Raises BadInput for one that was made for another model.
    """
    modules = modules_of(request.weights)
    notes = []
    for lora in loras:
        try:
            header = require_family(lora.path, request.mode.family)
            notes.append(require_fit(header, modules) if modules else "")
        except BadInput as error:
            raise BadInput(str(error), "loras") from error
    return [note for note in notes if note]


def find_lora(home: Home, name: str) -> Path:
    """A LoRA by its name in a LoRA folder, with or without its ending, by its path, or on the Hub.

    Raises BadInput where there is none, MissingWeights for one that is on the Hub only.
    """
    listed = model_places.names_in(home, "loras")
    for known in (name, f"{name}{model_places.ENDING}"):
        if known in listed:
            return listed[known]
    if Path(name).expanduser().is_file():
        return Path(name).expanduser()
    remote = lora_on_hub(name)
    if remote is None:
        raise BadInput(
            f"There is no LoRA '{name}': put it into '{home.models / 'loras'}', give its path, or"
            " its place on the Hub as 'owner/repository/file.safetensors'.",
            "loras",
        )
    here = cached(remote)
    if here is None:
        raise MissingWeights(
            f"The LoRA '{name}' is not on this machine: run 'python -m studio fetch --lora {name}'."
        )
    return here
