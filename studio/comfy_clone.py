"""One git commit checked out into a folder, so that a kill never leaves half of it in use."""

import os
import shutil
import subprocess
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeAlias

from studio.disk import disk_errors
from studio.errors import BadInput, EngineFailed

State: TypeAlias = Literal["absent", "ready", "other", "changed", "unfinished", "foreign"]
"""`ready`: the wanted commit as it is. `other`: another commit as it is. `changed`: files of the
commit were edited. `unfinished`: an installation was killed. `foreign`: files without git."""


@dataclass(frozen=True)
class Clone:
    """What a folder holds; `commit` is 40 hex digits, or None where there is none."""

    state: State
    commit: str | None = None


_REFUSALS: Mapping[State, str] = {
    "changed": "Files in {folder} were changed by hand: undo that with 'git -C {folder} checkout .'"
    " or move the folder away, then install again.",
    "foreign": "{folder} was not made with git: move it away, then install again.",
}

# What git writes, with the sentence for it; the first match counts.
_REASONS: tuple[tuple[str, str], ...] = (
    ("No space left on device", "The disk that holds {folder} is full: free some space there."),
    ("Permission denied", "The studio may not write in {folder}: allow it, or use another home."),
    ("not our ref", "{url} has no commit {commit} any more: update the studio."),
    ("couldn't find remote ref", "{url} has no commit {commit} any more: update the studio."),
    ("unadvertised object", "{url} has no commit {commit} any more: update the studio."),
    ("does not appear to be a git repo", "There is no repository at {url}: update the studio."),
    ("terminal prompts disabled", "There is no repository at {url}: update the studio."),
    ("unable to access", "{url} cannot be reached ({reason}): check the network and try again."),
    ("not found", "There is no repository at {url}: update the studio."),
    ("remote end hung up", "The connection to {url} broke: check the network and try again."),
    ("early EOF", "The connection to {url} broke: check the network and try again."),
    ("RPC failed", "The connection to {url} broke: check the network and try again."),
)


@dataclass(frozen=True)
class _Target:
    """What is to be where; the fields that a sentence may name."""

    url: str
    commit: str
    folder: Path


def look_at(folder: Path, wanted: str) -> Clone:
    """What the folder holds, compared with the wanted commit; changes nothing.

    Raises EngineFailed where git is missing.
    """
    with disk_errors(folder, EngineFailed):
        if not folder.exists() or (folder.is_dir() and not any(folder.iterdir())):
            return Clone("absent")
    if _marker(folder).exists():
        return Clone("unfinished")
    if not (folder / ".git").is_dir():
        return Clone("foreign")
    head = _git(folder, "rev-parse", "--verify", "--quiet", "HEAD^{commit}")
    # git writes the index when a checkout has ended: without it there was none.
    if head.returncode or not (folder / ".git" / "index").exists():
        return Clone("unfinished")
    commit = head.stdout.strip()
    changes = _git(folder, "status", "--porcelain", "--untracked-files=no")
    if changes.returncode or changes.stdout:
        return Clone("changed", commit)
    return Clone("ready" if commit == wanted else "other", commit)


def bring(url: str, commit: str, folder: Path) -> None:
    """Put the commit into the folder: clone, update or repair, whichever is needed.

    Files that git does not know there are kept. Raises BadInput where something of the user's is
    in the way, EngineFailed where git, the network or the disk fails; the folder is then as it
    was, or is known to be unfinished.
    """
    target = _Target(url, commit, folder)
    with disk_errors(folder, EngineFailed):
        _remove_leftovers(folder)
        state = look_at(folder, commit).state
        if state in _REFUSALS:
            raise BadInput(_REFUSALS[state].format(folder=folder))
        if state in _WAYS:
            folder.parent.mkdir(parents=True, exist_ok=True)
            _WAYS[state](target)


def is_half_made(folder: Path) -> bool:
    """Whether a first installation into the folder was killed: it leaves its clone beside it."""
    return any(folder.parent.glob(f"{_partial(folder)}*"))


def _clone(target: _Target) -> None:
    with _whole(target) as clone:
        _marker(target.folder).unlink(missing_ok=True)
        if target.folder.exists():
            target.folder.rmdir()
        clone.rename(target.folder)


def _update(target: _Target) -> None:
    git = target.folder / ".git"
    # Left by a fetch that was killed; every later fetch would stop at it.
    (git / "shallow.lock").unlink(missing_ok=True)
    # A full clone of the user's keeps its history: a fetch with a depth would cut it.
    depth = ("--depth", "1") if (git / "shallow").exists() else ()
    _run(target, target.folder, "fetch", "--quiet", *depth, target.url, target.commit)
    _marker(target.folder).touch()
    _force(target)


def _repair(target: _Target) -> None:
    """A new `.git` for the files that are there, which are then made to match it."""
    folder = target.folder
    _marker(folder).touch()
    with _whole(target) as clone:
        if (folder / ".git").exists():
            (folder / ".git").rename(clone / "replaced.git")
        (clone / ".git").rename(folder / ".git")
    _force(target)


_WAYS: Mapping[State, Callable[[_Target], None]] = {
    "absent": _clone,
    "other": _update,
    "unfinished": _repair,
}


def _force(target: _Target) -> None:
    """Check out over whatever differs; the marker says that no edit of the user's is among it."""
    _run(target, target.folder, "checkout", "--quiet", "--force", "--detach", target.commit)
    _marker(target.folder).unlink()


@contextmanager
def _whole(target: _Target) -> Iterator[Path]:
    """A whole clone beside the folder, gone afterwards unless it was moved away."""
    clone = target.folder.with_name(f"{_partial(target.folder)}{uuid.uuid4().hex}")
    try:
        clone.mkdir()
        _run(target, clone, "init", "--quiet")
        _run(target, clone, "fetch", "--quiet", "--depth", "1", target.url, target.commit)
        _run(target, clone, "checkout", "--quiet", "--detach", target.commit)
        yield clone
    finally:
        shutil.rmtree(clone, ignore_errors=True)


def _partial(folder: Path) -> str:
    return f".{folder.name}-partial-"


def _marker(folder: Path) -> Path:
    """Exists while the folder's files are being replaced; beside it, so that no git sees it."""
    return folder.with_name(f".{folder.name}-unfinished")


def _remove_leftovers(folder: Path) -> None:
    for leftover in folder.parent.glob(f"{_partial(folder)}*"):
        shutil.rmtree(leftover, ignore_errors=True)


def _run(target: _Target, work_tree: Path, *arguments: str) -> None:
    """Raises EngineFailed with one sentence where git fails."""
    done = _git(work_tree, *arguments)
    if done.returncode == 0:
        return
    last = (done.stderr.strip().splitlines() or ["no reason given"])[-1]
    # After the address, where git names one: "unable to access 'https://…': the reason".
    reason = last.rpartition("': ")[2].strip()
    known = (sentence for sign, sentence in _REASONS if sign in done.stderr)
    sentence = next(known, "git could not get {url} ({reason}): try again.")
    fields = {"url": target.url, "commit": target.commit, "folder": target.folder}
    raise EngineFailed(sentence.format(reason=reason, **fields))


def _git(work_tree: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """git in this very folder: without its paths, git would look for a repository further up."""
    command = [
        "git",
        "--no-optional-locks",
        f"--git-dir={work_tree / '.git'}",
        f"--work-tree={work_tree}",
        # A stalled download ends after a minute below 1 kB/s instead of never.
        *("-c", "http.lowSpeedLimit=1000", "-c", "http.lowSpeedTime=60"),
        *arguments,
    ]
    environment = os.environ | {"LC_ALL": "C", "GIT_TERMINAL_PROMPT": "0"}
    try:
        return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    except FileNotFoundError as error:
        raise EngineFailed("git is not installed: install it, then run this again.") from error
