"""The call for a GPU on a ZeroGPU Space: the one place that imports `spaces`.

`app.py` imports this module, on ZeroGPU only and before Gradio and PyTorch: `spaces` changes both
as it is imported, and finds the decorated call when the page is launched.
"""

from collections.abc import Iterator
from dataclasses import replace
from functools import cache
from pathlib import Path

import spaces

from studio.diffusers_engine import import_runners
from studio.home import Home
from studio.jobs import JobTable
from studio.production import Production
from studio.remote_work import MakeItem, Order, Performed, perform
from studio.studio import Studio, open_studio
from studio.zero_visits import Visits
from studio.zero_work import ZeroWork, stop_flag

AT_ONCE = 16
"""Jobs that are with ZeroGPU at a time. It has a queue of its own, and a visitor's token would
expire in ours; each job costs a few threads."""


def open_on_zero(home: Home) -> Studio:
    """The studio of a ZeroGPU Space. Imports what its workers need, which are forks of this
    process.
    """
    import_runners()
    visits = Visits(JobTable(home.database))
    return replace(open_studio(home, ZeroWork(home, visits, make_on_gpu), AT_ONCE), visits=visits)


def seconds_asked(order: Order, root: str, seconds: int) -> int:
    """What the call declares to ZeroGPU; takes what the call takes."""
    return seconds


@spaces.GPU(duration=seconds_asked)  # type: ignore[untyped-decorator]
def make_on_gpu(order: Order, root: str, seconds: int) -> Iterator[Performed]:
    """Makes one item in the worker that ZeroGPU lends; `root` is the studio's home."""
    home = Home(Path(root))
    flag = stop_flag(home, order)
    try:
        yield from perform(_maker(home), order, flag.exists)
    finally:
        flag.unlink(missing_ok=True)


@cache
def _maker(home: Home) -> MakeItem:
    """One for all calls that a worker lives through, with its weights warm."""
    return Production(home)
