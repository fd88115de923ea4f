"""Starts the studio as a ZeroGPU Space does, on a machine without a GPU: `python zero_space.py`.

The package `spaces` is the real one. PyTorch is made to look like a build with CUDA whose device
is the CPU; a request to another machine is refused and written down; and a painter that does what
the prompt says stands in front of the real production.
"""

import os
import socket
import sys
import time
from pathlib import Path

LOOPBACK = ("127.0.0.1", "localhost", "::1", "0.0.0.0")


def refuse_network(log):
    def look(event, arguments):
        if event == "socket.connect":
            _, address = arguments
            host = address[0] if isinstance(address, tuple) else "127.0.0.1"
        elif event == "socket.getaddrinfo":
            host = arguments[0]
        else:
            return
        name = host.decode() if isinstance(host, bytes) else host
        if name and name not in LOOPBACK and name != socket.gethostname():
            with log.open("a") as file:
                file.write(f"{event} {name}\n")
            raise ConnectionRefusedError(f"{name} may not be reached")

    sys.addaudithook(look)


def play_cuda():
    """What `spaces` touches of CUDA when it is imported, and when a worker starts."""
    import torch

    torch.version.cuda = "13.0"
    torch._C._cuda_init = lambda: None
    torch.cuda._is_in_bad_fork = bool
    torch.cuda.synchronize = lambda *arguments: None
    torch.Tensor.cuda = lambda tensor, *arguments, **more: tensor


def put_painter(home):
    from studio import production
    from studio.events import PreviewReady, StageStarted, StepDone
    from studio.runner import ItemResult, Planned

    real = production.Production

    class Painter:
        """Leaves every prompt that it does not know to the real production."""

        def __init__(self, home):
            self.home, self.real = home, real(home)

        def __call__(self, job, item, report):
            act = getattr(self, job.params["prompt"].split()[0], None)
            if act is None:
                return self.real(job, item, report)
            report(Planned({"load": "Loading", "sample": "Sampling"}, "diffusers", "demo"))
            report(StageStarted(1, 1000))
            act(report)
            output = self.home.outputs / f"{job.id}_{item.index}.png"
            output.parent.mkdir(parents=True, exist_ok=True)
            output.write_bytes(str(os.getpid()).encode())
            return ItemResult(output, (), {"seed": job.seed})

        def paint(self, report):
            report(StepDone(1, 1000))

        def wait(self, report):
            report(PreviewReady(b"a jpeg"))
            for step in range(1, 100_000):
                report(StepDone(min(step, 999), 1000))
                time.sleep(0.02)

        def twice(self, report):
            """The first try of a home never ends."""
            tried = self.home.root / "tried"
            if not tried.exists():
                tried.touch()
                self.wait(report)

        def die(self, report):
            os._exit(9)

    production.Production = Painter


def main():
    home = Path(os.environ["AIO_HOME"])
    refuse_network(home / "foreign.txt")
    play_cuda()
    put_painter(home)
    from studio import zero_seconds

    zero_seconds.SHORTEST = int(os.environ["SHORTEST"])
    import app

    return app.main([])


if __name__ == "__main__":
    sys.exit(main())
