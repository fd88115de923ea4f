"""A file on the Hugging Face Hub, as the registry of models names it."""

from dataclasses import dataclass


@dataclass(frozen=True)
class HubFile:
    repo: str
    """`owner/name` of a model repository."""
    path: str
    """The file's path in the repository, with forward slashes."""
    revision: str = "main"
    """A branch, a tag, or a commit in 40 hex digits: a commit never changes."""
    bytes: int | None = None
    """The size, where the registry knows it."""
    licence: str = ""
    """The licence's name, as the user reads it."""
    gated: bool = False
    """The Hub gives it only to accounts that accepted its licence."""

    @property
    def name(self) -> str:
        return self.path.rsplit("/", 1)[-1]

    @property
    def page(self) -> str:
        """Where a person reads about the repository and accepts its licence."""
        return f"https://huggingface.co/{self.repo}"
