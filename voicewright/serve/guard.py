"""Who may talk to a server on this machine: not a web page from elsewhere, not a name that was pointed here.

A browser lets any page send requests to 127.0.0.1. It says so in `Origin`; and a page that had its own name
resolve to 127.0.0.1 (DNS rebinding) shows in `Host`. Both are checked before anything is read, WebSockets
included.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from typing import Any
from urllib.parse import urlsplit

from voicewright.errors import UsageError

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

_PORTS = {"http": 80, "https": 443}
LOCAL = ("127.0.0.1", "localhost", "::1")


def is_loopback(host: str) -> bool:
    """Does a server that binds to `host` answer this machine alone?"""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def check_origin(origin: str) -> str:
    """`https://example.org:8443` as browsers write it in the header. Raises UsageError for anything else."""
    try:
        parts = urlsplit(origin)
        port = parts.port
    except ValueError:  # a broken address, or a port that is none
        parts, port = urlsplit(""), None
    more = parts.path not in ("", "/") or parts.query or parts.fragment or "@" in parts.netloc
    if parts.scheme not in _PORTS or not parts.hostname or more:
        raise UsageError(f"{origin!r} is no origin; write scheme and host, as in https://example.org:8080.")
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    return f"{parts.scheme}://{host}" + (f":{port}" if port not in (None, _PORTS[parts.scheme]) else "")


class Guard:
    """Wraps an ASGI application. `hosts`: names besides this machine's own that requests may be addressed to;
    `origins`: pages elsewhere that may use the server; `largest`: bytes of a request's body."""

    def __init__(
        self, app: App, *, hosts: Iterable[str] = (), origins: Iterable[str] = (), largest: int = 1 << 25
    ) -> None:
        self._app = app
        self._hosts = {host.lower() for host in (*LOCAL, *hosts)}
        self._origins = {check_origin(origin) for origin in origins}
        self._largest = largest

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        headers = {k.decode("latin-1").lower(): v.decode("latin-1") for k, v in scope["headers"]}
        refusal = self._refusal(headers)
        if refusal:
            await _refuse(scope, send, *refusal)
        else:
            await self._app(scope, self._capped(receive), send)

    def _refusal(self, headers: dict[str, str]) -> tuple[int, str] | None:
        host, port = _split(headers.get("host", ""))
        if host not in self._hosts and not _is_address(host):
            return 421, f"This server is not {host or 'nameless'}; address it as 127.0.0.1 or localhost."
        origin = headers.get("origin")
        if origin is not None and not self._trusted(origin, host, port):
            return 403, f"Pages of {origin} may not use this server; --origin allows those you trust."
        # Pictures and scripts of a page come without Origin; that someone followed a link is no harm.
        elsewhere = (
            headers.get("sec-fetch-site") == "cross-site" and headers.get("sec-fetch-mode") != "navigate"
        )
        if origin is None and elsewhere:
            return 403, "Pages from elsewhere may not use this server; --origin allows those you trust."
        length = headers.get("content-length", "0")
        if not (length.isascii() and length.isdigit()) or int(length) > self._largest:
            return 413, f"A request may have {self._largest} bytes at most."
        return None

    def _trusted(self, origin: str, host: str, port: str) -> bool:
        """Pages of this very server (localhost and 127.0.0.1 are one), and those that were allowed."""
        try:
            parts = urlsplit(origin)
        except ValueError:
            return False
        its_host, its_port = _split(parts.netloc)
        same = its_host == host or {its_host, host} <= self._hosts
        return origin in self._origins or (parts.scheme in ("http", "https") and same and its_port == port)

    def _capped(self, receive: Receive) -> Receive:
        """A body without a stated length is cut off too."""
        seen = 0

        async def capped() -> MutableMapping[str, Any]:
            nonlocal seen
            message = await receive()
            seen += len(message.get("body", b"")) if message["type"] == "http.request" else 0
            if seen > self._largest:
                return {"type": "http.disconnect"}
            return message

        return capped


def _split(host: str) -> tuple[str, str]:
    """Name and port of `name:port`, `[::1]:port` or `name`; the port may be empty."""
    if host.startswith("["):
        name, _, port = host[1:].partition("]")
        return name.lower(), port.lstrip(":")
    name, _, port = host.partition(":")
    return name.lower(), port


def _is_address(host: str) -> bool:
    """Numbers cannot be pointed elsewhere, names can."""
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


async def _refuse(scope: Scope, send: Send, status: int, why: str) -> None:
    if scope["type"] == "websocket":
        await send({"type": "websocket.close", "code": 1008, "reason": why[:120]})
        return
    headers = [(b"content-type", b"text/plain; charset=utf-8")]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": why.encode()})
