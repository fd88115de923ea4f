"""The files of a model folder on the Hub that the studio loads."""

from collections.abc import Iterator
from fnmatch import fnmatch

from studio.errors import FetchFailed
from studio.hub_file import HubFile
from studio.registry import ModelFolder
from studio.weights_hub_cache import cache_folder
from studio.weights_hub_failures import failure_of

_ANSWER_SECONDS = 20.0


def list_files(folder: ModelFolder) -> tuple[HubFile, ...]:
    """Its files with the sizes that the Hub tells. Raises FetchFailed."""
    from huggingface_hub import HfApi

    index = HubFile(
        folder.repo, folder.index, folder.revision, licence=folder.licence, gated=folder.gated
    )
    try:
        about = HfApi().model_info(
            folder.repo, revision=folder.revision, files_metadata=True, timeout=_ANSWER_SECONDS
        )
    # Of whatever class its release and its HTTP client have.
    except Exception as error:
        failure = failure_of(error, index, cache_folder())
        if failure is None:
            raise
        raise failure from error
    found = tuple(_wanted(folder, [(one.rfilename, one.size) for one in about.siblings or ()]))
    if index.path not in {file.path for file in found}:
        raise FetchFailed(
            f"The repository {folder.repo} has no '{folder.index}': check the name, or update the"
            " studio.",
            "not-found",
        )
    return found


def _wanted(folder: ModelFolder, listed: list[tuple[str, int | None]]) -> Iterator[HubFile]:
    for path, size in listed:
        # A pattern that begins with a slash is for files at the top.
        place = path if "/" in path else f"/{path}"
        wanted = not folder.parts or path.split("/")[0] in folder.parts
        if wanted and not any(fnmatch(place, one) for one in folder.leave_out):
            yield HubFile(folder.repo, path, folder.revision, size, folder.licence, folder.gated)
