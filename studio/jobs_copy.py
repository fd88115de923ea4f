"""Keeps a copy of the job table where it outlives the container, for a home on a volume.

SQLite works on the container's own disk, and only whole, closed files reach the volume. A killed
container loses what happened since the last copy.
"""

import logging
import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from studio import disk
from studio.errors import EngineFailed, StudioError
from studio.home import Home

logger = logging.getLogger(__name__)

COPY_SECONDS = 5.0
"""Between two looks whether the table has changed; one query a look."""


def restore_table(home: Home) -> None:
    """Brings the copied job table back, where this container has none yet. Raises EngineFailed."""
    copy = home.database_copy
    if copy is None or home.database.exists() or not copy.exists():
        return
    folder = home.database.parent
    with disk.disk_errors(folder, EngineFailed), disk.partial_file(folder) as partial:
        disk.copy_durably(copy, partial)
        partial.replace(home.database)


@contextmanager
def table_copied(
    home: Home, commit: Callable[[], None] = lambda: None, seconds: float = COPY_SECONDS
) -> Iterator[None]:
    """Copies the table whenever it has changed, and once more at the end.

    `commit` makes the volume keep what was written there. Does nothing for a home on one disk.
    """
    if home.database_copy is None:
        yield
        return
    over = threading.Event()
    keeper = threading.Thread(
        target=_keep, args=(home.database, home.database_copy, commit, seconds, over), daemon=True
    )
    keeper.start()
    try:
        yield
    finally:
        over.set()
        keeper.join()


def _keep(
    table: Path, copy: Path, commit: Callable[[], None], seconds: float, over: threading.Event
) -> None:
    table.parent.mkdir(parents=True, exist_ok=True)
    last, copied = False, 0
    with closing(sqlite3.connect(table, timeout=60, isolation_level=None)) as connection:
        while not last:
            last = over.wait(seconds)
            try:
                version = int(connection.execute("PRAGMA data_version").fetchone()[0])
                if version != copied:
                    _copy(connection, copy, table.parent)
                    commit()
                    copied = version
            # The jobs must go on, and the next look tries again.
            except (StudioError, sqlite3.Error):
                logger.warning("The job table could not be copied to the volume.", exc_info=True)


def _copy(connection: sqlite3.Connection, copy: Path, own: Path) -> None:
    """Puts one moment of the table into a file, and the file in the copy's place."""
    with (
        disk.disk_errors(copy.parent, EngineFailed),
        disk.partial_file(own) as whole,
        disk.partial_file(copy.parent) as partial,
    ):
        with closing(sqlite3.connect(whole)) as target:
            connection.backup(target)
        disk.copy_durably(whole, partial)
        partial.replace(copy)
