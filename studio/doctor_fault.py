"""One fault that the doctor has found."""

from collections.abc import Callable
from dataclasses import dataclass

from studio.packages import Say


@dataclass(frozen=True)
class Fault:
    """Something that is wrong. `mend` does what can be done and says what it did, in a sentence;
    it raises StudioError where that fails. None where only the user can do something.
    """

    name: str
    sentence: str
    """What is wrong, and without `mend` what to do."""
    mend: Callable[[Say], str] | None = None
    harmless: bool = False
    """Whether everything works all the same."""
