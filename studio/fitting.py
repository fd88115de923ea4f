"""The memory ladder: what a run needs, and the fastest way of running it that fits here.

All numbers are estimates. What they cannot know (other programs, fragments, a driver's own share)
is met by the engine, which goes one rung down when the memory runs out after all.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal

from studio.errors import BadInput

GIB = 2**30

OVERHEAD = GIB
"""A device context, kernels and the allocator's fragments; a guess."""

LIVE_VECTORS = 16
"""Vectors of a token that a transformer block has at once: its input and residual, queries, keys,
values and attention's output, and four to eight in the feed-forward. Read off the code, not
measured."""


@dataclass(frozen=True)
class Rung:
    """One way of keeping weights and of bringing them to the device."""

    id: str
    """As AIO_MEMORY says it."""
    moves: Literal["nothing", "models", "blocks"]
    """What comes to the device when it is used, and goes when it was."""
    eight_bit: bool
    does: str
    ran: str
    more: str
    """What there was no memory for."""

    @property
    def note(self) -> str:
        """For a result that had to be made on this rung."""
        return f"{self.ran}, as the memory was not enough for {self.more}."


RESIDENT = Rung(
    "resident", "nothing", False, "everything stays on the device", "Ran as usual", "less"
)
OFFLOAD = Rung(
    "offload",
    "models",
    False,
    "models are moved in one after the other",
    "Ran with its models moved in one after the other",
    "all at once",
)
EIGHT_BIT = Rung(
    "8bit",
    "models",
    True,
    "weights in 8 bits, moved in as they are used",
    "Ran with 8-bit weights",
    "full ones",
)
GROUP = Rung(
    "group",
    "blocks",
    True,
    "weights in 8 bits, moved in block by block",
    "Ran with 8-bit weights, moved in block by block",
    "more",
)
LADDER = (RESIDENT, OFFLOAD, EIGHT_BIT, GROUP)
"""From the fastest to the most frugal.

8 bits are layerwise casting to float8 (e4m3), not torchao's int8: both run with live LoRA
strengths, but casting is part of diffusers, works for every model, needs no package that must match
torch to the letter, and combines with moving single blocks. Int8 with a scale per row rounds finer.
The last rung keeps the 8 bits: cards with little memory sit in computers with little memory.
"""

LADDERS: Mapping[str, tuple[Rung, ...]] = {
    "cuda": LADDER,
    # It has no float8 numbers, and one memory for both sides, where moving blocks saves nothing.
    "mps": (RESIDENT, OFFLOAD),
    "cpu": (RESIDENT, EIGHT_BIT),
}
"""The rungs that help on each device."""

AUTO = "auto"


@dataclass(frozen=True)
class Needs:
    """Bytes of a pipeline's parts in bfloat16, and of what a step works on."""

    denoiser: int
    text_encoder: int
    vae: int
    """With the sound's VAE and vocoder; these are small, and stay on the device on every rung."""
    rest: int
    """Text connectors, upsampler."""
    blocks: int
    """Equal parts that the denoiser is moved in."""
    activations: int = 0

    @classmethod
    def in_gib(
        cls, *, denoiser: float, text_encoder: float, vae: float, rest: float = 0, blocks: int
    ) -> "Needs":
        """The same from GiB, as tables have them."""
        return cls(
            denoiser=int(denoiser * GIB),
            text_encoder=int(text_encoder * GIB),
            vae=int(vae * GIB),
            rest=int(rest * GIB),
            blocks=blocks,
        )

    @property
    def weights(self) -> int:
        return self.denoiser + self.text_encoder + self.vae + self.rest


@dataclass(frozen=True)
class Shape:
    """What the activations of a family grow with."""

    cell: int
    """Pixels of a token's side."""
    frames: int
    """Frames of a token; the first frame has a token to itself."""
    width: int
    """Values of a token's vector."""


@dataclass(frozen=True)
class Work:
    """One result, as far as its size decides about memory."""

    width: int
    height: int
    frames: int = 1
    pictures: int = 0
    """Reference pictures, and clips of as many tokens."""
    picture_area: int = 0
    """Pixels that each of them is brought to; 0: as large as the result."""
    guided: bool = False
    """Guidance runs the wanted and the unwanted side together."""


_DEMO_PART = 10 * 2**20
DEMO = Needs(_DEMO_PART, _DEMO_PART, _DEMO_PART, _DEMO_PART, 1, activations=64 * 2**20)
"""Demo weights: at most 40 MB with all their parts."""


@dataclass(frozen=True)
class Machine:
    """Memory in bytes. Where device and computer share theirs, both pairs tell of the same."""

    device: str
    """cuda, mps or cpu."""
    vram_total: int
    vram_free: int
    """With what this process holds itself, and would reuse."""
    ram_total: int
    ram_free: int
    weight_bytes: int = 2
    """Of a weight that is not cast: 4 where the device computes in float32."""
    gpu: str = ""
    """The card's own name, where it has one."""

    def without(self, share: float) -> "Machine":
        """The machine with that share of its free memory taken."""
        vram, ram = self.vram_free * (1 - share), self.ram_free * (1 - share)
        return replace(self, vram_free=int(vram), ram_free=int(ram))


def tokens(shape: Shape, work: Work) -> int:
    """How many tokens the denoiser sees at once."""
    spans = (work.frames - 1) // shape.frames + 1
    own = work.width * work.height * spans
    beside = work.pictures * (work.picture_area or own)
    return (own + beside) // shape.cell**2


def needs_for(needs: Needs, shape: Shape, work: Work) -> Needs:
    """The weights, and a rough `tokens x vectors x width x 2 bytes` for the activations."""
    sides = 2 if work.guided else 1
    activations = tokens(shape, work) * LIVE_VECTORS * shape.width * 2 * sides
    return replace(needs, activations=activations)


def choose_rung(needs: Needs, machine: Machine) -> Rung:
    """The fastest rung that fits; where none does, the most frugal, which may still be tried."""
    ladder = LADDERS[machine.device]
    return next((rung for rung in ladder if fits(rung, needs, machine)), ladder[-1])


def next_rung(rung: Rung, device: str) -> Rung | None:
    """The next more frugal rung that helps on this device, if there is one."""
    below = LADDER[LADDER.index(rung) + 1 :]
    return next((one for one in below if one in LADDERS[device]), None)


def requested_rung(word: str, device: str) -> Rung | None:
    """What AIO_MEMORY asks for; None leaves the choice to the engine. Raises BadInput."""
    if word in ("", AUTO):
        return None
    rungs = {rung.id: rung for rung in LADDER}
    if word not in rungs:
        known = ", ".join(f"'{name}'" for name in (AUTO, *rungs))
        raise BadInput(f"AIO_MEMORY cannot be '{word}': set it to {known}.")
    if device == "mps" and rungs[word] not in LADDERS[device]:
        raise BadInput(
            f"AIO_MEMORY cannot be '{word}' on an Apple GPU, which has no 8-bit weights: set it to"
            " 'auto', 'resident' or 'offload'."
        )
    return rungs[word]


def fits(rung: Rung, needs: Needs, machine: Machine) -> bool:
    """Whether the estimate leaves room on the device and in main memory."""
    on_device, in_ram = device_bytes(rung, needs, machine), ram_bytes(rung, needs, machine)
    return on_device <= machine.vram_free and in_ram <= machine.ram_free


def device_bytes(rung: Rung, needs: Needs, machine: Machine) -> int:
    """The most that is on the device at once."""
    kept = _kept(rung, needs, machine)
    working = needs.activations * machine.weight_bytes // 2 + OVERHEAD
    if rung.moves == "nothing" or machine.device == "cpu":
        return kept.weights + working
    if rung.moves == "models":
        return max(kept.denoiser + working, kept.text_encoder, kept.vae, kept.rest)
    # One block works, the next is on its way, and what is around them weighs about as much.
    return kept.vae + 3 * kept.denoiser // kept.blocks + working


def ram_bytes(rung: Rung, needs: Needs, machine: Machine) -> int:
    """The most that main memory holds, where it is not the device's own."""
    if machine.device != "cuda":
        return 0
    kept = _kept(rung, needs, machine)
    if rung.moves == "nothing":
        # On their way to the device, one part after the other.
        return max(kept.denoiser, kept.text_encoder)
    return kept.weights


@dataclass(frozen=True)
class Fit:
    """How weights go into a machine's memory."""

    sentence: str
    enough: bool
    """Whether the estimate leaves room."""


def explain(needs: Needs, machine: Machine) -> Fit:
    """One sentence for the preflight: what is needed, what is here, and what will be done."""
    rung = choose_rung(needs, machine)
    full = device_bytes(RESIDENT, needs, machine)
    if fits(rung, needs, machine):
        here = _gigabytes(machine.vram_free)
        return Fit(f"Needs {_gigabytes(full)} of {here} GB of memory: {rung.does}.", True)
    return Fit(
        f"Needs at least {_wanted(rung, needs, machine)}, and {_here(machine)} free:"
        " it may run out of memory.",
        False,
    )


def explain_dynamic(needs: Needs, machine: Machine) -> Fit:
    """The same for ComfyUI, which moves weights as the memory allows, and is not asked how."""
    own = machine.vram_free if machine.device == "cuda" else 0
    enough = needs.weights <= machine.ram_free + own
    again = machine.device == "cuda" and not enough
    fate = "some will be read from the disk again and again" if again else "ComfyUI moves them"
    sentence = f"{_gigabytes(needs.weights)} GB of weights, and {_here(machine)} free: {fate}."
    return Fit(sentence, enough)


def _kept(rung: Rung, needs: Needs, machine: Machine) -> Needs:
    """The parts in the bytes that they are kept in."""
    denoiser, text_encoder, vae, rest = (
        size * machine.weight_bytes // 2
        for size in (needs.denoiser, needs.text_encoder, needs.vae, needs.rest)
    )
    if rung.eight_bit:
        denoiser = needs.denoiser // 2
        # The rule of `diffusers_memory`: cast where it would be the largest part.
        if text_encoder > denoiser:
            text_encoder = needs.text_encoder // 2
    return replace(needs, denoiser=denoiser, text_encoder=text_encoder, vae=vae, rest=rest)


def _wanted(rung: Rung, needs: Needs, machine: Machine) -> str:
    on_device = f"{_gigabytes(device_bytes(rung, needs, machine))} GB"
    if machine.device != "cuda":
        return f"{on_device} of memory"
    return f"{on_device} of VRAM and {_gigabytes(ram_bytes(rung, needs, machine))} GB of RAM"


def _here(machine: Machine) -> str:
    if machine.device != "cuda":
        return f"{_gigabytes(machine.vram_free)} GB are"
    vram, ram = _gigabytes(machine.vram_free), _gigabytes(machine.ram_free)
    return f"{vram} GB of VRAM and {ram} GB of RAM are"


def _gigabytes(size: int) -> str:
    return f"{size / 1e9:.0f}"
