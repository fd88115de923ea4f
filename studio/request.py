"""What the user asked: the values of one mode's controls, checked, with the media looked at."""

import secrets
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import cast

from studio.engine import weights_to_run
from studio.errors import BadInput
from studio.fields import MediaControl, MediaRole, Params, TextControl, parse_fields
from studio.home import Home
from studio.media_clips import ClipInfo, probe_clip
from studio.media_images import ImageInfo, probe_image
from studio.media_sound import SoundInfo, probe_sound
from studio.mode_controls import LARGEST_SEED
from studio.modes import MODES, Mode
from studio.presets import Preset, Sampling
from studio.weights import Weights

ROUTING = (
    TextControl(name="engine", label="Engine"),
    TextControl(name="weights", label="Weights"),
)
"""What every mode accepts beside its own controls: which engine and weights run it."""

MediaInfo = ImageInfo | SoundInfo | ClipInfo

_PROBES = {"image": probe_image, "audio": probe_sound, "video": probe_clip}


@dataclass(frozen=True)
class Request:
    """A request whose values are allowed one by one, and what its files are."""

    home: Home
    mode: Mode
    params: Params
    media: Mapping[str, tuple[MediaInfo, ...]]
    """What each given file is, by control and in the order given."""
    weights: Weights

    @property
    def preset(self) -> Preset:
        return self.mode.presets[self.text("preset")]

    @property
    def sampling(self) -> tuple[Sampling, ...]:
        """The preset's, as the engine of the weights runs it."""
        return self.preset.sampling_of(self.weights.engine)

    @property
    def count(self) -> int:
        """How many results are asked for."""
        return len(self.files(self.mode.batch)) if self.mode.batch else 1

    def text(self, name: str) -> str:
        return cast(str, self.params.get(name) or "")

    def number(self, name: str) -> float:
        return cast(float, self.params[name])

    def whole(self, name: str) -> int | None:
        """A whole number that may be left out."""
        return cast("int | None", self.params.get(name))

    def acts(self, name: str) -> bool:
        """Whether the mode has the control and it has an effect beside the other values."""
        return any(field.name == name and field.acts(self.params) for field in self.mode.fields)

    def files(self, name: str) -> tuple[Path, ...]:
        return tuple(map(Path, cast("tuple[str, ...]", self.params[name])))

    def given(self, *roles: MediaRole) -> MediaControl | None:
        """The control with a file that plays the first of `roles` that any file plays."""
        for role in roles:
            for field in self.mode.media:
                if field.role == role and self.media[field.name]:
                    return field
        return None


def mode_called(mode_id: str) -> Mode:
    """The mode. Raises BadInput for an unknown one."""
    if mode_id not in MODES:
        raise BadInput(f"There is no mode '{mode_id}': choose {', '.join(MODES)}.", "mode")
    return MODES[mode_id]


def read_request(home: Home, mode_id: str, raw: Mapping[str, object]) -> Request:
    """The request with every value parsed and every file probed.

    Raises BadInput with a sentence, naming the control, for the first that is not allowed.
    """
    mode = mode_called(mode_id)
    params = parse_fields((*mode.fields, *ROUTING), raw)
    media = {field.name: _probe_all(field, params) for field in mode.media}
    weights = weights_to_run(home, mode, str(params["engine"]), str(params["weights"]))
    return Request(home, mode, params, media, weights)


def with_seed(request: Request) -> Request:
    """The request with a seed drawn where the user left it open."""
    if request.params["seed"] is not None:
        return request
    return replace(request, params={**request.params, "seed": secrets.randbelow(LARGEST_SEED + 1)})


def idle_controls(request: Request) -> tuple[str, ...]:
    """A sentence for each control that was set although it does not act beside the others."""
    return tuple(
        f"{field.label} has no effect with these settings and is left out."
        for field in request.mode.fields
        if not field.acts(request.params) and request.params[field.name] != field.parse(None)
    )


def _probe_all(field: MediaControl, params: Params) -> tuple[MediaInfo, ...]:
    return tuple(_probe(field, file) for file in cast("tuple[str, ...]", params[field.name]))


def _probe(field: MediaControl, file: str) -> MediaInfo:
    try:
        return cast(MediaInfo, _PROBES[field.kind](Path(file)))
    except BadInput as error:
        raise BadInput(f"{field.label}: {error}", field.name) from error
