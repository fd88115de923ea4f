"""The presets: real recipes that set steps, sigmas, sampler, guidance and adapters together."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

Schedule = Literal["karras", "lightning", "shifted", "distilled", "dev"]
"""How noise levels are spaced: `karras` (SDXL), `lightning` (flow matching, fixed shift 3),
`shifted` (flow matching, shift by picture size), `distilled` (the given sigmas, unwarped),
`dev` (LTX flow matching, shift by token count, terminal 0.1)."""


@dataclass(frozen=True)
class Guidance:
    """How far one stream's prediction is pushed. All off by default: one evaluation a step."""

    scale: float = 1.0
    """Classifier-free guidance; 1 is off."""
    stg: float = 0.0
    """Spatio-temporal guidance: away from a prediction with perturbed attention; 0 is off."""
    modality: float = 1.0
    """Away from a prediction that does not see the other stream (sound or picture); 1 is off."""
    rescale: float = 0.0
    """Share of the guided prediction's contrast brought back to the unguided one's; 0 to 1."""


@dataclass(frozen=True)
class PresetAdapter:
    """A LoRA that belongs to the preset itself, by its name in the family's registry."""

    name: str
    strength: float


@dataclass(frozen=True)
class Sampling:
    """One run of the sampler over one set of latents."""

    steps: int
    sampler: str
    schedule: Schedule
    sigmas: tuple[float, ...] | None = None
    """Noise levels at the start of each step, without the closing 0. None: the schedule's own."""
    guidance: Guidance = Guidance()
    sound_guidance: Guidance = Guidance()
    adapters: tuple[PresetAdapter, ...] = ()

    @property
    def step_count(self) -> int:
        """Steps that the sampler takes: one for each given noise level."""
        return len(self.sigmas) if self.sigmas else self.steps


@dataclass(frozen=True)
class Preset:
    id: str
    label: str
    summary: str
    """One line that says what will run."""
    sampling: tuple[Sampling, ...]
    """One entry a stage; a second stage refines at twice the size after the latent upscale."""
    other_engines: Mapping[str, tuple[Sampling, ...]] = field(default_factory=dict)
    """As many stages, by engine, where an engine has samplers that the first one lacks."""

    def sampling_of(self, engine: str) -> tuple[Sampling, ...]:
        return self.other_engines.get(engine, self.sampling)


Presets = Mapping[str, Preset]

DEFAULT_PRESET = "balanced"


def _by_id(*presets: Preset) -> Presets:
    return {preset.id: preset for preset in presets}


# The distilled schedules of Lightricks' ltx-pipelines: eight steps, then three from 0.909.
DISTILLED_SIGMAS = (1.0, 0.99375, 0.9875, 0.98125, 0.975, 0.909375, 0.725, 0.421875)
REFINE_SIGMAS = (0.909375, 0.725, 0.421875)
# The second stage of Lightricks' two-stage ComfyUI templates for LTX-2.3.
OFFICIAL_REFINE_SIGMAS = (0.85, 0.725, 0.4219)

_DISTILLED = (PresetAdapter("distilled", 1.0),)
_DRAFT = Sampling(8, "euler", "distilled", DISTILLED_SIGMAS, adapters=_DISTILLED)
_REFINE = Sampling(3, "euler", "distilled", REFINE_SIGMAS, adapters=_DISTILLED)
_OFFICIAL_REFINE = Sampling(3, "euler", "distilled", OFFICIAL_REFINE_SIGMAS, adapters=_DISTILLED)
STG_BLOCK = 28
"""The transformer block whose attention LTX-2.3 perturbs for STG (ltx-pipelines)."""

# LTX-2.3 defaults of ltx-pipelines: 30 steps, picture 3, sound 7, STG 1, modality 3, rescale 0.7.
_DEV = Sampling(
    30,
    "euler",
    "dev",
    guidance=Guidance(scale=3.0, stg=1.0, modality=3.0, rescale=0.7),
    sound_guidance=Guidance(scale=7.0, stg=1.0, modality=3.0, rescale=0.7),
)

# Lightricks' two-stage ComfyUI template for LTX-2.3: the distilled LoRA at half strength, CFG++
# samplers at guidance 1, and a second stage on its own schedule.
_HALF_DISTILLED = (PresetAdapter("distilled", 0.5),)
_TEMPLATE = {
    "comfy": (
        Sampling(
            8,
            "euler_ancestral_cfg_pp",
            "distilled",
            DISTILLED_SIGMAS,
            adapters=_HALF_DISTILLED,
        ),
        Sampling(3, "euler_cfg_pp", "distilled", OFFICIAL_REFINE_SIGMAS, adapters=_HALF_DISTILLED),
    )
}

LTX_PRESETS = _by_id(
    Preset(
        "fast",
        "Fast",
        "Distilled: 8 steps at half size, upscale x2, 3 steps.",
        (_DRAFT, _REFINE),
    ),
    Preset(
        "balanced",
        "Balanced",
        "Distilled: 8 steps at half size, upscale x2, 3 steps on the official second schedule.",
        (_DRAFT, _OFFICIAL_REFINE),
        _TEMPLATE,
    ),
    Preset(
        "quality",
        "Quality",
        "Full model: 30 guided steps at half size, upscale x2, 3 distilled steps.",
        (_DEV, _REFINE),
    ),
)

LTX_STYLE_PRESETS = _by_id(
    Preset("fast", "Fast", "Distilled: 8 steps, one stage.", (_DRAFT,)),
    Preset(
        "balanced",
        "Balanced",
        "Distilled: 8 steps at half size, upscale x2, 3 steps.",
        (_DRAFT, _REFINE),
    ),
    Preset(
        "quality",
        "Quality",
        "Full model: 30 guided steps at half size, upscale x2, 3 distilled steps.",
        (_DEV, _REFINE),
    ),
)


def _lightning(steps: int) -> Sampling:
    # LoRA, schedule, steps and guidance 1 are one unit (Qwen-Image-Lightning's README).
    adapter = PresetAdapter(f"lightning-{steps}steps", 1.0)
    return Sampling(steps, "euler", "lightning", adapters=(adapter,))


QWEN_PRESETS = _by_id(
    Preset("fast", "Fast", "Lightning: 4 steps, no guidance.", (_lightning(4),)),
    Preset("balanced", "Balanced", "Lightning: 8 steps, no guidance.", (_lightning(8),)),
    Preset(
        "quality",
        "Quality",
        "Full model: 40 steps with guidance 4.",
        (Sampling(40, "euler", "shifted", guidance=Guidance(scale=4.0)),),
    ),
)


def _karras(guidance: float, *steps: int) -> Presets:
    """The three, which differ in their steps."""
    return _by_id(
        *(
            Preset(
                id,
                id.capitalize(),
                f"{count} steps of DPM++ 2M Karras.",
                (Sampling(count, "dpmpp_2m", "karras", guidance=Guidance(scale=guidance)),),
            )
            for id, count in zip(("fast", "balanced", "quality"), steps, strict=True)
        )
    )


SDXL_PRESETS = _karras(5.0, 20, 30, 40)
