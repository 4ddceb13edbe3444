"""One decision from a stored video: look into the cache or ask the router, merge by the policy, record, answer."""

import logging
import re
import time
import uuid
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from gateway.ask_router import Routed, RouterCaller
from gateway.cache import CachedResults, Lookup
from gateway.evidence import Evidence
from gateway.merge import Merged, merge
from gateway.metrics import GatewayMetrics
from gateway.store import DecisionStore
from services.contracts import Decision, ModelsUsed, ModerationRequest, PolicySlice, RouteRequest, RouteResult, Timings
from services.database import StoreUnavailable
from services.deadline import Deadline
from services.errors import NotFound, NotReady
from services.policy import Policy
from services.telemetry import trace
from services.telemetry.spans import span

logger = logging.getLogger(__name__)

DECISION_ID = re.compile(r"dec_[0-9a-f]{32}")


@dataclass(frozen=True)
class StoredVideo:
    """A video in the spool.

    Attributes:
        path: its file.
        sha256: of its bytes, 64 hexadecimal digits.
        upload_s: seconds that it took to arrive.
    """

    path: Path
    sha256: str
    upload_s: float


@dataclass(frozen=True)
class Pipeline:
    """Everything that a decision needs, made once by the lifespan."""

    policy: Policy
    router: RouterCaller
    store: DecisionStore
    metrics: GatewayMetrics
    cache: CachedResults | None = None
    evidence: Evidence | None = None

    async def decide(
        self, video: StoredVideo, asked: ModerationRequest, part: PolicySlice, deadline: Deadline
    ) -> Decision:
        """Judge a video and record the decision; it is answered only once it is recorded.

        The video's file is gone afterwards where it is kept as evidence.

        Raises:
            DeadlineExceeded: no answer in time; nothing is recorded.
            NotReady: the decision could not be recorded, so it is not given; the client may send the video again.
            WinnowError: what the router says about the video; see ask_router.ABOUT_THE_VIDEO.
        """
        request = RouteRequest(sha256=video.sha256, context=asked.context, policy=part, mode=asked.mode)
        lookup = await self._look_up(request, deadline)
        routed = await self._route(video, request, lookup, deadline)
        merged = merge(self.policy, part, routed.result, router_missing=routed.missing)
        if lookup is not None and lookup.result is not None:
            merged = replace(merged, route="cached")
        decision = decision_of(merged, video, request, routed, lookup)
        deadline.check()
        await self._record(decision, asked)
        self.metrics.count(decision, degraded_reason=merged.degraded_reason)
        logger.info("decided", extra={"decision_id": decision.id, "verdict": decision.verdict, "route": decision.route})
        if self.evidence is not None:
            await self.evidence.keep(decision, video.path)
        return decision

    async def _look_up(self, request: RouteRequest, deadline: Deadline) -> Lookup | None:
        if self.cache is None:
            return None
        with span("cache"):
            async with deadline.limit():
                return await self.cache.find(request)

    async def _route(
        self, video: StoredVideo, request: RouteRequest, lookup: Lookup | None, deadline: Deadline
    ) -> Routed:
        if lookup is not None and lookup.result is not None:
            return Routed(lookup.result, "", 0.0)
        with span("router"):
            routed = await self.router.ask(video.path, request, deadline)
        self.metrics.stage_seconds.labels("router").observe(routed.seconds)
        if self.cache is not None and lookup is not None and routed.result is not None:
            async with deadline.limit():
                await self.cache.keep(lookup, request, routed.result)
        return routed

    async def find(self, decision_id: str) -> Decision:
        """The recorded decision of that id.

        Raises:
            NotFound: there is none.
            NotReady: the database cannot be asked.
        """
        if not DECISION_ID.fullmatch(decision_id):  # a database is asked about ids that it may have given alone
            raise NotFound("There is no decision with this id.")
        try:
            decision = await self.store.get(decision_id)
        except StoreUnavailable as error:
            logger.error("the database cannot be read", extra={"reason": str(error)})
            raise NotReady("Decisions cannot be read now.", retry_after_s=1.0) from error
        if decision is None:
            raise NotFound("There is no decision with this id.")
        return decision

    async def _record(self, decision: Decision, asked: ModerationRequest) -> None:
        started = time.perf_counter()
        try:
            with span("record"):
                await self.store.add(decision, asked)
        except StoreUnavailable as error:
            logger.error("the decision was not recorded", extra={"reason": str(error)})
            raise NotReady(
                "The decision could not be recorded and is not given; send the video again.", retry_after_s=1.0
            ) from error
        self.metrics.stage_seconds.labels("record").observe(time.perf_counter() - started)


def decision_of(
    merged: Merged, video: StoredVideo, request: RouteRequest, routed: Routed, lookup: Lookup | None = None
) -> Decision:
    """The whole decision, with a new id and the ids of the request being served."""
    result = routed.result
    context = trace.current()
    rank = None if result is None else result.rank
    return Decision(
        id=f"dec_{uuid.uuid4().hex}",
        created_at=datetime.now(UTC),
        verdict=merged.verdict,
        route=merged.route,
        mode=request.mode,
        issues=merged.issues,
        sha256=request.sha256,
        media=None if result is None else result.media,
        frame_times_s=() if result is None else result.frame_times_s,
        policy_hash=request.policy.policy_hash,
        models=_models(result),
        rank_missing=None if result is None else result.rank_missing,
        warnings=(*(() if result is None else result.warnings), *(() if rank is None else rank.warnings)),
        timings=_timings(video, routed, lookup),
        request_id=context.request_id,
        trace_id=context.trace_id,
    )


def _models(result: RouteResult | None) -> ModelsUsed:
    if result is None:
        return ModelsUsed()
    used = ModelsUsed(encoder=result.encoder, bank_revision=result.bank_revision)
    if result.rank is None:
        return used
    calibrators = {issue.calibrator for issue in result.rank.issues if issue.calibrator is not None}
    return used.model_copy(
        update={
            "ranker": result.rank.model.fingerprint,
            "engine": result.rank.model.engine,
            "calibrators": tuple(sorted(calibrators)),
        }
    )


def _timings(video: StoredVideo, routed: Routed, lookup: Lookup | None) -> Timings:
    """The gateway's own stages, the router's as it names them, and the ranker's with `rank_` before their names.

    A result of the cache was made at another time: its stages did not run now.
    """
    stages = {"upload": video.upload_s} | ({} if lookup is None else {"cache": lookup.seconds})
    if lookup is not None and lookup.result is not None:
        return Timings(stages=stages)
    stages["router"] = routed.seconds
    if routed.result is not None:
        stages = {**routed.result.timings.stages, **stages}
        if routed.result.rank is not None:
            stages |= {f"rank_{name}": seconds for name, seconds in routed.result.rank.timings.stages.items()}
    return Timings(stages=stages)
