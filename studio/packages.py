"""The Python packages that the studio needs, and pip for them. Needs none of them itself."""

import importlib
import subprocess
import sys
from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeAlias

from studio.errors import BadInput, EngineFailed, StudioError

Say: TypeAlias = Callable[[str], None]
"""Told one line for every step that takes time."""

Pip: TypeAlias = Callable[[Sequence[str], Say], tuple[int, str]]
"""Runs a command; returns its exit status and the last lines that it wrote."""

ROOT = Path(__file__).parent.parent
REQUIREMENTS, CONSTRAINTS = ROOT / "requirements.txt", ROOT / "constraints.txt"

PIP_INSTALL = (
    *(sys.executable, "-m", "pip", "install"),
    *("--no-input", "--disable-pip-version-check", "--progress-bar", "off"),
)

BY_HAND = "pip install -r requirements.txt -c constraints.txt"

_TAIL = 5
"""Lines of pip's that are shown when it fails: its reason stands in the last few."""


def lines_of(requirements: Path) -> list[str]:
    """The requirements of a file, as pip writes them."""
    lines = requirements.read_text(encoding="utf-8").splitlines()
    return [line for line in lines if line and not line.startswith("#")]


def run_pip(command: Sequence[str], say: Say) -> tuple[int, str]:
    """Runs the command and passes on what it downloads, with sizes."""
    last: deque[str] = deque(maxlen=_TAIL)
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as process:
        for line in process.stdout or ():
            last.append(line.rstrip())
            if line.lstrip().startswith(("Downloading", "Installing collected")):
                say(line.strip())
    return process.returncode, "\n".join(last)


def require_success(done: tuple[int, str]) -> None:
    """Raises EngineFailed with pip's last lines where it failed."""
    status, tail = done
    if status:
        raise EngineFailed(f"pip could not install the Python packages; its last lines:\n{tail}")


def require_own_environment() -> None:
    """Raises BadInput outside a virtual environment: others may need that Python as it is."""
    if sys.prefix == sys.base_prefix:
        raise BadInput(
            "Python packages are mended in a virtual environment only: make one as the README"
            f" says, or run '{BY_HAND}' yourself."
        )


def install_packages(say: Say) -> None:
    """Has pip install what is missing of the studio's own requirements.

    Raises BadInput outside a virtual environment, EngineFailed where pip fails.
    """
    require_own_environment()
    say("Installing the Python packages that are missing …")
    files = ("-r", str(REQUIREMENTS), "-c", str(CONSTRAINTS))
    require_success(run_pip([*PIP_INSTALL, *files], say))
    importlib.invalidate_caches()


def mend_import(error: ModuleNotFoundError, arguments: Sequence[str], say: Say) -> bool:
    """For a command line that could not be imported: whether it is worth another try.

    Installs the packages where the command is `doctor --fix`, and says what to do elsewhere.
    Raises the error itself where a module of the studio is missing.
    """
    missing = (error.name or "").partition(".")[0]
    if missing == "studio":
        raise error
    if arguments[:1] != ["doctor"] or "--fix" not in arguments:
        say(
            f"The Python package '{missing}' is missing: run 'python -m studio doctor --fix', or"
            f" '{BY_HAND}'."
        )
        return False
    try:
        install_packages(say)
    except StudioError as failure:
        say(str(failure))
        return False
    return True
