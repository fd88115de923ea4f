"""The studio's workers as actors of Ray: one engine on each GPU, of one machine or of several.

Ray is imported here alone, and only once it was chosen. The guide is docs/more-gpus.md.
"""

import importlib
import itertools
import os
import secrets
import shutil
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

from filelock import FileLock, Timeout

from studio.disk import disk_errors
from studio.errors import BadInput, EngineFailed, StudioError
from studio.home import Home
from studio.production import Production
from studio.remote_work import (
    LOOK_SECONDS,
    READ_THERE,
    MakeItem,
    Order,
    Said,
    serve,
    worker_home,
)

if TYPE_CHECKING:
    from ray import ObjectRef
    from ray.actor import ActorHandle

START_SECONDS = 120.0
"""For all workers to answer; measured 0.5 s on an idle machine, many times that on a busy one."""

STORE_BYTES = 512 * 1024**2
"""Of shared memory for orders and files on their way, touched as it fills; Ray takes a third of
the machine's memory otherwise. What does not fit goes to the disk.
"""

NOT_INSTALLED = (
    "Ray is not installed: run 'pip install -r requirements-ray.txt', or start without"
    " '--runner ray'."
)

NOT_REACHED = (
    "Ray could not be reached at {address}: check that it runs there, and that RAY_AUTH_TOKEN is"
    " the same there and here."
)

NOT_STARTED = (
    "A worker could not be started: every machine needs this repository and its packages at the"
    " same path. Ray says: {reason}"
)

WorkAt = Callable[[Home], MakeItem]
"""Makes a worker's work for its home: `production.Production`."""


class Worker:
    """One engine, in a process that Ray starts and ends; one item at a time.

    Ray gives it two threads, so that a wish to cancel is heard meanwhile.
    """

    def __init__(self, home: Home, settings: Mapping[str, str], work_at: WorkAt) -> None:
        # Before anything reads them: on another machine they may not be set.
        os.environ.update(settings)
        self._page_home = home
        self._work_at = work_at
        self._lock: FileLock | None = None
        self._cancelled: set[str] = set()

    def ready(self, needed: Sequence[Path]) -> None:
        """Answers once orders can be taken. Raises StudioError where a `needed` folder is not."""
        for folder in needed:
            if not folder.exists():
                raise StudioError(
                    f"The folder {folder} is not on the machine {socket.gethostname()}: share it,"
                    " or put a copy there."
                )
        if self._lock is None:
            self._own, self._lock = _own_home(self._page_home)
            self._make = self._work_at(self._own)

    def make(self, order: Order) -> Iterator[Said]:
        """Makes one item for the page's runner."""
        yield from serve(self._make, self._own, order, lambda: order.id in self._cancelled)

    def cancel(self, order_id: str) -> None:
        """Has the order stopped at its next event, or as soon as it comes."""
        self._cancelled.add(order_id)


def _own_home(page_home: Home) -> tuple[Home, FileLock]:
    """The first worker's folder of this machine that no living process has, and its lock.

    Demo weights stay in it; what a killed process has left does not.
    """
    machine = page_home.scratch / "workers" / socket.gethostname()
    with disk_errors(machine, EngineFailed):
        machine.mkdir(parents=True, exist_ok=True)
        for number in itertools.count(1):
            # Held until the process ends, whatever becomes of the thread that took it.
            lock = FileLock(machine / f"{number}.lock", thread_local=False)
            try:
                lock.acquire(blocking=False)
                break
            except Timeout:
                continue
        own = worker_home(page_home.root, machine / str(number))
        for folder in (own.inputs, own.outputs, own.scratch):
            shutil.rmtree(folder, ignore_errors=True)
    return own, lock


class RayWorkers:
    """`remote_work.Workers` as actors of the Ray that this process is connected to.

    A worker that is lost is replaced at once; an order is only given to one that answers.
    """

    def __init__(
        self,
        ray: ModuleType,
        home: Home,
        count: int,
        resources: Mapping[str, float],
        work_at: WorkAt,
    ) -> None:
        """`resources` is what each of the `count` workers takes."""
        self.count = count
        self._ray = ray
        self._actor = ray.remote(max_concurrency=2, **resources)(Worker)
        self._given = (home, _settings(os.environ), work_at)
        self._needed = [home.root / name for name in READ_THERE if (home.root / name).exists()]
        self._guard = threading.Lock()
        self._closed = False
        self._all: set[ActorHandle] = set()
        self._free: dict[ObjectRef, ActorHandle] = {}
        """Workers by the answer of theirs that is waited for."""
        for _ in range(count):
            self._add()

    def wait_until_ready(self) -> None:
        """Waits for the answers of all. Raises StudioError."""
        answers = list(self._free)
        ready, _ = self._ray.wait(answers, num_returns=self.count, timeout=START_SECONDS)
        for answer in ready:
            try:
                self._read(answer)
            except self._ray.exceptions.RayError as error:
                raise StudioError(NOT_STARTED.format(reason=str(error).split("\n")[0])) from error
        if len(ready) < self.count:
            raise StudioError(
                f"Only {len(ready)} of {self.count} workers could be started: another program may"
                " use the rest of Ray, so stop it, or give '--workers' a smaller number."
            )

    def make(self, order: Order) -> Iterator[Said]:
        """Have the item made by the next free worker."""
        worker = self._take()
        try:
            for said in worker.make.options(num_returns="streaming").remote(order):
                yield self._ray.get(said)
        except Exception:
            self._replace(worker)
            raise
        self._put(worker)

    def cancel(self, order_id: str) -> None:
        """Tell all workers: the order may still be waiting for one."""
        with self._guard:
            for worker in self._all:
                worker.cancel.remote(order_id)

    def close(self) -> None:
        """Ends the workers, whatever they do."""
        with self._guard:
            self._closed = True
            for worker in self._all:
                self._ray.kill(worker)

    def _take(self) -> "ActorHandle":
        """A worker that answers, as soon as there is one; those that are gone are replaced.

        Raises what the last one has raised where more are gone than there were.
        """
        tries = 0
        while True:
            worker = self._next_free()
            tries += 1
            try:
                # It may have gone since it was free.
                self._read(worker.ready.remote(self._needed))
                return worker
            except Exception:
                self._replace(worker)
                if tries > self.count:
                    raise

    def _next_free(self) -> "ActorHandle":
        while True:
            with self._guard:
                answers = list(self._free)
            if answers:
                answers, _ = self._ray.wait(answers, timeout=LOOK_SECONDS)
            else:
                time.sleep(LOOK_SECONDS)
            with self._guard:
                worker = self._free.pop(answers[0], None) if answers else None
            if worker is not None:
                return worker

    def _read(self, answer: "ObjectRef") -> None:
        """Raises what the worker has raised, as itself."""
        try:
            self._ray.get(answer)
        except self._ray.exceptions.RayTaskError as error:
            raise error.cause from error

    def _add(self) -> None:
        worker = self._actor.remote(*self._given)
        self._all.add(worker)
        self._free[worker.ready.remote(self._needed)] = worker

    def _put(self, worker: "ActorHandle") -> None:
        with self._guard:
            self._free[worker.ready.remote(self._needed)] = worker

    def _replace(self, worker: "ActorHandle") -> None:
        """Also one that only cannot be reached: it must not go on unseen."""
        with self._guard:
            if not self._closed:
                self._ray.kill(worker)
                self._all.discard(worker)
                self._add()


@contextmanager
def ray_workers(
    home: Home, count: int | None = None, work_at: WorkAt = Production
) -> Iterator[RayWorkers]:
    """Workers on the Ray at `RAY_ADDRESS`, else on one of this process's own, that ends with it.

    `count` is one for each GPU by default, else one. Raises StudioError.
    """
    ray = _connected()
    try:
        count, resources = share_out([node["Resources"] for node in ray.nodes()], count)
        workers = RayWorkers(ray, home, count, resources, work_at)
        try:
            workers.wait_until_ready()
            yield workers
        finally:
            workers.close()
    finally:
        ray.shutdown()


def share_out(
    machines: Sequence[Mapping[str, float]], count: int | None
) -> tuple[int, dict[str, float]]:
    """The number of workers, and what each takes of the `machines`' "GPU"s and "CPU"s.

    Raises BadInput where there are fewer than the `count` that was asked for.
    """
    with_gpu = [machine for machine in machines if machine.get("GPU")]
    kind = "GPU" if with_gpu else "CPU"
    there = sum(int(machine.get(kind, 0)) for machine in machines)
    wanted = count if count is not None else there if with_gpu else 1
    if not 1 <= wanted <= there:
        raise BadInput(f"Ray has {there} {kind}s: give '--workers' a number from 1 to {there}.")
    if not with_gpu:
        return wanted, {"num_cpus": 1}
    # Ray also has the libraries of a worker use as many threads.
    share = min(int(machine.get("CPU", 0) // machine["GPU"]) for machine in with_gpu)
    return wanted, {"num_gpus": 1, "num_cpus": share}


def _settings(environ: Mapping[str, str]) -> dict[str, str]:
    """The studio's own settings, and where the Hub's cache is."""
    kept = ("HF_HOME", "HF_HUB_CACHE")
    return {
        name: value for name, value in environ.items() if name.startswith("AIO_") or name in kept
    }


def _connected() -> ModuleType:
    """The module ray, connected. Raises StudioError."""
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    # Otherwise a call after the shutdown would start another Ray.
    os.environ["RAY_ENABLE_AUTO_CONNECT"] = "0"
    address = os.environ.get("RAY_ADDRESS")
    if not address:
        # Ray listens on all of the machine's addresses, and runs what it is sent.
        os.environ.setdefault("RAY_AUTH_MODE", "token")
        os.environ.setdefault("RAY_AUTH_TOKEN", secrets.token_hex(32))
    on_sigterm = signal.getsignal(signal.SIGTERM)
    try:
        ray = importlib.import_module("ray")
        if address:
            ray.init(logging_level="WARNING")
        else:
            ray.init(
                "local",
                include_dashboard=False,
                object_store_memory=STORE_BYTES,
                logging_level="WARNING",
            )
    except ImportError as error:
        raise StudioError(NOT_INSTALLED) from error
    except (ConnectionError, RuntimeError, ValueError) as error:
        if address:
            raise StudioError(NOT_REACHED.format(address=address)) from error
        raise StudioError(f"Ray could not be started here: {error}") from error
    if threading.current_thread() is threading.main_thread():
        # Ray has put its own there, which leaves with another exit status.
        signal.signal(signal.SIGTERM, on_sigterm)
    return ray
