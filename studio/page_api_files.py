"""Files that a script names instead of uploading them: by an address, or as the data itself."""

import asyncio
import base64
import binascii
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from urllib.parse import unquote, urljoin, urlsplit

import httpx
import safehttpx
from gradio.utils import get_upload_folder

from studio import disk
from studio.errors import BadInput
from studio.inputs import MAX_UPLOAD_BYTES, display_name
from studio.modes import Mode

FETCH_SECONDS = 120.0
"""For one file; so long it occupies one of the page's threads."""

MOST_REDIRECTS = 5
"""Where each leads is looked at anew."""

_ADDRESS = ("http://", "https://")
_DATA = "data:"
_UPLOADED = re.compile(r"https?://[^/]+/(?:.*/)?gradio_api/file=(/?.+)", re.DOTALL)
"""The address that Gradio's upload tool for MCP gives; whose upload it is, is looked at later."""


@contextmanager
def brought_files(
    mode: Mode, raw: Mapping[str, object], note: Callable[[str], None]
) -> Iterator[dict[str, object]]:
    """The values with every address and all data replaced by the path of a file among the uploads.

    `note` is told of each. They are gone afterwards: a queued job keeps its own copy. Raises
    BadInput, naming the control, for what cannot be had, and for an address inside a network.
    """
    with ExitStack() as kept:

        def bring(value: object) -> object:
            if isinstance(value, list | tuple):
                return [bring(one) for one in value]
            if not isinstance(value, str) or not value.startswith((*_ADDRESS, _DATA)):
                return value
            if uploaded := _UPLOADED.fullmatch(value):
                return unquote(uploaded[1])
            path = str(_bring(value, kept))
            note(path)
            return path

        brought = dict(raw)
        for field in mode.media:
            try:
                brought[field.name] = bring(raw.get(field.name))
            except BadInput as error:
                raise BadInput(f"{field.label}: {error}", field.name) from error
        yield brought


def _bring(value: str, kept: ExitStack) -> Path:
    """Every file has a folder of its own, by whose name its owner is known."""
    uploads = Path(get_upload_folder())
    with disk.disk_errors(uploads, BadInput):
        uploads.mkdir(parents=True, exist_ok=True)
        folder = Path(kept.enter_context(TemporaryDirectory(prefix="brought-", dir=uploads)))
        return _unpack(value, folder) if value.startswith(_DATA) else _fetch(value, folder)


def _unpack(uri: str, folder: Path) -> Path:
    head, _, data = uri.partition(",")
    if not head.endswith(";base64"):
        raise BadInput("a data: URI must hold base64.")
    path = folder / "data"
    try:
        path.write_bytes(base64.b64decode(data, validate=True))
    except (binascii.Error, ValueError) as error:
        raise BadInput("the base64 of the data: URI is damaged.") from error
    return path


def _fetch(address: str, folder: Path) -> Path:
    path = folder / display_name(unquote(urlsplit(address).path))
    try:
        asyncio.run(asyncio.wait_for(_download(address, path), FETCH_SECONDS))
    # What httpx says of addresses and connections, and safehttpx of names that are no public ones.
    except (httpx.HTTPError, httpx.InvalidURL, ValueError, asyncio.TimeoutError) as error:
        raise BadInput("the address could not be fetched: upload the file instead.") from error
    return path


async def _download(address: str, path: Path) -> None:
    for _ in range(MOST_REDIRECTS + 1):
        verified = await safehttpx.async_validate_url(httpx.URL(address).host)
        transport = safehttpx.AsyncSecureTransport(verified)
        async with (
            httpx.AsyncClient(transport=transport) as client,
            client.stream("GET", address) as response,
        ):
            if not response.has_redirect_location:
                await _write(response.raise_for_status(), path)
                return
            address = urljoin(address, response.headers["location"])
    raise BadInput("the address leads to too many others.")


async def _write(response: httpx.Response, path: Path) -> None:
    size = 0
    with path.open("wb") as file:
        async for chunk in response.aiter_bytes():
            size += len(chunk)
            if size > MAX_UPLOAD_BYTES:
                raise BadInput("the file at the address is too large.")
            file.write(chunk)
