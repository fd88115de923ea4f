"""Times the start: from `python app.py` to the first input that a person can use.

Run as `python -m bench.start`. Beside it starts a bare page of Gradio with one box, which the
studio cannot be faster than. Cold: what lies in the packages' folder is dropped from the disk's
cache first, and the browser has never been there.
"""

import contextlib
import os
import re
import statistics
import subprocess
import sys
import sysconfig
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import httpx
import psutil
from page_server import free_port
from page_visit import CHROMIUM, started_chromium

from bench.pairs import ROUNDS, table

if TYPE_CHECKING:
    from playwright.sync_api import Browser, BrowserContext

ROOT = Path(__file__).parent.parent
PATIENCE = 120.0

BARE = """
import os, sys
os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
import gradio
with gradio.Blocks() as page:
    gradio.Textbox(elem_id="photo-prompt")
page.launch(server_port=int(sys.argv[-1]), quiet=True, ssr_mode=False)
"""

IMPORTS = """
import app
app.leave_out_stubs()
import studio.page, studio.studio
"""


@dataclass(frozen=True)
class Start:
    """Seconds since the process was started, unless said otherwise."""

    served: float
    usable: float | None
    """When a prompt could be typed; None without a Chromium."""
    cpu: float
    """Of the process, until it served."""
    read: float
    """MB that it has read from the disk until then."""


def main() -> int:
    """Print the starts, what they import and what is in memory afterwards."""
    found: dict[str, list[Start]] = {"bare Gradio": [], "studio": []}
    with tempfile.TemporaryDirectory() as folder, _browser() as browser:
        port = free_port()
        commands = {
            "bare Gradio": [sys.executable, "-c", BARE, str(port)],
            "studio": [sys.executable, "app.py", "--home", folder, "--port", str(port)],
        }
        cold = {}
        for name, command in commands.items():
            _drop_packages()
            with _context(browser) as visitor:
                cold[name] = _start(command, port, visitor)
        with _context(browser) as visitor:
            for number in range(ROUNDS + 1):
                for name in list(commands) if number % 2 else list(reversed(commands)):
                    found[name].append(_start(commands[name], port, visitor))
        memory = _memory(commands["studio"], port)
    rows = [_row(f"{name}, cold", [one]) for name, one in cold.items()]
    # The first warm visit of each fills the browser's cache.
    rows += [_row(f"{name}, warm", starts[1:]) for name, starts in found.items()]
    head = ["start", "served (s)", "first input (s)", "CPU time until served (s)", "read (MB)"]
    sys.stdout.write(f"{table(head, rows)}\n\n{_imports()}\n\n{memory}\n")
    return 0


def _row(name: str, starts: list[Start]) -> list[object]:
    usable = [one.usable for one in starts if one.usable is not None]
    return [
        name,
        statistics.median(one.served for one in starts),
        statistics.median(usable) if usable else "no Chromium",
        statistics.median(one.cpu for one in starts),
        f"{statistics.median(one.read for one in starts):.0f}",
    ]


@contextlib.contextmanager
def _browser() -> "Iterator[Browser | None]":
    if CHROMIUM is None:
        yield None
        return
    with started_chromium() as browser:
        yield browser


@contextlib.contextmanager
def _context(browser: "Browser | None") -> "Iterator[BrowserContext | None]":
    """A browser's profile of its own, with its cache."""
    if browser is None:
        yield None
        return
    context = browser.new_context()
    yield context
    context.close()


def _start(command: list[str], port: int, visitor: "BrowserContext | None") -> Start:
    begun = time.monotonic()
    with _running(command) as process:
        _wait_until_served(port)
        served = time.monotonic() - begun
        used = process.cpu_times()
        read = process.io_counters().read_bytes / 1e6
        usable = None
        if visitor is not None:
            page = visitor.new_page()
            page.goto(f"http://127.0.0.1:{port}/", wait_until="commit")
            page.fill("#photo-prompt textarea", "a red circle", timeout=PATIENCE * 1000)
            usable = time.monotonic() - begun
            page.close()
    return Start(served, usable, used.user + used.system, read)


@contextlib.contextmanager
def _running(command: list[str]) -> Iterator[psutil.Process]:
    process = psutil.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        yield process
    finally:
        process.terminate()
        process.wait(PATIENCE)


def _wait_until_served(port: int) -> None:
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        with contextlib.suppress(httpx.HTTPError):
            httpx.get(f"http://127.0.0.1:{port}/", timeout=PATIENCE).raise_for_status()
            return
        time.sleep(0.01)
    sys.exit("The page was not served in time.")


def _drop_packages() -> None:
    """Has the system forget the packages' files, as far as no other process uses them."""
    for place in (sysconfig.get_paths()["purelib"], sysconfig.get_paths()["stdlib"]):
        for path in Path(place).rglob("*"):
            if path.suffix in (".py", ".pyc", ".so") and path.is_file():
                file = os.open(path, os.O_RDONLY)
                os.posix_fadvise(file, 0, 0, os.POSIX_FADV_DONTNEED)
                os.close(file)


def _imports() -> str:
    """The ten packages whose own modules take longest, of all that the page imports."""
    said = subprocess.run(
        [sys.executable, "-X", "importtime", "-c", IMPORTS],
        cwd=ROOT,
        check=True,
        stderr=subprocess.PIPE,
        text=True,
    ).stderr
    own: Counter[str] = Counter()
    for micro, name in re.findall(r"import time:\s+(\d+) \|\s+\d+ \|\s+(\S+)", said):
        own[name.partition(".")[0]] += int(micro)
    rows = [[name, f"{micro / 1000:.0f}"] for name, micro in own.most_common(10)]
    rows.append(["all", f"{own.total() / 1000:.0f}"])
    return table(["imports of package", "ms"], rows)


def _memory(command: list[str], port: int) -> str:
    """Of the page's process at rest, once the one that reads the memory with torch has ended."""
    with _running(command) as process:
        _wait_until_served(port)
        end = time.monotonic() + PATIENCE
        seen = False
        while time.monotonic() < end:
            children = process.children(recursive=True)
            if seen and not children:
                break
            seen = seen or bool(children)
            time.sleep(0.05)
        return f"In memory at rest: {process.memory_info().rss / 1e6:.0f} MB."


if __name__ == "__main__":
    sys.exit(main())
