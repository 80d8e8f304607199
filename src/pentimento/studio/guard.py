"""Who may ask: checked before any route, for every route.

The page is for one person on one machine. Each launch has its own secret, which is the first part
of every address; beside it the Host must be this machine by one of its names (which defeats DNS
rebinding), an Origin must be the page's own, and a body must be announced and small enough. No
CORS header is ever sent.
"""

import secrets
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from typing import Any, Final

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

LARGEST_BODY: Final = 256 * 2**20
"""Bytes; what single routes take is less."""

_HEADERS: Final = (
    (
        b"content-security-policy",
        b"default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob:; "
        b"connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    ),
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"cache-control", b"no-store"),
)
_SITES: Final = (b"same-origin", b"none")
_CLOSED: Final = (
    b"Open the address that `pentimento studio` has printed: it holds this launch's key."
)


class Guard:
    """ASGI middleware that lets only the launch's own page through."""

    def __init__(self, app: App, token: str, hosts: Iterable[str]) -> None:
        """Guard an app.

        Args:
            app: what is guarded; it sees addresses without the token.
            token: this launch's secret.
            hosts: allowed values of the Host header, port included.
        """
        self._app = app
        self._token = token
        self._hosts = {host.encode() for host in hosts}
        self._origins = {b"http://" + host for host in self._hosts}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer 4xx, or pass the request on."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        if scope["type"] != "http":  # there are no web sockets here
            return
        headers = dict(scope["headers"])
        _, _, rest = scope["path"].partition("/")
        token, slash, path = rest.partition("/")
        if headers.get(b"host") not in self._hosts or not self._same_site(headers):
            await _refuse(send, 403, b"This page answers only itself.")
        elif not secrets.compare_digest(token.encode(), self._token.encode()) or not slash:
            await _refuse(send, 403, _CLOSED)
        elif scope["method"] not in ("GET", "HEAD") and not _announced(headers):
            await _refuse(send, 413, b"A request must announce a body that is not too large.")
        else:
            inner = {**scope, "path": f"/{path}", "raw_path": f"/{path}".encode()}
            await self._app(inner, receive, _with_headers(send))

    def _same_site(self, headers: dict[bytes, bytes]) -> bool:
        origin, site = headers.get(b"origin"), headers.get(b"sec-fetch-site")
        return (origin is None or origin in self._origins) and (site is None or site in _SITES)


def _announced(headers: dict[bytes, bytes]) -> bool:
    length = headers.get(b"content-length", b"")
    return length.isdigit() and int(length) <= LARGEST_BODY and b"transfer-encoding" not in headers


def _with_headers(send: Send) -> Send:
    async def sending(message: MutableMapping[str, Any]) -> None:
        if message["type"] == "http.response.start":
            own = {name for name, _ in _HEADERS}
            kept = [header for header in message["headers"] if header[0].lower() not in own]
            message = {**message, "headers": [*kept, *_HEADERS]}
        await send(message)

    return sending


async def _refuse(send: Send, status: int, why: bytes) -> None:
    start = {
        "type": "http.response.start",
        "status": status,
        "headers": [(b"content-type", b"text/plain; charset=utf-8")],
    }
    sending = _with_headers(send)
    await sending(start)
    await sending({"type": "http.response.body", "body": why})
