"""Who asks: the id of the API key that a request came with, for every log line written while it is served."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

SCOPE_KEY = "winnow.caller"
"""Where the id stands in an ASGI scope, for those who look at a request from outside."""

_current: ContextVar[str | None] = ContextVar("winnow_caller", default=None)


def current_caller() -> str | None:
    """The caller's id, or None outside of a request and where no key is asked for."""
    return _current.get()


@contextmanager
def use_caller(caller: str) -> Iterator[None]:
    """Make `caller` the current one for the block, and for the tasks and worker threads started in it."""
    token = _current.set(caller)
    try:
        yield
    finally:
        _current.reset(token)
