"""Who gets the next place at a replica: bounded for each, first come first served, the least loaded replica first."""

import asyncio
from collections import deque
from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from services.clients.replicas import Replica, ReplicaSet

T = TypeVar("T")


class NoReplica(Exception):
    """No replica that was not tried yet can be used."""


@dataclass(eq=False)
class Visit:
    """One request of many prompts.

    Attributes:
        home: the replica that its first prompt was given; its others go there too while there is room, since what was
            computed of the frames is kept there.
        late: whether its deadline was held against a replica; once is enough for all its prompts.
    """

    home: str | None = None
    late: bool = False


@dataclass(eq=False)
class _Waiter(Generic[T]):
    visit: Visit
    tried: frozenset[str]
    placed: "asyncio.Future[Replica[T]]" = field(default_factory=lambda: asyncio.get_running_loop().create_future())


class Places(Generic[T]):
    """The places of all replicas.

    Args:
        replicas: with their circuits.
        each: places at one replica.

    Attributes:
        closed: names of replicas that get no call; `changed` must be called after it was altered.
    """

    def __init__(self, replicas: ReplicaSet[T], each: int) -> None:
        self._replicas = replicas
        self._each = each
        self._queue: deque[_Waiter[T]] = deque()
        self.closed: set[str] = set()

    @property
    def waiting(self) -> int:
        """Requests of which a prompt waits for a place."""
        return len({waiter.visit for waiter in self._queue})

    async def take(self, visit: Visit, tried: Collection[str]) -> Replica[T]:
        """A replica with a place for one call, which the caller gives back; waits while all are full.

        Raises:
            NoReplica: there is none, full or not, that was not tried.
        """
        waiter = _Waiter[T](visit, frozenset(tried))
        self._queue.append(waiter)
        self.changed()
        try:
            return await waiter.placed
        except asyncio.CancelledError:
            if waiter in self._queue:
                self._queue.remove(waiter)
            if waiter.placed.done() and not waiter.placed.cancelled() and waiter.placed.exception() is None:
                self.give_back(waiter.placed.result())
            raise

    def give_back(self, replica: Replica[T]) -> None:
        """A call is over."""
        replica.in_flight -= 1
        self.changed()

    def changed(self) -> None:
        """Give places to those who wait, in order of arrival; refuse those for whom there cannot be one."""
        left: deque[_Waiter[T]] = deque()
        while self._queue:
            waiter = self._queue.popleft()
            if waiter.placed.done():
                continue
            excluded = self.closed | waiter.tried
            if self._replicas.pick(excluded) is None:
                waiter.placed.set_exception(NoReplica())
            elif (replica := self._free(waiter.visit, excluded)) is not None:
                replica.in_flight += 1
                replica.served += 1
                waiter.visit.home = waiter.visit.home or replica.name
                waiter.placed.set_result(replica)
            else:
                left.append(waiter)
                if self._full():
                    break
        self._queue.extendleft(reversed(left))

    def _free(self, visit: Visit, excluded: Collection[str]) -> Replica[T] | None:
        full = {each.name for each in self._replicas.replicas if each.in_flight >= self._each}
        unusable = full.union(excluded)
        others = {each.name for each in self._replicas.replicas if each.name != visit.home}
        home = self._replicas.pick(unusable | others) if visit.home is not None else None
        return home or self._replicas.pick(unusable)

    def _full(self) -> bool:
        """Whether no replica in use has a place, so that nobody behind can get one either."""
        return all(each.in_flight >= self._each for each in self._replicas.replicas if each.name not in self.closed)
