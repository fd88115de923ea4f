"""Why a file of the Hub could not be had, in one sentence, and what may pass by itself."""

from pathlib import Path

from studio import disk
from studio.errors import FetchFailed, FetchFailure
from studio.hub_file import HubFile

PASSING: frozenset[FetchFailure] = frozenset({"no-network", "busy", "stalled"})
"""What another attempt may get over."""

_TOKENS = "https://huggingface.co/settings/tokens"

# By the names of the classes, for huggingface_hub's HTTP client has changed and a host brings its
# own release. The first that fits: a gated repository is a repository not found, for instance.
_BY_CLASS: tuple[tuple[str, FetchFailure, str], ...] = (
    (
        "DisabledRepoError",
        "denied",
        "The Hub has closed the repository {repo}: see {page} for the reason.",
    ),
    (
        "RevisionNotFoundError",
        "not-found",
        "The repository {repo} has no revision '{revision}': check the name, or update the studio.",
    ),
    (
        "RemoteEntryNotFoundError",
        "not-found",
        "The repository {repo} has no file '{path}' at '{revision}': check the name, or update the"
        " studio.",
    ),
    (
        "RepositoryNotFoundError",
        "not-found",
        "The Hub shows no repository {repo}: check the name; if it is a private one, put a token"
        " that may read it into HF_TOKEN.",
    ),
    (
        "OfflineModeIsEnabled",
        "offline",
        "'{name}' is not on this machine and HF_HUB_OFFLINE is set: unset it to fetch the file.",
    ),
    (
        "ReadTimeout",
        "stalled",
        "Nothing more came of '{name}': try again, what has arrived is kept.",
    ),
    *(
        (
            error,
            "no-network",
            "The Hub cannot be reached for '{name}': check the network and try again.",
        )
        for error in ("ConnectError", "ConnectTimeout", "PoolTimeout", "ProxyError")
    ),
    *(
        (
            error,
            "no-network",
            "The connection to the Hub keeps breaking at '{name}': check the network and try"
            " again, what has arrived is kept.",
        )
        for error in ("TransportError", "ConnectionError", "StreamError")
    ),
)

_NO_TOKEN = (
    "{repo} is given only to accounts that accepted its licence: accept it at {page}, make a token"
    f" at {_TOKENS}, and put it into HF_TOKEN."
)
_LICENCE = "The licence of {repo} is not accepted yet: accept it at {page} and try again."
_BAD_TOKEN = f"The Hub does not know the token in HF_TOKEN: make a new one at {_TOKENS}."
_DENIED = (
    "The Hub refuses '{name}' of {repo} to this account (answer {status}): look at {page} whether"
    " it may have the file."
)
_TOO_MANY = (
    "The Hub asks to slow down (answer 429): wait some minutes and try again, what has arrived is"
    " kept; with a token in HF_TOKEN more is allowed."
)
_FAULTY = (
    "The Hub has a fault of its own (answer {status}): try again later, what has arrived is kept."
)


def failure_of(error: Exception, file: HubFile, folder: Path) -> FetchFailed | None:
    """The studio's words for what a library raised; None for what is not a failure to fetch.

    `folder` is the one that was written to.
    """
    status = getattr(getattr(error, "response", None), "status_code", None)
    classes = {one.__name__ for one in type(error).__mro__}
    if "GatedRepoError" in classes:
        return _gated(status, file)
    for name, kind, sentence in _BY_CLASS:
        if name in classes:
            return _failure(kind, sentence, file)
    if status is not None:
        return _by_status(status, file)
    return disk_failure(error, folder) if isinstance(error, OSError) else None


def disk_failure(error: OSError, folder: Path) -> FetchFailed:
    """`folder` could not be read or written."""
    kind: FetchFailure = "disk-full" if error.errno in disk.FULL else "disk"
    return FetchFailed(disk.explain(error, folder), kind)


def not_the_hub(file: HubFile) -> FetchFailed:
    """The answer says neither what the content is nor of which commit."""
    return _failure(
        "no-network",
        "What answered for {repo} is not the Hub: check the proxy or the login page of this"
        " network, and HF_ENDPOINT.",
        file,
    )


def corrupt(file: HubFile) -> FetchFailed:
    """The same wrong content came twice."""
    return _failure(
        "corrupt",
        "'{name}' of {repo} arrived damaged twice: try again later or on another network; it was"
        " thrown away.",
        file,
    )


def wrong_size(file: HubFile, size: int | None) -> FetchFailed:
    """The Hub does not have the file that the registry knows."""
    told = "no size" if size is None else f"{size} bytes"
    return _failure(
        "corrupt",
        "'{name}' of {repo} is not the file that the studio knows ({told} instead of"
        " {bytes}): update the studio.",
        file,
        told=told,
    )


def _gated(status: int | None, file: HubFile) -> FetchFailed:
    from huggingface_hub import get_token

    if status == 401 and get_token() is None:
        return _failure("no-token", _NO_TOKEN, file)
    if status == 401:
        return _failure("denied", _BAD_TOKEN, file)
    return _failure("licence", _LICENCE, file)


def _by_status(status: int, file: HubFile) -> FetchFailed:
    if status == 429:
        return _failure("busy", _TOO_MANY, file)
    if status >= 500 or status == 408:
        return _failure("busy", _FAULTY, file, status=status)
    if status == 401:
        return _failure("denied", _BAD_TOKEN, file)
    return _failure("denied", _DENIED, file, status=status)


def _failure(kind: FetchFailure, sentence: str, file: HubFile, **more: object) -> FetchFailed:
    facts = {
        "name": file.name,
        "repo": file.repo,
        "page": file.page,
        "path": file.path,
        "revision": file.revision,
        "bytes": file.bytes,
    }
    return FetchFailed(sentence.format(**facts, **more), kind)
