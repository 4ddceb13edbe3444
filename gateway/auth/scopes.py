"""What a caller may do, and what a route asks for."""

from dataclasses import dataclass
from typing import Any

from fastapi import Depends, Request

from services.api_keys import SCOPES, Scope
from services.errors import Forbidden

_SCOPE_KEY = "winnow.grant"


@dataclass(frozen=True)
class Grant:
    """What the caller of one request may do."""

    scopes: frozenset[Scope]


EVERYTHING = Grant(frozenset(SCOPES))
"""Of a caller on this machine, where no key is asked for."""


def grant(scope: Any, given: Grant) -> None:
    """Note in an ASGI scope what its caller may do."""
    scope[_SCOPE_KEY] = given


def needs(scope: Scope) -> Any:
    """The dependency of a route that asks for a scope; Forbidden where the caller has not got it."""

    def require(request: Request) -> None:
        given = request.scope.get(_SCOPE_KEY)
        if not isinstance(given, Grant) or scope not in given.scopes:
            raise Forbidden(f"This API key has not the scope `{scope}`.")

    # How tests find out which routes ask for nothing.
    require.__name__ = f"needs_{scope}"
    return Depends(require)
