"""What holds now at router and ranker, as the router says."""

from typing import Protocol

from services.contracts import RouterState
from services.deadline import Deadline
from services.errors import WinnowError
from services.remembered import Remembered

TIMEOUT_S = 1.0
"""For the router's answer; for most requests it is there before they ask."""


class KnowsState(Protocol):
    """What is needed of services.clients.RouterClient."""

    async def state(self, deadline: Deadline) -> RouterState:
        """What shapes the router's results now."""


def live_state(router: KnowsState, *, ttl_s: float) -> Remembered[RouterState]:
    """The router's state, believed for `ttl_s` seconds; None while the router does not tell it."""

    async def ask() -> RouterState | None:
        try:
            return await router.state(Deadline.after(TIMEOUT_S))
        except WinnowError:
            return None

    return Remembered(ask, ttl_s=ttl_s, name="the router's state")
