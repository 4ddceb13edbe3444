"""The pool of servers: which may be asked, what each is good for, and one prompt put to the best of them."""

import asyncio
import contextlib
import logging
import time
from collections.abc import Sequence

import httpx

from ranker_svc.engines.openai.logprobs import OddAnswer, first_position, read_token_ids, read_top
from ranker_svc.engines.openai.meeting import Member, Met, Wanted, check, meet
from ranker_svc.engines.openai.messages import Conversation
from ranker_svc.engines.openai.places import NoReplica, Places, Visit
from ranker_svc.engines.openai.server import (
    COMPLETIONS,
    Refused,
    ServedModel,
    Server,
    Unreachable,
    checked,
    is_too_long,
    told,
)
from ranker_svc.engines.protocol import EngineStartError, RawAnswer
from ranker_svc.engines.yes_no import AnswerTokens
from services.clients.http import CallFailed
from services.clients.replicas import CoolDown, Replica, ReplicaSet
from services.deadline import Deadline
from services.errors import DeadlineExceeded, InvalidPayload, NotReady, Overloaded

logger = logging.getLogger(__name__)

_BUSY_S = 0.25
"""Seconds for which a server that answers 429 is left to others."""
_FIRST_REST_S = 0.25
_CLOCKS_S = 0.01
"""Seconds by which a timer may be early."""
_CHECK_TIMEOUT_S = 5.0
_MEET_TIMEOUT_S = 60.0
"""A server on a CPU takes seconds for its first answer."""


class Pool:
    """Servers of one model, watched in the background; a server gets prompts once it was met and while it is healthy.

    Args:
        servers: at least one, with different names.
        wanted: what each has to do.
        each: most prompts at a time to one server.
        check_s: seconds between looks at a healthy server, and the most between looks at one that is down.
        alike: whether all must tell the same of the model in `/v1/models`.

    Attributes:
        served: the model, as the first server that was met tells of it; None before.
    """

    def __init__(self, servers: Sequence[Server], wanted: Wanted, *, each: int, check_s: float, alike: bool) -> None:
        self._wanted = wanted
        self._check_s = check_s
        self._alike = alike
        cool_down = CoolDown(first_s=min(_FIRST_REST_S, check_s), longest_s=check_s)
        self._replicas = ReplicaSet([(each.name, Member(each)) for each in servers], cool_down=cool_down)
        self._places = Places(self._replicas, each)
        self._places.closed.update(replica.name for replica in self._replicas.replicas)
        self._watchers: list[asyncio.Task[None]] = []
        self.served: ServedModel | None = None

    @property
    def replicas(self) -> Sequence[Replica[Member]]:
        """The servers with their load, for metrics."""
        return self._replicas.replicas

    @property
    def waiting(self) -> int:
        """Requests of which a prompt waits for a place."""
        return self._places.waiting

    async def start(self) -> None:
        """Meet every server once, then watch them. Servers that are down are met when they come up.

        Raises:
            EngineStartError: one answers, and cannot be used: wrong key, wrong model, no log-probabilities.
        """
        await asyncio.gather(*(self._look(replica) for replica in self.replicas))
        refused = [f"{each.name}: {each.client.reason}" for each in self.replicas if each.client.lasting]
        if refused:
            raise EngineStartError("; ".join(refused))
        self._watchers = [asyncio.create_task(self._watch(replica)) for replica in self.replicas]

    def missing(self) -> str | None:
        """None where a server can be asked, otherwise what is wrong with each."""
        if any(each.client.reason is None for each in self.replicas):
            return None
        return "; ".join(f"{each.name}: {each.client.reason}" for each in self.replicas)

    async def ask(self, conversation: Conversation, prompt: str, visit: Visit, deadline: Deadline) -> RawAnswer:
        """The answer of a server, or of another one where it fails; each is asked once at most.

        The caller cancels the call at its deadline.

        Raises:
            DeadlineExceeded: the deadline passed first.
            InvalidPayload: frames and text are too long for the model.
            Overloaded: every server that could be asked is overloaded.
            NotReady: none could be asked, or none gave an answer that can be read.
        """
        tried: dict[str, Member] = {}
        overloaded: Overloaded | None = None
        reason = self.missing()
        while True:
            try:
                replica = await self._places.take(visit, tried)
            except NoReplica:
                break
            try:
                deadline.check()
                if tried:
                    next(reversed(tried.values())).retries += 1
                return await self._asked(replica, conversation, prompt, visit, deadline)
            except Overloaded as error:
                overloaded = error
            except Unreachable as error:
                reason = f"{replica.name}: {error}"
                logger.warning("model server failed", extra={"replica": replica.name, "reason": str(error)})
            finally:
                self._places.give_back(replica)
            tried[replica.name] = replica.client
        if overloaded is not None:
            raise overloaded
        raise NotReady(f"No model server could answer: {reason or 'all rest after failures'}.")

    async def aclose(self) -> None:
        """End the watch and close all connections."""
        for task in self._watchers:
            task.cancel()
        await asyncio.gather(*self._watchers, return_exceptions=True)
        for replica in self.replicas:
            await replica.client.server.aclose()

    async def _asked(
        self, replica: Replica[Member], conversation: Conversation, prompt: str, visit: Visit, deadline: Deadline
    ) -> RawAnswer:
        """One attempt, with what it teaches about the server."""
        dialect = replica.client.dialect
        if dialect is None:
            raise Unreachable("it was not met yet")
        try:
            body = conversation.body(dialect, prompt)
            response = await replica.client.server.post(COMPLETIONS, body, deadline)
        except CallFailed as error:
            self._failed(replica, str(error), at_once=True)
            raise Unreachable(str(error)) from error
        except (DeadlineExceeded, asyncio.CancelledError):
            # It may be slow, or the caller left it too little time: only several requests in a row count.
            if deadline.remaining() < _CLOCKS_S and not visit.late:
                visit.late = True
                self._failed(replica, "it did not answer in time", at_once=False)
            raise
        if is_too_long(response):
            self._replicas.succeeded(replica)
            raise InvalidPayload("The frames and the text are more than the model takes in one request.")
        if response.status_code == 429:
            self._replicas.busy(replica, seconds=_BUSY_S)
            raise Overloaded("All model servers are overloaded.", retry_after_s=1.0)
        return self._read(replica, response, dialect.tokens)

    def _read(self, replica: Replica[Member], response: httpx.Response, tokens: AnswerTokens | None) -> RawAnswer:
        try:
            if response.status_code == 404:
                raise Refused(f"it does not serve the model `{self._wanted.model}` any more")
            if checked(response).is_error:
                self._replicas.succeeded(replica)
                raise NotReady(f"The model server {replica.name} refuses the prompt: {told(response)}.")
            listed = first_position(response.content)
            answer = read_top(listed) if tokens is None else read_token_ids(listed, tokens)
        except Refused as error:
            self._failed(replica, str(error), at_once=True)
            raise Unreachable(str(error)) from error
        except (Unreachable, OddAnswer) as error:
            self._failed(replica, str(error), at_once=response.status_code in {502, 503, 504})
            raise Unreachable(str(error)) from error
        self._replicas.succeeded(replica)
        return answer

    def _failed(self, replica: Replica[Member], reason: str, *, at_once: bool) -> None:
        """Count a failure; a server whose circuit opens by it gets no prompt until it was met again."""
        if replica.client.reason is not None:
            return
        self._replicas.failed(replica, at_once=at_once)
        if self._replicas.circuit(replica) != "closed":
            self._close(replica, reason, lasting=False)
            replica.client.wake.set()

    def _close(self, replica: Replica[Member], reason: str, *, lasting: bool) -> None:
        member = replica.client
        if member.reason is None or (lasting and not member.lasting):
            logger.warning("model server is not used", extra={"replica": replica.name, "reason": reason})
        member.reason, member.lasting = reason, lasting
        self._places.closed.add(replica.name)
        self._places.changed()

    def _open(self, replica: Replica[Member], met: Met) -> None:
        """Give prompts to a server that was met. The first one says what all have to serve: one model, one fingerprint.

        Raises:
            Refused: this one differs.
        """
        if self.served is None:
            self.served = met.served
        elif self._alike and met.served != self.served:
            raise Refused("it serves another model than the first server that was asked: see its /v1/models")
        member = replica.client
        member.dialect, member.reason, member.lasting = met.dialect, None, False
        self._replicas.succeeded(replica)
        self._places.closed.discard(replica.name)
        self._places.changed()

    async def _watch(self, replica: Replica[Member]) -> None:
        """Look at a server again and again: soon after a failure, then ever later, up to the interval."""
        member = replica.client
        while True:
            rest = replica.rests_until - time.monotonic()
            pause = self._check_s if member.reason is None else max(0.0, rest)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(pause):
                    await member.wake.wait()
            member.wake.clear()
            try:
                await self._look(replica)
            except Exception:
                # Whatever it is, the server must not stay unwatched.
                logger.exception("a look at a model server failed", extra={"replica": replica.name})
                await asyncio.sleep(self._check_s)

    async def _look(self, replica: Replica[Member]) -> None:
        """One look: whether a healthy server still is, whether one that is not used can be used now."""
        try:
            if replica.client.reason is None:
                await check(replica.client.server, Deadline.after(_CHECK_TIMEOUT_S))
            else:
                self._open(replica, await meet(replica.client.server, self._wanted, Deadline.after(_MEET_TIMEOUT_S)))
        except Refused as error:
            self._replicas.failed(replica, at_once=True)
            self._close(replica, str(error), lasting=True)
        except (CallFailed, Unreachable) as error:
            self._replicas.failed(replica, at_once=True)
            self._close(replica, str(error), lasting=False)
        except DeadlineExceeded:
            self._failed(replica, "it does not answer health checks in time", at_once=False)
