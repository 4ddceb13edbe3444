"""Which methods a path has, where several routes share it."""

from collections.abc import Iterator

from starlette.requests import Request
from starlette.routing import Match, Route


def allowed_methods(request: Request) -> str:
    """The header `Allow` of a 405: Starlette names the methods of the first route of the path alone."""
    return ", ".join(sorted(set(_methods(request))))


def _methods(request: Request) -> Iterator[str]:
    for route in request.app.routes:
        if isinstance(route, Route) and route.matches(request.scope)[0] is not Match.NONE:
            yield from route.methods or ()
