"""Workers in other processes, behind the interface that Modal's have: warm, one item at a time."""

import multiprocessing
import os
import queue
import time

from studio.errors import EngineFailed
from studio.events import Note, PreviewReady, StageStarted, StepDone, StillAtWork
from studio.home import Home
from studio.production import Production
from studio.remote_work import serve
from studio.runner import ItemResult, Planned

SPAWN = multiprocessing.get_context("spawn")


class Painter:
    """Work that does what the prompt says.

    Beside its home it writes down who begins which item of a job, one line a try.
    """

    def __init__(self, home):
        self.home = home

    def __call__(self, job, item, report):
        tries = tries_of(self.home.root.parent, job, item, os.getpid())
        report(Planned({"load": "Loading", "sample": "Sampling"}, "diffusers", "demo"))
        report(StageStarted(0))
        report(StageStarted(1, 1000))
        prompt = job.params["prompt"]
        for step in range(1000 if prompt == "slow" else 2):
            time.sleep(0.01)
            report(StepDone(step + 1, 1000))
        report(PreviewReady(b"a jpeg"))
        report(Note("Painted."))
        if prompt == "fail":
            raise EngineFailed("It cannot be painted: choose a smaller size.", "Sampling")
        if prompt == "break":
            raise ZeroDivisionError("in the worker")
        is_last = item.index == len(job.items) - 1
        if prompt == "die" or (prompt == "die once" and is_last and len(tries) == 1):
            os._exit(9)
        while prompt == "wait" and not (self.home.root.parent / "go").exists():
            time.sleep(0.01)
            report(StillAtWork())
        output = self.home.outputs / f"{job.id}.png"
        output.parent.mkdir(parents=True, exist_ok=True)
        output.write_bytes(str(os.getpid()).encode())
        return ItemResult(output, ("It is all black.",), {"seed": job.seed, "width": 64})


def tries_of(folder, job, item, mine=None):
    """The processes that have begun the item, in order."""
    path = folder / f"{job.id}.{item.index}.tries"
    if mine is not None:
        with path.open("a") as file:
            file.write(f"{mine}\n")
    return [int(line) for line in path.read_text().splitlines()] if path.exists() else []


def dying(home):
    """In the place of a class of work: its process ends at the start."""
    os._exit(9)


WORK = {"production": Production, "painter": Painter}


def _work(connection, root, kind):
    home = Home(root)
    make = WORK[kind](home)
    while True:
        order = connection.recv()
        for said in serve(make, home, order, (root / "cancelled" / order.id).exists):
            connection.send(said)
        connection.send(None)


class WorkerProcesses:
    """`count` processes below `folder`, each with a home of its own."""

    def __init__(self, folder, kind="production", count=1):
        self.folder, self.kind = folder, kind
        self.free = queue.Queue()
        self.processes = []
        for number in range(count):
            self._start(folder / f"worker {number}")

    def _start(self, root):
        (root / "cancelled").mkdir(parents=True, exist_ok=True)
        ours, theirs = SPAWN.Pipe()
        process = SPAWN.Process(target=_work, args=(theirs, root, self.kind), daemon=True)
        process.start()
        theirs.close()
        self.processes.append(process)
        self.free.put((ours, root))

    def make(self, order):
        connection, root = self.free.get()
        try:
            connection.send(order)
            while (said := connection.recv()) is not None:
                yield said
        except EOFError:
            self._start(root)
            raise
        self.free.put((connection, root))

    def cancel(self, order_id):
        for cancelled in self.folder.glob("worker */cancelled"):
            (cancelled / order_id).touch()

    def stop(self):
        for process in self.processes:
            process.terminate()
            process.join()
