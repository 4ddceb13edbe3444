"""Middleware that lets callers in before a body is read: by their key, or because they are on this machine."""

from starlette.datastructures import Headers
from starlette.middleware import Middleware
from starlette.types import ASGIApp, Receive, Scope, Send

from gateway.auth.ring import KeyRing
from gateway.auth.scopes import EVERYTHING, Grant, grant
from services.errors import Forbidden, Unauthorized
from services.telemetry.caller import SCOPE_KEY, use_caller
from services.web.own_pages import is_local, require_own_page

OPEN_PATHS = frozenset({"/health/live", "/health/ready", "/metrics"})


def access_of(ring: KeyRing | None) -> Middleware:
    """The middleware for a gateway with these keys; without any, it serves this machine alone."""
    return Middleware(LocalMiddleware) if ring is None else Middleware(KeyMiddleware, ring=ring)


class KeyMiddleware:
    """Asks for `Authorization: Bearer <API key>` under /v1."""

    def __init__(self, app: ASGIApp, *, ring: KeyRing) -> None:
        self.app = app
        self._ring = ring

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """The ASGI entry point."""
        if scope["type"] != "http" or not (scope["path"] == "/v1" or scope["path"].startswith("/v1/")):
            await self.app(scope, receive, send)
            return
        scheme, _, presented = Headers(scope=scope).get("Authorization", "").partition(" ")
        key = self._ring.find(presented.strip()) if scheme.lower() == "bearer" else None
        if key is None:
            raise Unauthorized("Send a valid API key as `Authorization: Bearer <key>`; this one is missing or unknown.")
        grant(scope, Grant(frozenset(key.scopes)))
        scope[SCOPE_KEY] = key.id
        with use_caller(key.id):
            await self.app(scope, receive, send)


class LocalMiddleware:
    """Refuses what a browser on this machine may send on behalf of a site: no key protects the gateway from that.

    A page of `evil.example` may post forms to 127.0.0.1, which shows in `Origin`; and `evil.example` may resolve to
    127.0.0.1 (DNS rebinding), which shows in `Host`. Browsers send both by themselves, and no page can change them.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """The ASGI entry point."""
        if scope["type"] == "http" and scope["path"] not in OPEN_PATHS:
            headers = Headers(scope=scope)
            require_local(headers.get("Host"), headers.getlist("Origin"))
            grant(scope, EVERYTHING)
        await self.app(scope, receive, send)


def require_local(host: str | None, origins: list[str]) -> None:
    """Raise Forbidden unless a request may come from a program on this machine, or from a page of the gateway itself.

    Args:
        host: the header `Host`; old programs send none, browsers always do.
        origins: the headers `Origin`.
    """
    if host is not None and not is_local(host):
        raise Forbidden(
            "Without API keys the gateway answers to loopback names alone, such as localhost; set "
            "WINNOW_GATEWAY_API_KEYS_PATH to serve others."
        )
    require_own_page(host, origins)
