"""Disks that are full at every write of a job, one after the other.

    make soak ARGS=disks

One folder of the home after the other lies on a disk that has room for nothing, a page, two, four,
and so on until a job fits. Each job that could not be made has to say so in a sentence about the
disk, and is made once there is room. Needs root on Linux; says so elsewhere.
"""

import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from requests_of_modes import Media, raw_request

from soak.kills import check, is_result, is_whole
from soak.small_disk import SmallDisk, may_mount, small_disk
from studio.errors import StudioError
from studio.home import Home
from studio.jobs import Job
from studio.studio import Studio, open_studio

OWNER = "soak"
MODES = ("photo", "edit", "lipsync")
"""A picture, one with an upload, and a clip with two."""
EVERY = tuple(2**power for power in range(11))
VOLUMES: Mapping[str, tuple[int, ...]] = {
    "inputs": (0, *EVERY),
    "scratch": (0, *EVERY),
    "outputs": (0, *EVERY),
    "state": (0, *EVERY),
    "demo": (0, 16, 512),
}
"""What lies on the small disk, and for how many pages it has room. `state` is the job table, its
lock and `scratch`; `demo`, whose build takes seconds, is tried at its start and in the middle."""
PATIENCE_SECONDS = 5.0
"""A job whose table lies on a full disk waits for room to say how it ended."""
JOB_SECONDS = 120.0
ABOUT_DISKS = ("full", "free some", "free and")


@dataclass(frozen=True)
class Disks:
    """What came of it; all but the first four are to be nought or empty."""

    skipped: str
    jobs: int
    refused_with_a_sentence: int
    made_at_once: int
    lost: int
    broken_or_partial_files: int
    sentences_about_something_else: tuple[str, ...]
    other_errors: tuple[str, ...]
    damaged_databases: int

    @property
    def well(self) -> bool:
        wrong = self.sentences_about_something_else or self.other_errors
        return not (self.lost or self.broken_or_partial_files or wrong or self.damaged_databases)


@dataclass
class _Seen:
    """What is counted on the way."""

    jobs: int = 0
    refused: int = 0
    made: int = 0
    lost: int = 0
    files: int = 0
    damaged: int = 0
    elsewhere: list[str] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)

    def sentence(self, where: str, sentence: str, details: str = "") -> None:
        """`details` are those of an error that nobody expected."""
        self.refused += 1
        if details:
            self.errors.append(f"{where}: {details}")
        elif not any(clue in sentence for clue in ABOUT_DISKS):
            self.elsewhere.append(f"{where}: {sentence}")


def campaign(folder: Path, seed: int) -> Disks:
    """Fills each volume under jobs of three modes; their seeds go up from `seed`."""
    seen, skipped = _Seen(), ""
    if may_mount():
        media = Media(folder / "media")
        for volume in VOLUMES:
            with small_disk(folder / volume) as disk:
                _Sweep(_home(folder, disk, volume), disk, volume, seen).run(media, seed)
    else:
        skipped = "a small disk can only be mounted by root on Linux"
    return Disks(
        skipped=skipped,
        jobs=seen.jobs,
        refused_with_a_sentence=seen.refused,
        made_at_once=seen.made,
        lost=seen.lost,
        broken_or_partial_files=seen.files,
        sentences_about_something_else=tuple(seen.elsewhere),
        other_errors=tuple(seen.errors),
        damaged_databases=seen.damaged,
    )


def _home(folder: Path, disk: SmallDisk, volume: str) -> Home:
    """A home with that folder on the disk. All but one share their demo weights."""
    root, shared = folder / f"home of {volume}", folder / "demo weights"
    root.mkdir()
    shared.mkdir(exist_ok=True)
    home = Home(root, disk.folder if volume == "state" else None)
    if volume != "state":
        (root / volume).symlink_to(disk.folder)
    if volume != "demo":
        home.demo.symlink_to(shared)
    return home


class _Sweep:
    """The jobs of one home, of which a part lies on the disk."""

    def __init__(self, home: Home, disk: SmallDisk, volume: str, seen: _Seen) -> None:
        self._home, self._disk, self._volume, self._seen = home, disk, volume, seen
        self._studio: Studio = open_studio(home)

    def run(self, media: Media, seed: int) -> None:
        ended = []
        for mode_id in MODES:
            for pages in VOLUMES[self._volume]:
                refused = self._seen.refused
                raw = raw_request(mode_id, media, seed=seed + self._seen.jobs, preset="fast")
                self._seen.jobs += 1
                ended.append(self._made(mode_id, raw, pages))
                if self._seen.refused == refused:
                    self._seen.made += 1
                    break
        self._count(ended)

    def _made(self, mode_id: str, raw: Mapping[str, object], pages: int) -> Job:
        """The job at its end; it is asked for, or run, with room for so many pages."""
        where = f"{self._volume}, {mode_id}, {pages} pages"
        job = None
        if self._volume in ("inputs", "state"):
            self._disk.fill(pages)
            job = self._asked(mode_id, raw, where)
            self._disk.free()
        job = job or self._studio.submit(OWNER, mode_id, raw)
        self._disk.fill(pages)
        patience = PATIENCE_SECONDS if self._volume == "state" else JOB_SECONDS
        self._run(job.id, where, patience)
        self._disk.free()
        return self._insisted(job.id, where)

    def _asked(self, mode_id: str, raw: Mapping[str, object], where: str) -> Job | None:
        try:
            return self._studio.submit(OWNER, mode_id, raw)
        except StudioError as error:
            self._seen.sentence(where, str(error))
            return None

    def _run(self, job_id: str, where: str, patience: float) -> None:
        """Runs the job; one that cannot even end gets room after `patience` seconds."""

        def run() -> None:
            try:
                self._studio.runner.run_one(job_id)
            except StudioError as error:
                self._seen.sentence(where, str(error))

        thread = threading.Thread(target=run)
        thread.start()
        thread.join(patience)
        self._disk.free()
        thread.join()

    def _insisted(self, job_id: str, where: str) -> Job:
        """Runs it again where it has not been made."""
        job = self._now(job_id)
        if job.failure is not None:
            unexpected = job.failure.kind == "Unexpected"
            details = job.failure.details if unexpected else ""
            self._seen.sentence(where, job.failure.sentence, details)
        if job.state in ("failed", "interrupted"):
            self._studio.table.rerun(OWNER, job_id)
        if job.state != "done":
            self._studio.runner.run_one(job_id)
        return self._now(job_id)

    def _now(self, job_id: str) -> Job:
        job = self._studio.table.get(job_id)
        assert job is not None, f"job {job_id} is gone"
        return job

    def _count(self, ended: list[Job]) -> None:
        self._seen.lost += sum(job.state != "done" for job in ended)
        self._seen.files += sum(not is_whole(self._home, job) for job in ended)
        left = [path for path in self._home.outputs.rglob("*") if path.is_file()]
        self._seen.files += sum(not is_result(path) for path in left)
        self._seen.damaged += check(self._home.database) != "ok"
