"""A preflight in words and as JSON: for `--dry-run`, `fetch --dry-run` and the doctor."""

from collections.abc import Iterator, Mapping

from studio.engine import ENGINES
from studio.needs import Need
from studio.preflight import Preflight, has_room


def preflight_as_json(found: Preflight) -> dict[str, object]:
    """All of it in plain JSON values."""
    return {
        "engine": found.weights.engine,
        "weights": found.weights.label,
        "demo": found.weights.demo,
        "variant": found.variant.label if found.variant else None,
        "missing_gigabytes": found.gigabytes_missing,
        "free_gigabytes": found.free_gigabytes,
        "memory": found.fit or None,
        "models": [need_as_json(need) for need in found.needs],
    }


def preflight_as_text(found: Preflight) -> str:
    """The same in a few lines for a person; what is here is not listed."""
    lines = [f"{runs_with(found)}."]
    if found.variant and found.missing:
        engine = ENGINES[found.variant.engine].label
        lines.append(f"{found.variant.label}, for {engine}, lacks:")
        lines += [need_line(need) for need in found.missing]
        lines.append(disk_line(found.gigabytes_missing, found.free_gigabytes))
    return "\n".join([*lines, *([f"Memory: {found.fit}"] if found.fit else [])])


def preflight_sentence(found: Preflight) -> str:
    """What runs a mode here, what is to be fetched, and how it goes into the memory."""
    return " ".join(
        [f"{runs_with(found)}.", *_to_fetch(found), *([found.fit] if found.fit else [])]
    )


def _to_fetch(found: Preflight) -> Iterator[str]:
    if found.variant and found.missing:
        command = f"'python -m studio fetch {found.mode.id}'"
        yield f"{found.variant.label}: {found.gigabytes_missing:.1f} GB to fetch with {command}."


def runs_with(found: Preflight) -> str:
    """The engine and the weights that will run."""
    weights = "demo weights" if found.weights.demo else found.weights.label
    return f"Runs on {weights} with {ENGINES[found.weights.engine].label}"


def disk_line(missing: float, free: float) -> str:
    """What would be fetched, in gigabytes, and whether it has room."""
    room = "" if has_room(missing, free) else " Free some space, or set HF_HOME to another disk."
    return f"{missing:.1f} GB to fetch; {free:.0f} GB of disk are free.{room}"


def gigabytes(size: float) -> str:
    """A size as a person reads it: 0.7 GB, 6.9 GB, 47 GB."""
    return f"{size:.0f} GB" if size >= 9.95 else f"{max(size, 0.1):.1f} GB"


def need_as_json(need: Need) -> Mapping[str, object]:
    """A model with its place, size, source and licence."""
    return {
        "model": f"{need.model.folder}/{need.model.name}",
        "gigabytes": need.model.gigabytes,
        "path": str(need.path) if need.path else None,
        "damaged": need.damaged,
        "page": need.model.page,
        "licence": need.model.licence,
    }


def need_line(need: Need) -> str:
    """The same in a line for a person."""
    name = f"{need.model.folder}/{need.model.name}"
    if need.path is not None:
        return f"  here     {name}"
    state = "damaged" if need.damaged else "missing"
    about = f"{need.model.gigabytes:g} GB, {need.model.licence}, {need.model.page}"
    return f"  {state:<8} {name} ({about})"
