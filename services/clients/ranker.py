"""Client of the ranker's pool: least-loaded replica, retry on another one, circuit breakers."""

import asyncio
import logging
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Self

import httpx
from pydantic import SecretStr

from services.clients import http
from services.clients.replicas import Circuit, CoolDown, Replica, ReplicaSet
from services.contracts import Health, ModelIdentity, RankRequest, RankResult
from services.deadline import Deadline
from services.errors import (
    DeadlineExceeded,
    InvalidPayload,
    MalformedRequest,
    NotReady,
    Overloaded,
    RankerUnavailable,
    TooLarge,
    WinnowError,
)

logger = logging.getLogger(__name__)

# The request itself is wrong: another replica would say the same.
_REFUSALS = (InvalidPayload, MalformedRequest, TooLarge)
# Seconds without calls for a replica that says 429 and does not say for how long.
_BUSY_S = 0.25


class RankerClient:
    """Asks one of the ranker's replicas; an async context manager that closes its connections.

    Args:
        urls: of the replicas, or of one load balancer; at least one.
        token: the ranker's service token.
        transport: what carries the requests instead of the network: one for all, or a function from a URL to its own.
        max_connections: most calls at a time to one replica.
        cool_down: when and how long a replica that fails is left alone.
    """

    def __init__(
        self,
        urls: Sequence[str],
        *,
        token: SecretStr | None = None,
        transport: httpx.AsyncBaseTransport | Callable[[str], httpx.AsyncBaseTransport] | None = None,
        max_connections: int = 64,
        cool_down: CoolDown | None = None,
    ) -> None:
        def client(url: str) -> httpx.AsyncClient:
            carrier = (
                transport if transport is None or isinstance(transport, httpx.AsyncBaseTransport) else transport(url)
            )
            return http.make_client(url, token=token, transport=carrier, max_connections=max_connections)

        self._replicas = ReplicaSet([(url, client(url)) for url in dict.fromkeys(urls)], cool_down=cool_down)

    async def rank(self, request: RankRequest, deadline: Deadline) -> RankResult:
        """Ask a replica, and another one where it cannot be reached, is not ready or is overloaded; each at most once.

        Raises:
            DeadlineExceeded: the deadline passed first.
            Overloaded: every replica that could be asked is overloaded.
            RankerUnavailable: none answered, or all rest after failures.
            InvalidPayload, MalformedRequest, TooLarge: the ranker refuses the request.
        """
        content = http.compact(request)
        tried: list[str] = []
        overloaded: Overloaded | None = None
        reason = "all replicas rest after failures"
        while (replica := self._replicas.pick(tried)) is not None:
            deadline.check()
            tried.append(replica.name)
            try:
                return await self._ask(replica, content, deadline)
            except Overloaded as error:
                overloaded = error
            except RankerUnavailable as error:
                reason = error.detail
                logger.warning("ranker replica failed", extra={"replica": replica.name, "reason": reason})
        if overloaded is not None:
            raise overloaded
        raise RankerUnavailable(f"The ranker cannot be asked: {reason}.", retry_after_s=self._replicas.rest_s() or None)

    async def identity(self, deadline: Deadline) -> ModelIdentity | None:
        """The model of all replicas that answer before the deadline; None where none does, where two differ, or where
        one does not know its configuration. All are asked at once, resting ones too; no circuit changes."""
        answers = await asyncio.gather(*(self._identity(replica, deadline) for replica in self._replicas.replicas))
        found = {answer for answer in answers if answer is not None}
        common = found.pop() if len(found) == 1 else None
        return common if common is not None and common.configuration else None

    async def ready(self, deadline: Deadline) -> Health:
        """Whether at least one replica is ready; otherwise what each of them misses.

        Raises:
            DeadlineExceeded: the deadline passed first.
        """
        missing: dict[str, str] = {}
        for replica in self._replicas.replicas:
            report = await http.health(replica.client, deadline=deadline)
            if not report.missing:
                return report
            missing[replica.name] = "; ".join(f"{name}: {why}" for name, why in report.missing.items())
        return Health(status="unavailable", missing=missing)

    def circuits(self) -> dict[str, Circuit]:
        """The circuit of every replica, by its host, port and path; what a URL holds beside them may be secret."""
        states: dict[str, Circuit] = {}
        for replica in self._replicas.replicas:
            url = replica.client.base_url
            states[f"{url.netloc.decode()}{url.path.rstrip('/')}"] = self._replicas.circuit(replica)
        return states

    async def aclose(self) -> None:
        """Close the connections."""
        for replica in self._replicas.replicas:
            await replica.client.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.aclose()

    async def _identity(self, replica: Replica[httpx.AsyncClient], deadline: Deadline) -> ModelIdentity | None:
        try:
            response = await http.call(replica.client, "GET", "/v1/model", deadline=deadline)
            return http.result(response, ModelIdentity)
        except (http.CallFailed, WinnowError):
            return None

    async def _ask(self, replica: Replica[httpx.AsyncClient], content: bytes, deadline: Deadline) -> RankResult:
        """One attempt, with its effect on the replica's circuit; what may be tried elsewhere is RankerUnavailable."""
        try:
            with self._replicas.calling(replica):
                response = await http.call(
                    replica.client, "POST", "/v1/rank", deadline=deadline, content=content, headers=http.json_headers()
                )
            answer = http.result(response, RankResult)
        except http.CallFailed as error:
            self._replicas.failed(replica, at_once=True)
            raise RankerUnavailable(str(error)) from error
        except Overloaded as error:
            self._replicas.busy(replica, seconds=_BUSY_S if error.retry_after_s is None else error.retry_after_s)
            raise
        except _REFUSALS:
            self._replicas.succeeded(replica)
            raise
        except DeadlineExceeded:
            # It may be slow, or the caller left it too little time: only several in a row count.
            self._replicas.failed(replica, at_once=False)
            raise
        except WinnowError as error:
            self._replicas.failed(replica, at_once=isinstance(error, NotReady))
            raise RankerUnavailable(f"{error.code}: {error.detail}") from error
        self._replicas.succeeded(replica)
        return answer
