"""What the page's own routes answer with: JSON, refusals of one shape, files."""

import json
from collections.abc import Mapping
from pathlib import Path

from starlette.responses import FileResponse, Response

from studio.errors import NotAllowed, NotFound, StudioError
from studio.jobs import CancelOutcome
from studio.page_job import CANCELLED

MEDIA_TYPES: Mapping[str, str] = {
    ".png": "image/png",
    ".jpg": "image/jpeg",
    ".jpeg": "image/jpeg",
    ".webp": "image/webp",
    ".gif": "image/gif",
    ".bmp": "image/bmp",
    ".avif": "image/avif",
    ".wav": "audio/wav",
    ".mp3": "audio/mpeg",
    ".m4a": "audio/mp4",
    ".flac": "audio/flac",
    ".ogg": "audio/ogg",
    ".opus": "audio/ogg",
    ".mp4": "video/mp4",
    ".m4v": "video/mp4",
    ".mov": "video/quicktime",
    ".webm": "video/webm",
}
"""What is shown by a browser; anything else is only downloaded."""

_SAFE = {"X-Content-Type-Options": "nosniff"}
UNSTORED = {**_SAFE, "Cache-Control": "no-store"}


def answer(value: object, status: int = 200) -> Response:
    """JSON that no cache keeps. In ASCII: a file's name may hold what UTF-8 cannot."""
    return Response(json.dumps(value), status, UNSTORED, "application/json")


def refused(error: StudioError, status: int) -> Response:
    """The shape of every refusal: the sentence, and the kind of error for a script."""
    return answer({"error": str(error), "kind": type(error).__name__}, status)


def not_found(sentence: str = CANCELLED[CancelOutcome.UNKNOWN]) -> Response:
    """What is unknown, another owner's, or gone."""
    return refused(NotFound(sentence), 404)


def foreign() -> Response:
    """To a request that `is_same_origin` is not content with."""
    sentence = "Another page has asked for this; do it on the studio's page."
    return refused(NotAllowed(sentence), 403)


def send_file(path: Path, name: str, download: bool) -> Response:
    """The file, in ranges where asked, which videos are; only its owner's browser keeps a copy."""
    kind = MEDIA_TYPES.get(path.suffix.lower())
    return FileResponse(
        path,
        media_type=kind or "application/octet-stream",
        filename=name,
        content_disposition_type="inline" if kind and not download else "attachment",
        headers={**_SAFE, "Cache-Control": "private, max-age=3600"},
    )
