"""Mutated pictures, sounds and clips over everything that reads them.

    make soak ARGS="media --seed 5 --files 600"

A reader may answer with what it found or with a sentence. It may not raise anything else, take a
process down, or take longer than anybody would wait.
"""

import multiprocessing
import random
import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from media_files import numbered_frames, quarters, tone, write_sound, write_video

from studio.errors import StudioError
from studio.media_clips import first_frame, last_frame, load_frames, poster_jpeg, probe_clip
from studio.media_images import load_image, probe_image
from studio.media_sound import load_sound, probe_sound
from studio.recipe_read import read_recipe

PATIENCE_SECONDS = 60.0
"""For one file and all readers, on a busy machine; a whole one takes well under a second."""

ARTEFACTS = Path(__file__).parents[1] / "test-artefacts"

READERS: Mapping[str, Callable[[Path], object]] = {
    "probe_image": probe_image,
    "load_image": load_image,
    "probe_clip": probe_clip,
    "first_frame": first_frame,
    "last_frame": last_frame,
    "load_frames": lambda path: load_frames(path, 24, 25, 64, 64),
    "poster_jpeg": poster_jpeg,
    "probe_sound": probe_sound,
    "load_sound": lambda path: load_sound(path, 16_000, 1),
    "read_recipe": read_recipe,
}

Mutation = Callable[[bytes, random.Random], bytes]


@dataclass(frozen=True)
class Media:
    """What came of it."""

    files: int
    read: int
    refused_with_a_sentence: int
    other_errors: tuple[str, ...]
    processes_lost: tuple[str, ...]
    slowest: str

    @property
    def well(self) -> bool:
        return not self.other_errors and not self.processes_lost


def campaign(folder: Path, seed: int, count: int) -> Media:
    """Writes `count` files and has a process of its own read them, a new one where one dies."""
    chance = random.Random(seed)
    whole = list(_whole_files(folder))
    files = [_mutated(folder, chance.choice(whole), number, chance) for number in range(count)]
    answers: list[tuple[str, str, float]] = []
    lost: list[str] = []
    while files:
        got = _read_by_a_process(files)
        answers += got
        files = files[len(got) :]
        if files:
            lost.append(_kept(files.pop(0)))
    slowest = max(answers, key=lambda answer: answer[2])
    _kept(folder / slowest[0])
    kinds = [kind for _, kind, _ in answers]
    return Media(
        files=count,
        read=kinds.count("read"),
        refused_with_a_sentence=kinds.count("refused"),
        other_errors=tuple(f"{name}: {kind}" for name, kind, _ in answers if ":" in kind),
        processes_lost=tuple(lost),
        slowest=f"{slowest[2]:.1f} s: {slowest[0]}",
    )


def _kept(path: Path) -> str:
    """The name of a file, which is kept to be looked at."""
    ARTEFACTS.mkdir(exist_ok=True)
    shutil.copy(path, ARTEFACTS / path.name)
    return path.name


def _read_by_a_process(files: list[Path]) -> list[tuple[str, str, float]]:
    context = multiprocessing.get_context("fork")
    here, there = context.Pipe(duplex=False)
    process = context.Process(target=_read_all, args=(files, there))
    process.start()
    there.close()
    answers = []
    try:
        while len(answers) < len(files) and here.poll(PATIENCE_SECONDS):
            answers.append(here.recv())
    except EOFError:
        pass  # it died; whoever called sees how far it got
    process.kill()
    process.join()
    return answers


def _read_all(files: list[Path], answer: "multiprocessing.connection.Connection") -> None:
    for path in files:
        begun = time.monotonic()
        kinds = [_read(read, name, path) for name, read in READERS.items()]
        wrong = next((kind for kind in kinds if ":" in kind), None)
        kind = wrong or ("read" if "read" in kinds else "refused")
        answer.send((path.name, kind, time.monotonic() - begun))


def _read(read: Callable[[Path], object], name: str, path: Path) -> str:
    try:
        read(path)
    except StudioError as error:
        text = str(error)
        return f"{name}: not a sentence: {text}" if len(text) < 10 or "\n" in text else "refused"
    # Anything else is what this campaign looks for.
    except BaseException as error:
        return f"{name}: {type(error).__name__}: {error}"
    return "read"


# The files


def _whole_files(folder: Path) -> Iterator[Path]:
    picture = quarters(64, 48)
    for ending in ("png", "jpg", "webp", "gif", "bmp", "tiff", "avif"):
        picture.save(folder / f"whole.{ending}")
        yield folder / f"whole.{ending}"
    for ending, codec in _SOUNDS.items():
        yield write_sound(folder / f"whole.{ending}", tone(1.0), 48_000, codec)
    for ending, codec in _CLIPS.items():
        samples = tone(0.4) if ending != "webm" else None
        clip = numbered_frames(10, 64, 48)
        yield write_video(folder / f"whole.{ending}", clip, samples=samples, codec=codec)


_SOUNDS = {"wav": "pcm_s16le", "mp3": "libmp3lame", "flac": "flac", "m4a": "aac", "ogg": "libopus"}
_CLIPS = {"mp4": "libx264", "mov": "libx264", "webm": "libvpx-vp9"}


def _mutated(folder: Path, whole: Path, number: int, chance: random.Random) -> Path:
    name = chance.choice(tuple(MUTATIONS))
    ending = chance.choice(_ENDINGS) if chance.random() < 0.2 else whole.suffix
    path = folder / f"{number} {name} {whole.suffix[1:]}{ending}"
    path.write_bytes(MUTATIONS[name](whole.read_bytes(), chance))
    return path


_ENDINGS = (".png", ".jpg", ".mp4", ".wav", ".webm", ".txt", "")


def _truncated(data: bytes, chance: random.Random) -> bytes:
    return data[: chance.randrange(len(data))]


def _flipped(data: bytes, chance: random.Random, share: float) -> bytes:
    changed = bytearray(data)
    for _ in range(max(1, int(len(changed) * share))):
        changed[chance.randrange(len(changed))] = chance.randrange(256)
    return bytes(changed)


def _spliced(data: bytes, chance: random.Random) -> bytes:
    cut, other = sorted(chance.randrange(len(data)) for _ in range(2))
    return data[:cut] + data[other:] if chance.random() < 0.5 else data[:other] + data[cut:]


def _large_numbers(data: bytes, chance: random.Random) -> bytes:
    """Sizes, counts and times are big- or little-endian words somewhere in the head."""
    changed, word = (
        bytearray(data),
        chance.choice((b"\xff\xff\xff\xff", b"\x7f\xff\xff\xff", bytes(4))),
    )
    for _ in range(3):
        place = chance.randrange(min(len(changed) - 4, 400))
        changed[place : place + 4] = word
    return bytes(changed)


def _garbage(data: bytes, chance: random.Random) -> bytes:
    return chance.randbytes(chance.randrange(1, 4096))


def _padded(data: bytes, chance: random.Random) -> bytes:
    return data + chance.randbytes(chance.randrange(1, 4096))


MUTATIONS: Mapping[str, Mutation] = {
    "truncated": _truncated,
    "one byte": partial(_flipped, share=0),
    "one percent": partial(_flipped, share=0.01),
    "spliced": _spliced,
    "large numbers": _large_numbers,
    "garbage": _garbage,
    "padded": _padded,
    "empty": lambda data, chance: b"",
}
