"""A disk that is full, for tests that may not mount a small one."""

import resource
from contextlib import contextmanager


@contextmanager
def largest_file(size):
    """Every longer file fails as on a disk that is full."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
