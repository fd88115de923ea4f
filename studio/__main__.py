"""`python -m studio …`."""

import sys

from studio.packages import mend_import


def _say(line: str) -> None:
    sys.stderr.write(f"{line}\n")
    sys.stderr.flush()


def _start() -> int:
    try:
        from studio.cli import main
    except ModuleNotFoundError as error:
        if not mend_import(error, sys.argv[1:], _say):
            return 1
        from studio.cli import main
    return main()


if __name__ == "__main__":
    sys.exit(_start())
