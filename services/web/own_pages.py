"""Refuses what browsers send for pages of other sites to a service that asks its callers for nothing."""

from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from services.errors import Forbidden
from services.settings import is_loopback


class OwnPagesMiddleware:
    """Stands before a service that only this machine reaches and that has no token.

    A page of any site may post a form to 127.0.0.1, a seed for the bank say, which shows in `Origin`: browsers send it
    with every POST, and no page can change it. Programs send none.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """The ASGI entry point."""
        if scope["type"] == "http":
            headers = Headers(scope=scope)
            require_own_page(headers.get("Host"), headers.getlist("Origin"))
        await self.app(scope, receive, send)


def require_own_page(host: str | None, origins: list[str]) -> None:
    """Raise Forbidden where a request names the page that sent it, and that page is not of this service on loopback.

    Args:
        host: the header `Host`.
        origins: the headers `Origin`.
    """
    own = {f"{scheme}://{host}".lower() for scheme in ("http", "https")} if host and is_local(host) else set()
    if any(origin.lower() not in own for origin in origins):
        raise Forbidden("This service takes no requests of pages from elsewhere; programs send no `Origin`.")


def is_local(host: str) -> bool:
    """Whether a header `Host` names this machine: a loopback name or address, and perhaps a port."""
    try:
        name = urlsplit(f"//{host}").hostname
    except ValueError:
        return False
    return name is not None and "@" not in host and is_loopback(name.removesuffix("."))
