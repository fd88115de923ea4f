"""A home that the doctor is to look at, and the doctor itself."""

import gc
import os
import subprocess
import sys
import time
from pathlib import Path

from studio.doctor_faults import find_faults, mend
from studio.jobs import JobTable

ROOT = Path(__file__).parents[1]
LONG_AGO = time.time() - 3 * 24 * 3600


def quiet(_line):
    pass


def doctor(home, *flags, python=sys.executable, **environment):
    return subprocess.run(
        [str(python), "-m", "studio", "doctor", *flags, "--home", str(home.root)],
        cwd=ROOT,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
    )


def fixed(home):
    """What became of each fault, by name; nothing that could be mended is left afterwards."""
    done = {one.name: one for one in mend(home, quiet)}
    assert [fault.name for fault in find_faults(home) if fault.mend] == []
    return done


def made(home):
    home.root.mkdir(parents=True)
    return home


def old(path, content=b"half"):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    for one in (path, path.parent):
        os.utime(one, (LONG_AGO, LONG_AGO))
    return path


def submit(home, prompt="a cat"):
    job = JobTable(home.database).submit("ann", "photo", {"prompt": prompt}, 1, {})
    # As a studio that has ended: its connection goes with its table.
    gc.collect()
    return job


def no_table(path):
    path.write_bytes(b"no table at all" * 100)


def asides(home):
    return sorted(home.database.parent.glob("jobs-damaged-*.sqlite3"))
