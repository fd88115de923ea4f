"""Whose request it is: a browser's cookie says it, a script's key, or that it comes from here."""

import re
import secrets
from collections.abc import Mapping
from urllib.parse import urlsplit

import gradio as gr
from starlette.datastructures import MutableHeaders
from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from studio.errors import BadInput
from studio.page_answers import refused
from studio.studio import COMMAND_LINE

OWNER_COOKIE = "aio_owner"
KEY_HEADER = "X-AIO-Key"
_OWNER = re.compile(r"[A-Za-z0-9_-]{43}")
"""What `secrets.token_urlsafe(32)` gives: nobody guesses another's."""

_KEPT_SECONDS = 400 * 24 * 3600
"""The longest that browsers keep a cookie; every visit starts it anew."""

_FIRST_PATHS = ("/", "/config")
"""What a browser, and what gradio_client, asks for first. Only there is an owner made up: answers
to requests sent without cookies (a manifest, a font) would replace the owner's."""

_LOOPBACK = ("127.0.0.1", "localhost", "::1")

_BROWSERS_AND_PROXIES = ("sec-fetch-site", "origin", "x-forwarded-for", "forwarded")
"""Headers by which a request is known that another site, or another machine, may be behind."""

NO_OWNER = (
    "Your browser sent no cookie, so nobody could find the result again:"
    " allow cookies for this page and load it again."
    f" A script sends a key of its own in the header {KEY_HEADER}."
)

BAD_KEY = (
    f"The header {KEY_HEADER} must have 43 letters, digits, '-' or '_', as"
    " 'secrets.token_urlsafe(32)' of Python gives them."
)


def owner_of(request: Request | gr.Request) -> str | None:
    """Whose request it is; None where nothing in it says so."""
    return getattr(request.state, "owner", None)


class KnownOwner:
    """ASGI middleware that finds the owner, and gives every new visitor one of their own.

    A key comes before a cookie. With `alone`, where nobody else can open the page, a program of
    this machine needs neither: it owns what the command line owns. `framed` as in `Host`.
    """

    def __init__(self, app: ASGIApp, alone: bool = False, framed: bool = False) -> None:
        self._app = app
        self._alone = alone
        self._framed = framed

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request = Request(scope)
        key, cookie = request.headers.get(KEY_HEADER), _cookie_owner(request)
        if key is not None and not _OWNER.fullmatch(key):
            await refused(BadInput(BAD_KEY), 400)(scope, receive, send)
            return
        program = self._alone and cookie is None and _is_own_program(request)
        scope.setdefault("state", {})["owner"] = (
            key or cookie or (COMMAND_LINE if program else None)
        )
        # A browser asks for the page; what asks for the configuration alone is gradio_client.
        if scope["path"] in _FIRST_PATHS and not key and not (program and scope["path"] != "/"):
            send = _with_cookie(send, _set_cookie(request, cookie, self._framed))
        await self._app(scope, receive, send)


def _cookie_owner(request: Request) -> str | None:
    owner = request.cookies.get(OWNER_COOKIE, "")
    return owner if _OWNER.fullmatch(owner) else None


def _is_own_program(request: Request) -> bool:
    """Whether no browser and no proxy has sent it, to this machine by its own name.

    A page of another site may have a browser ask; by a name of its own that leads to this
    machine it even does so without saying what it is.
    """
    headers = request.headers
    named = urlsplit(f"//{headers.get('host', '')}").hostname
    return named in _LOOPBACK and not any(name in headers for name in _BROWSERS_AND_PROXIES)


def _with_cookie(send: Send, cookie: str) -> Send:
    async def send_with_cookie(message: Message) -> None:
        if message["type"] == "http.response.start":
            MutableHeaders(scope=message).append("set-cookie", cookie)
        await send(message)

    return send_with_cookie


def _set_cookie(request: Request, owner: str | None, framed: bool) -> str:
    """`framed`: the page is shown in a frame of another site, where browsers keep cookies away
    that are `Lax`. One that is `Partitioned` is known only within frames of that same site.
    """
    forwarded = request.headers.get("x-forwarded-proto", "").split(",")[0].strip()
    secure = "https" in (request.url.scheme, forwarded)
    site = "None; Secure; Partitioned" if framed and secure else "Lax" + "; Secure" * secure
    attributes = f"Max-Age={_KEPT_SECONDS}; Path=/; HttpOnly; SameSite={site}"
    return f"{OWNER_COOKIE}={owner or secrets.token_urlsafe(32)}; {attributes}"


def is_same_origin(headers: Mapping[str, str]) -> bool:
    """Whether a request that changes something comes from this page, or from no page at all.

    Browsers leave `Sec-Fetch-Site` out on plain HTTP beyond localhost, hence the look at `Origin`.
    """
    site = headers.get("sec-fetch-site")
    if site:
        return site in ("same-origin", "none")
    origin = headers.get("origin")
    return origin is None or urlsplit(origin).netloc == headers.get("host")
