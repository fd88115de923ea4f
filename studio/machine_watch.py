"""The memory of this machine, read once, for everything that must not wait for torch."""

import json
import logging
import subprocess
import sys
import threading
from pathlib import Path

from studio.fitting import Machine

log = logging.getLogger(__name__)

PATIENCE_SECONDS = 300.0
"""Torch with CUDA can take a minute to load from a slow disk."""


class MachineWatch:
    """Has a process of its own read the memory: torch would hold up a page that starts."""

    def __init__(self) -> None:
        self._machine: Machine | None = None
        self._ended = threading.Event()

    def start(self) -> "MachineWatch":
        threading.Thread(target=self._read, name="machine", daemon=True).start()
        return self

    @property
    def machine(self) -> Machine | None:
        """None until it is known, and where it cannot be."""
        return self._machine

    def wait(self, seconds: float = 0.0) -> bool:
        """Whether nothing more will be known, after `seconds` at the latest."""
        return self._ended.wait(seconds)

    def _read(self) -> None:
        try:
            self._machine = _ask()
        except (OSError, subprocess.SubprocessError, ValueError, TypeError) as error:
            log.warning("The memory of this machine could not be read: %s", error)
        finally:
            self._ended.set()


def read_here() -> Machine | None:
    """The memory, read by this process, which then has torch; None where torch does not load."""
    try:
        from studio.torch_device import best_device
        from studio.torch_machine import read_machine
    except (ImportError, OSError) as error:
        log.warning("The memory of this machine could not be read: %s", error)
        return None
    return read_machine(best_device())


def _ask() -> Machine:
    said = subprocess.run(
        [sys.executable, "-m", "studio.torch_machine"],
        cwd=Path(__file__).parents[1],
        capture_output=True,
        check=True,
        timeout=PATIENCE_SECONDS,
    )
    return Machine(**json.loads(said.stdout))
