"""The protocol of decision stores, and the small one that keeps decisions in memory."""

from typing import Protocol

from services.contracts import Decision, ModerationRequest
from services.database import StoreUnavailable


class DecisionStore(Protocol):
    """Keeps decisions. Every method raises StoreUnavailable where the store cannot be reached."""

    async def open(self) -> None:
        """Make the store usable; called again until it succeeds."""

    async def add(self, decision: Decision, request: ModerationRequest) -> None:
        """Keep a decision and what was asked, durably: when this returns, `get` finds it, also after a crash."""

    async def get(self, decision_id: str) -> Decision | None:
        """The decision of that id, or None."""

    async def check(self) -> None:
        """Return if the store can be read; used by readiness."""

    async def close(self) -> None:
        """Release connections."""


class MemoryStore:
    """Decisions in a dict, gone with the process; `available = False` makes it behave as a store that is down."""

    def __init__(self) -> None:
        self.decisions: dict[str, Decision] = {}
        self.requests: dict[str, ModerationRequest] = {}
        self.available = True

    async def open(self) -> None:
        """Nothing to open."""
        self._require()

    async def add(self, decision: Decision, request: ModerationRequest) -> None:
        """Keep a decision for as long as the process lives."""
        self._require()
        self.requests[decision.id] = request
        self.decisions[decision.id] = decision

    async def get(self, decision_id: str) -> Decision | None:
        """The decision of that id, or None."""
        self._require()
        return self.decisions.get(decision_id)

    async def check(self) -> None:
        """Return if available."""
        self._require()

    async def close(self) -> None:
        """Nothing to close."""

    def _require(self) -> None:
        if not self.available:
            raise StoreUnavailable("The store in memory is switched off.")
