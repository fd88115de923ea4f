"""What exactly will run: everything an engine needs to know, decided before it is called."""

from dataclasses import dataclass
from pathlib import Path

from studio.modes import Stage
from studio.presets import Sampling
from studio.weights import Weights


@dataclass(frozen=True)
class LoraUse:
    """A LoRA beside the preset's own: the user's, or one that a control asks for."""

    label: str
    path: Path
    strength: float


@dataclass(frozen=True)
class Anchor:
    """A picture that a clip starts or ends on; strength 0 to 1."""

    image: Path
    strength: float


@dataclass(frozen=True)
class SoundTrack:
    """A sound that the clip is made to, and that is kept in it as it is."""

    path: Path
    noise_floor: float | None
    """Decibels below full scale of the noise under the copy that the model hears; None: none."""


@dataclass(frozen=True)
class Edges:
    """Canny's limits on the gradient of 8-bit brightness."""

    low: int
    high: int


@dataclass(frozen=True)
class Depth:
    """How near everything is, as an estimator sees it."""

    estimator: Path
    """A Depth Anything folder of transformers."""


@dataclass(frozen=True)
class Pose:
    """The skeletons of all people in the picture."""

    detector: Path
    """An RT-DETR folder of transformers; it finds the people."""
    estimator: Path
    """A ViTPose folder of transformers; it finds their joints."""


EstimatedMap = Depth | Pose
ControlMap = Edges | EstimatedMap


@dataclass(frozen=True)
class ControlClip:
    """A video whose movement is followed; its sound is kept."""

    path: Path
    map: ControlMap | None
    """What is drawn of it; None: the frames are a control map already."""
    strength: float
    downscale: int
    """How many times smaller the control LoRA wants its reference."""


@dataclass(frozen=True)
class Drawing:
    """A picture from text alone."""


@dataclass(frozen=True)
class Edit:
    """A picture made from `source`, with `references` shown to the model beside it."""

    source: Path
    references: tuple[Path, ...]
    longest_side: int
    original_size: tuple[int, int] | None
    """Scale the result to this width and height; None: leave it as it was made."""


@dataclass(frozen=True)
class Clip:
    frames: int
    fps: int
    first: Anchor | None = None
    last: Anchor | None = None
    sound: SoundTrack | None = None
    control: ControlClip | None = None

    @property
    def seconds(self) -> float:
        return self.frames / self.fps


Task = Drawing | Edit | Clip


@dataclass(frozen=True)
class Plan:
    """One result to be made. Engines read this and nothing else."""

    mode: str
    engine: str
    weights: Weights
    preset: str
    stages: tuple[Stage, ...]
    prompt: str
    negative: str
    """Empty where guidance is off or nothing was asked."""
    seed: int
    width: int
    height: int
    sampling: tuple[Sampling, ...]
    """One entry a stage; all but the last work at half the size of the next."""
    loras: tuple[LoraUse, ...]
    task: Task
    notes: tuple[str, ...] = ()
    """Sentences for the user: what was snapped, cut or left out."""
