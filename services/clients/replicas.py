"""Which replica gets the next call: the least loaded of those that are not cooling down."""

import time
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Generic, Literal, TypeVar

T = TypeVar("T")
Clock = Callable[[], float]
Circuit = Literal["closed", "open", "trial"]
"""`open`: it gets no call. `trial`: its rest is over, and one call at a time tries it."""


@dataclass(frozen=True)
class CoolDown:
    """When a replica rests, and for how long.

    Attributes:
        first_s: seconds after the failure that opened the circuit; doubled at every further one.
        longest_s: most seconds.
        faults: consecutive soft failures (an error or no answer, as against no connection) that open the circuit.
    """

    first_s: float = 1.0
    longest_s: float = 30.0
    faults: int = 3


@dataclass
class Replica(Generic[T]):
    """One replica and what is known of it.

    Attributes:
        client: what speaks to it.
        name: for logs, e.g. its URL.
        in_flight: calls that wait for its answer.
        failures: consecutive failures.
        rests_until: clock time before which it gets no call.
        busy_until: clock time before which it gets a call only where no other replica can take it.
        served: calls it was given so far; breaks ties.
    """

    client: T
    name: str
    in_flight: int = 0
    failures: int = 0
    openings: int = 0
    rests_until: float = 0.0
    busy_until: float = 0.0
    served: int = 0


class ReplicaSet(Generic[T]):
    """The replicas of one service, with a circuit breaker for each.

    A replica whose circuit opened rests; after that one call at a time tries it until one succeeds.

    Args:
        replicas: pairs of name and client; at least one.
        cool_down: when and how long a replica rests.
        clock: monotonic, in seconds.
    """

    def __init__(
        self, replicas: Sequence[tuple[str, T]], *, cool_down: CoolDown | None = None, clock: Clock = time.monotonic
    ) -> None:
        if not replicas:
            raise ValueError("at least one replica is needed")
        self.replicas = tuple(Replica(client=client, name=name) for name, client in replicas)
        self._cool_down = cool_down or CoolDown()
        self._clock = clock

    def pick(self, tried: Collection[str] = ()) -> Replica[T] | None:
        """The replica for the next call, or None where all rest or were tried."""
        now = self._clock()
        usable = [r for r in self.replicas if r.name not in tried and self._usable(r, now)]
        return min(usable, key=lambda r: (now < r.busy_until, r.in_flight, r.failures, r.served), default=None)

    def rest_s(self) -> float:
        """Seconds until the first replica ends its rest; 0 where one is usable now."""
        now = self._clock()
        return max(0.0, min(r.rests_until - now for r in self.replicas))

    def circuit(self, replica: Replica[T]) -> Circuit:
        """The state of its circuit now."""
        if self._clock() < replica.rests_until:
            return "open"
        return "trial" if replica.openings else "closed"

    @contextmanager
    def calling(self, replica: Replica[T]) -> Iterator[None]:
        """Count a call as in flight."""
        replica.in_flight += 1
        replica.served += 1
        try:
            yield
        finally:
            replica.in_flight -= 1

    def succeeded(self, replica: Replica[T]) -> None:
        """It answered: its circuit closes."""
        replica.failures = replica.openings = 0
        replica.rests_until = replica.busy_until = 0.0

    def failed(self, replica: Replica[T], *, at_once: bool) -> None:
        """It failed; `at_once` opens the circuit now, otherwise several failures in a row do."""
        replica.failures += 1
        if at_once or replica.openings or replica.failures >= self._cool_down.faults:
            seconds = min(self._cool_down.longest_s, self._cool_down.first_s * 2.0 ** min(replica.openings, 30))
            replica.openings += 1
            replica.rests_until = self._clock() + seconds

    def busy(self, replica: Replica[T], *, seconds: float) -> None:
        """It is overloaded: others are preferred for that long, and it is not blamed.

        It may still be asked: a refusal is cheap for it, and where all are busy the caller learns just that.
        """
        replica.busy_until = max(replica.busy_until, self._clock() + min(seconds, self._cool_down.longest_s))

    def _usable(self, replica: Replica[T], now: float) -> bool:
        trial = replica.openings > 0
        return now >= replica.rests_until and not (trial and replica.in_flight > 0)
