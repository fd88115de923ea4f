"""Installs ComfyUI and node packs at their pinned commits, and says what is installed."""

import importlib.metadata
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from filelock import FileLock, Timeout
from packaging.requirements import Requirement
from packaging.version import Version

from studio.comfy_clone import Clone, State, bring, look_at
from studio.comfy_pins import GITHUB, PINS, SAME_MODULE, TORCH_COMPANIONS, Pin, Pins
from studio.disk import disk_errors
from studio.errors import BadInput, EngineFailed
from studio.home import Home
from studio.packages import PIP_INSTALL, ROOT, Pip, Say, lines_of, require_success, run_pip

REQUIREMENTS = ROOT / "requirements-comfy.txt"

REQUIREMENTS_MEGABYTES = 420
"""What they fill beside `requirements.txt`: comfy-kitchen 227, scipy 143, the rest 50."""


@dataclass(frozen=True)
class Part:
    """ComfyUI or one pack: what is wanted and what is there."""

    name: str
    version: str
    licence: str
    folder: str
    wanted: str
    installed: str | None
    state: State
    problem: str


@dataclass(frozen=True)
class Status:
    """`yours` where AIO_COMFYUI names a folder, which the studio uses and never changes.

    `missing` are requirements of ComfyUI and of the packs that are there; `failed` are folders of
    packs, the user's own too, that did not load when ComfyUI was last started.
    """

    comfyui: Part
    yours: bool
    torch: str | None
    missing: tuple[str, ...]
    packs: tuple[Part, ...]
    failed: tuple[str, ...]

    def as_json(self) -> dict[str, object]:
        """The same fields, for JSON."""
        return asdict(self)

    def as_text(self) -> str:
        """One line a part, one for the requirements, and one for packs that did not load."""
        lines = [_line(self.comfyui) + (" (your own, never changed)" if self.yours else "")]
        lines.append(f"requirements: {', '.join(self.missing) or 'nothing'} missing")
        lines += [_line(part) for part in self.packs]
        if self.failed:
            lines.append(f"did not load at ComfyUI's last start: {', '.join(self.failed)}")
        return "\n".join(lines)


def install(
    home: Home,
    packs: Sequence[str] = (),
    *,
    say: Say,
    pins: Pins = PINS,
    base_url: str = GITHUB,
    pip: Pip | None = None,
) -> Path:
    """Install ComfyUI, the named packs and what they need; returns ComfyUI's folder.

    What is there already stays. Raises BadInput for an unknown pack, an unknown PyTorch or files
    of the user's in the way, EngineFailed where git, pip, the network or the disk fails.
    """
    chosen = [_pack(name, pins) for name in dict.fromkeys(packs)]
    constraints = _constraints()
    with _only_installation(home):
        if _is_yours(home):
            _leave_yours(home, chosen, say)
        else:
            _bring(pins.comfyui, home.comfyui, base_url, say)
            for pack in chosen:
                _bring(pack, _pack_folder(home, pack), base_url, say)
    _install_requirements(chosen, constraints, pip or run_pip, say)
    return home.comfyui


def status(home: Home, *, pins: Pins = PINS) -> Status:
    """What is installed; changes nothing. Raises EngineFailed where git is needed and missing."""
    packs = [_part(pack, _pack_folder(home, pack)) for pack in pins.packs.values()]
    there = [pins.packs[part.name] for part in packs if part.state != "absent"]
    return Status(
        comfyui=_part(pins.comfyui, home.comfyui),
        yours=_is_yours(home),
        torch=_version("torch"),
        missing=tuple(missing_requirements(_wanted(there))),
        packs=tuple(packs),
        failed=_failed_packs(home),
    )


def remember_failed_packs(home: Home, names: Sequence[str]) -> None:
    """For `status`, which starts no ComfyUI to find out. Raises EngineFailed."""
    record = _failed_record(home)
    with disk_errors(record, EngineFailed):
        record.parent.mkdir(parents=True, exist_ok=True)
        record.write_text("".join(f"{name}\n" for name in names), encoding="utf-8")


def missing_requirements(wanted: Iterable[str]) -> list[str]:
    """Those of the requirements (as pip writes them) that this Python does not have."""
    return [line for line in dict.fromkeys(wanted) if not _satisfied(Requirement(line))]


def _pack(name: str, pins: Pins) -> Pin:
    for pack in pins.packs.values():
        if pack.name.lower() == name.lower():
            return pack
    raise BadInput(f"There is no pack called '{name}': choose {', '.join(pins.packs)}.", "packs")


def _pack_folder(home: Home, pack: Pin) -> Path:
    return home.comfyui / "custom_nodes" / pack.name


def _failed_packs(home: Home) -> tuple[str, ...]:
    record = _failed_record(home)
    return tuple(record.read_text(encoding="utf-8").splitlines()) if record.is_file() else ()


def _failed_record(home: Home) -> Path:
    return home.scratch / "comfy" / "failed packs.txt"


def _is_yours(home: Home) -> bool:
    return home.comfyui.resolve() != (home.root / "comfyui").resolve()


def _leave_yours(home: Home, packs: Sequence[Pin], say: Say) -> None:
    if packs:
        raise BadInput(
            f"Packs are not put into your own ComfyUI: unset AIO_COMFYUI, or put them into"
            f" {home.comfyui / 'custom_nodes'} yourself.",
            "packs",
        )
    say(f"AIO_COMFYUI is set: the ComfyUI in {home.comfyui} is used, and is not changed.")


def _bring(pin: Pin, folder: Path, base_url: str, say: Say) -> None:
    title = f"{pin.name} {pin.version}".strip()
    if look_at(folder, pin.commit) == Clone("ready", pin.commit):
        say(f"{title} is already in {folder}.")
    else:
        say(
            f"Fetching {title} ({pin.commit[:8]}, about {pin.megabytes} MB, licence"
            f" {pin.licence}) into {folder}."
        )
        bring(f"{base_url}/{pin.repository}", pin.commit, folder)
    if pin.problem:
        say(f"{title} does not load: {pin.problem}.")


@contextmanager
def _only_installation(home: Home) -> Iterator[None]:
    """Held while clones are made: what is half made then belongs to nobody else."""
    lock = FileLock(home.root / "comfyui.lock")
    with disk_errors(home.root, EngineFailed):
        home.root.mkdir(parents=True, exist_ok=True)
        try:
            lock.acquire(blocking=False)
        except Timeout as error:
            raise EngineFailed(
                f"Another installation into {home.root} is running: wait until it has ended."
            ) from error
    try:
        yield
    finally:
        lock.release()


def _install_requirements(
    packs: Sequence[Pin], constraints: Sequence[str], pip: Pip, say: Say
) -> None:
    """pip may add packages, but keeps the torch that is there."""
    missing = missing_requirements(_wanted(packs))
    if not missing:
        say("The Python packages are already there.")
        return
    say(
        f"Installing Python packages, at most {REQUIREMENTS_MEGABYTES} MB and what packs need:"
        f" {', '.join(missing)}."
    )
    extras = missing_requirements(line for pack in packs for line in pack.requirements)
    disk = disk_errors(Path(tempfile.gettempdir()), EngineFailed)
    with disk, tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "constraints.txt"
        file.write_text("".join(f"{line}\n" for line in constraints))
        done = pip(_command(file, extras), say)
    require_success(done)


def _command(constraints: Path, extras: Sequence[str]) -> list[str]:
    files = ["--constraint", str(constraints), "--requirement", str(REQUIREMENTS)]
    return [*PIP_INSTALL, *files, *extras]


def _wanted(packs: Sequence[Pin]) -> Iterator[str]:
    """The lines of the file, those of torch's companions with their versions, and the packs'."""
    companions = _companions(_version("torch"))
    for line in lines_of(REQUIREMENTS):
        yield companions.get(line, line)
    for pack in packs:
        yield from pack.requirements


def _companions(torch: str | None) -> dict[str, str]:
    """The requirement for each companion of this torch; none for an unknown torch."""
    versions = TORCH_COMPANIONS.get(Version(torch).public) if torch else None
    names = ("torchvision", "torchaudio")
    return {name: f"{name}=={one}" for name, one in zip(names, versions or (), strict=False)}


def _constraints() -> list[str]:
    """The torch that is there, and the companions that match it."""
    torch = _version("torch")
    if torch is None:
        raise BadInput("PyTorch is not installed: run 'pip install -r requirements.txt' first.")
    companions = _companions(torch)
    if not companions:
        raise BadInput(
            f"The studio does not know what goes with PyTorch {torch}: update the studio, or"
            f" install one of PyTorch {', '.join(TORCH_COMPANIONS)}."
        )
    return [f"torch=={torch}", *companions.values()]


def _satisfied(requirement: Requirement) -> bool:
    version = _version(requirement.name)
    if version is not None:
        return requirement.specifier.contains(version, prereleases=True)
    return any(map(_version, SAME_MODULE.get(requirement.name, ())))


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def _part(pin: Pin, folder: Path) -> Part:
    found = look_at(folder, pin.commit)
    return Part(
        name=pin.name,
        version=pin.version,
        licence=pin.licence,
        folder=str(folder),
        wanted=pin.commit,
        installed=found.commit,
        state=found.state,
        problem=pin.problem,
    )


_SAID: dict[State, str] = {
    "absent": "not installed",
    "ready": "installed",
    "other": "another commit is there: install again to change it",
    "changed": "changed by hand",
    "unfinished": "half installed: install again",
    "foreign": "a folder that was not made with git",
}


def _line(part: Part) -> str:
    title = f"{part.name} {part.version}".strip()
    problem = f"; does not load: {part.problem}" if part.problem else ""
    return f"{title}: {_SAID[part.state]}, {part.folder}{problem}"
