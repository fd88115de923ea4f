"""Shows an upload to nobody but its owner, and says why one could not be kept."""

import json
import logging
import re
from pathlib import Path

from gradio.utils import get_upload_folder
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.status import HTTP_507_INSUFFICIENT_STORAGE
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from studio.disk import explain
from studio.errors import BadInput
from studio.page_answers import not_found
from studio.page_owner import owner_of
from studio.page_values import is_upload
from studio.uploads import Uploads

logger = logging.getLogger(__name__)

_SERVED = re.compile(r"/file[=/](.+)", re.DOTALL)
"""Gradio's two ways to ask for a file by its path."""


class OwnUploads:
    """ASGI middleware around Gradio's routes for uploads."""

    def __init__(self, app: ASGIApp, uploads: Uploads) -> None:
        self._app = app
        self._uploads = uploads

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            owner = owner_of(Request(scope))
            if scope["path"].endswith("/upload"):
                await self._upload(owner, scope, receive, send)
                return
            if self._is_anothers(owner, scope["path"]):
                await not_found("This file is no longer there.")(scope, receive, send)
                return
        await self._app(scope, receive, send)

    async def _upload(self, owner: str | None, scope: Scope, receive: Receive, send: Send) -> None:
        """Gradio answers nothing itself where the disk refuses; its form shows the text."""
        noting = send if owner is None else self._noting(owner, send)
        unread = True

        async def read() -> Message:
            nonlocal unread
            message = await receive()
            unread = bool(message.get("more_body"))
            return message

        try:
            await self._app(scope, read, noting)
        except OSError as error:
            sentence = explain(error, Path(get_upload_folder()))
            logger.warning("An upload could not be kept: %s", sentence)
            # Who still sends would not hear the answer.
            while unread:
                await read()
            refusal = PlainTextResponse(str(BadInput(sentence)), HTTP_507_INSUFFICIENT_STORAGE)
            await refusal(scope, receive, send)

    def _noting(self, owner: str, send: Send) -> Send:
        """Passes on the answer, which is a list of paths where all went well."""
        answer = bytearray()

        async def send_and_note(message: Message) -> None:
            answer.extend(message.get("body", b""))
            if message["type"] == "http.response.body" and not message.get("more_body"):
                for path in _paths(bytes(answer)):
                    self._uploads.note(owner, path)
            await send(message)

        return send_and_note

    def _is_anothers(self, owner: str | None, path: str) -> bool:
        asked = _SERVED.search(path)
        if asked is None or not is_upload(asked[1]):
            return False
        return not self._uploads.is_of(owner, asked[1])


def _paths(answer: bytes) -> list[str]:
    try:
        told = json.loads(answer)
    # A refusal in words.
    except ValueError:
        return []
    return [path for path in told if isinstance(path, str)] if isinstance(told, list) else []
