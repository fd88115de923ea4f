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
        return f"https://huggingface.co/{self.repo}"


def lora_on_hub(name: str) -> HubFile | None:
    """The file that `owner/repository/path.safetensors` means, None for any other name."""
    parts = name.split("/")
    if len(parts) < 3 or not all(parts) or not name.endswith(".safetensors"):
        return None
    return HubFile("/".join(parts[:2]), "/".join(parts[2:]))
