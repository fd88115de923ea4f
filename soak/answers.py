"""What became of files that were mutated."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from studio.errors import StudioError


@dataclass(frozen=True)
class Answers:
    """The last is to be empty."""

    files: int
    taken: int
    refused_with_a_sentence: int
    other_errors: tuple[str, ...]

    @property
    def well(self) -> bool:
        return not self.other_errors


def answer(use: Callable[[], object]) -> str:
    """How the use of a mutated file has ended: "taken", "refused", or what should not be."""
    try:
        use()
    except StudioError as error:
        text = str(error)
        return "refused" if len(text) > 10 and "\n" not in text else f"no sentence: {text}"
    # Anything else is what this campaign looks for.
    except Exception as error:
        return f"{type(error).__name__}: {error}"[:200]
    return "taken"


def tally(answers: Sequence[str]) -> Answers:
    """Of what `answer` has said of each."""
    wrong = sorted({one for one in answers if one not in ("taken", "refused")})
    return Answers(len(answers), answers.count("taken"), answers.count("refused"), tuple(wrong))
