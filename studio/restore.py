"""Settings that are to fill a form again: of a job, or of any file that says how it was made.

What nobody vouches for is checked like anything typed by hand, and what a form here cannot take
is said in a list instead of being dropped.
"""

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace

from studio.engine import weights_for
from studio.errors import BadInput
from studio.fields import Field, LoraChoice, LoraControl, MediaControl, NumberControl
from studio.home import Home
from studio.inputs import InputFile, input_path, stored_input
from studio.jobs import Item, Job
from studio.model_places import names_in
from studio.modes import MODES, Mode
from studio.recipe_read import Found
from studio.request import ROUTING, mode_called

FOREIGN_FPS = 24
"""ComfyUI's graphs count frames and leave the rate to the node that saves the clip."""

_MOST_LOST = 60
_LONGEST_LOST = 200

Owns = Callable[[str], bool]
"""Whether the visitor may have the input of this SHA-256."""


@dataclass(frozen=True)
class Wish:
    """What a form is to show. `whole`: controls that are not named go back to their defaults."""

    mode: str
    settings: Mapping[str, object]
    inputs: Mapping[str, tuple[InputFile, ...]]
    whole: bool
    lost: tuple[str, ...] = ()


@dataclass(frozen=True)
class Restored:
    """Values that the mode's controls allow, and files that are there and the visitor's own."""

    mode: Mode
    values: Mapping[str, object]
    """By control; one that is not in it stays as it is."""
    files: Mapping[str, tuple[InputFile, ...]]
    weights: str | None
    lost: tuple[str, ...]
    """A short text for each setting that could not be restored."""

    @property
    def labels(self) -> tuple[str, ...]:
        """The controls that were filled, as the page calls them."""
        filled = {*self.values, *(name for name, files in self.files.items() if files)}
        return tuple(field.label for field in self.mode.fields if field.name in filled)


def wish_of_job(job: Job, item: Item) -> Wish:
    """The settings of one item of a job, with the seed that it was made with."""
    batch = mode_called(job.mode).batch
    own = {batch: (item.source,)} if batch and item.source else {}
    settings = {**job.params, "seed": item.details.get("seed", job.seed)}
    return Wish(job.mode, settings, {**job.inputs, **own}, whole=True)


def wish_of_file(found: Found, makes: str, preferred: str = "") -> Wish:
    """What a file says. `makes` is what it is, `preferred` the mode that a foreign one goes to
    where that mode draws the like from text alone.
    """
    if found.recipe is None:
        settings = _in_our_terms(found.settings)
        return Wish(_mode_for(makes, preferred), settings, {}, whole=False, lost=found.lost)
    inputs: dict[str, tuple[InputFile, ...]] = {}
    for one in found.recipe.inputs:
        inputs[one.role] = (*inputs.get(one.role, ()), stored_input(one.sha256, one.name))
    recipe = found.recipe
    settings = {"preset": recipe.preset, **found.settings, "weights": recipe.weights}
    return Wish(found.recipe.mode, settings, inputs, whole=True, lost=found.lost)


def restore(home: Home, owns: Owns, wish: Wish) -> Restored:
    """What of the wish can be filled in. Raises BadInput for a mode that is not there."""
    mode = mode_called(wish.mode)
    lost = list(wish.lost)
    values, files = _defaults(mode) if wish.whole else {}, {}
    for field in mode.fields:
        if isinstance(field, MediaControl):
            if wish.whole or field.name in wish.inputs:
                files[field.name] = _own_files(home, owns, field, wish, lost)
        elif field.name in wish.settings:
            values.update(_value(home, field, wish.settings[field.name], lost))
    lost += _unknown(mode, wish)
    weights = _weights(home, mode, wish.settings.get("weights"), lost)
    short = tuple(one[:_LONGEST_LOST] for one in lost[:_MOST_LOST])
    return Restored(mode, values, files, weights, short)


def wish_to_json(wish: Wish) -> dict[str, object]:
    """The wish as the page's script carries it from one request to the next."""
    return asdict(replace(wish, settings=dict(wish.settings), inputs=dict(wish.inputs)))


def wish_from_json(data: Mapping[str, object]) -> Wish:
    """Raises BadInput for what `wish_to_json` never gave."""
    try:
        return Wish(
            mode=str(data["mode"]),
            settings=dict(data["settings"]),  # type: ignore[call-overload]
            inputs={
                str(role): tuple(stored_input(str(one["sha256"]), str(one["name"])) for one in all_)
                for role, all_ in data["inputs"].items()  # type: ignore[attr-defined]
            },
            whole=bool(data["whole"]),
            lost=tuple(map(str, data["lost"])),  # type: ignore[call-overload]
        )
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise BadInput("These settings are damaged: choose the file again.") from error


def _mode_for(makes: str, preferred: str) -> str:
    """A mode that draws the like from text alone: the preferred one, else the first."""
    fitting = [one.id for one in MODES.values() if one.makes == makes and not one.media]
    return preferred if preferred in fitting else fitting[0]


def _in_our_terms(settings: Mapping[str, object]) -> dict[str, object]:
    """A foreign file's settings by our controls: frames are seconds here."""
    ours = dict(settings)
    frames = ours.pop("frames", None)
    if isinstance(frames, int | float):
        ours |= {"seconds": round(frames / FOREIGN_FPS, 1), "fps": FOREIGN_FPS}
    return ours


def _defaults(mode: Mode) -> dict[str, object]:
    fields = [field for field in mode.fields if not isinstance(field, MediaControl)]
    return {field.name: () if isinstance(field, LoraControl) else field.default for field in fields}


def _value(home: Home, field: Field, raw: object, lost: list[str]) -> Mapping[str, object]:
    """The control's value; empty where it allows none like this."""
    try:
        value = field.parse(raw)
    except BadInput as error:
        lost.append(str(error))
        return {}
    if isinstance(field, LoraControl):
        return {field.name: _own_loras(home, field.parse(raw), lost)}
    # A number that was left open stays open, whatever it is called in another program.
    if value is None and not isinstance(field, NumberControl):
        return {}
    return {field.name: value}


def _own_loras(
    home: Home, chosen: tuple[LoraChoice, ...], lost: list[str]
) -> tuple[LoraChoice, ...]:
    names = names_in(home, "loras")
    found = []
    for choice in chosen:
        name = next(
            (one for one in (choice.file, f"{choice.file}.safetensors") if one in names), ""
        )
        if name:
            found.append(replace(choice, file=name))
        else:
            lost.append(f"LoRA {choice.file}:{choice.strength:g} is not in the LoRA folder")
    return tuple(found)


def _own_files(
    home: Home, owns: Owns, field: MediaControl, wish: Wish, lost: list[str]
) -> tuple[InputFile, ...]:
    """The files that can be handed back, at most as many as the control takes."""
    found = []
    for file in wish.inputs.get(field.name, ())[: field.most]:
        if _is_there(home, file) and owns(file.sha256):
            found.append(file)
        else:
            lost.append(f"{field.label}: {file.name} is not among your files; add it again")
    return tuple(found)


def _is_there(home: Home, file: InputFile) -> bool:
    try:
        return input_path(home, file).is_file()
    except BadInput:
        return False


def _unknown(mode: Mode, wish: Wish) -> list[str]:
    """What the wish says and the mode has no control for."""
    known = {field.name for field in (*mode.fields, *ROUTING)}
    settings = [
        f"{name.replace('_', ' ').capitalize()}: {value}"
        for name, value in wish.settings.items()
        if name not in known and value not in (None, "")
    ]
    return settings + [f"Input {role}" for role in wish.inputs if role not in known]


def _weights(home: Home, mode: Mode, label: object, lost: list[str]) -> str | None:
    """The label where such weights are here; None leaves the form's own choice."""
    if not label:
        return None
    if str(label) in [weights.label for weights in weights_for(home, mode)]:
        return str(label)
    lost.append(f"Weights: {label} are not on this machine")
    return None
