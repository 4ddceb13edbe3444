"""What happens to one video: decode, embed, search, score, forward."""

from collections.abc import Sequence
from dataclasses import dataclass

from router_svc.decode_pool import DecodePool
from router_svc.forward import Forwarded, Forwarder
from router_svc.metrics import RouterMetrics
from router_svc.seeds import IssueMatches, SeedBank, Serving, Upkeep
from router_svc.settings import Settings
from services.contracts import IssueRisk, RouteRequest, RouteResult, SeedMatch, Timings
from services.deadline import Deadline
from services.errors import DigestMismatch, NotReady
from services.media.decode import DecodedVideo
from services.scoring import Match, Risk, asked_issues, evidence_frames, risk_of
from services.web import StoredUpload


@dataclass(frozen=True)
class Pipeline:
    """Routes videos; every step keeps the request's deadline.

    Attributes:
        settings: of the router.
        decoders: decode.
        bank: gives the encoder that serves, and its seeds.
        upkeep: is told what became of each video.
        forwarder: asks the ranker.
        metrics: count.
    """

    settings: Settings
    decoders: DecodePool
    bank: SeedBank
    upkeep: Upkeep
    forwarder: Forwarder
    metrics: RouterMetrics

    async def route(self, upload: StoredUpload, request: RouteRequest, deadline: Deadline) -> RouteResult:
        """Filters one video.

        Raises:
            DigestMismatch: the bytes are not those that were announced.
            NotReady: the bank is empty, so that everything would pass, or it does not answer.
            WinnowError: what the decoder says; Overloaded, DeadlineExceeded, Internal.
        """
        deadline.check()
        if upload.sha256 != request.sha256:
            raise DigestMismatch("The video's bytes do not have the SHA-256 that the request names.")
        if request.mode == "cascade" and not self.bank.summary().seeds:
            raise NotReady("The seed bank is empty.")
        async with self.bank.use() as serving:
            return await self._route(serving, upload, request, deadline)

    async def _route(
        self, serving: Serving, upload: StoredUpload, request: RouteRequest, deadline: Deadline
    ) -> RouteResult:
        timings: dict[str, float] = {}
        engine = serving.engine
        job = self.settings.decode_job(upload.path, self.settings.sampling, engine.encoder.input_size)
        with self.metrics.stage("decode", timings):
            video = await self.decoders.decode(job, deadline)
        with self.metrics.stage("embed", timings):
            vectors = await engine.batcher.embed(video.frames, deadline)
        ids = [policy.id for policy in request.policy.issues]
        with self.metrics.stage("search", timings):
            async with deadline.limit():
                found = await serving.search(
                    vectors, ids, self.settings.matches_per_frame, sha256=request.sha256, deadline=deadline
                )
        risks = {issue: self._risk(serving, found.issues[issue]) for issue in ids}
        issues = tuple(
            IssueRisk(
                id=policy.id,
                risk=risks[policy.id].value,
                threshold=policy.router_threshold,
                escalated=request.mode == "full" or risks[policy.id].value >= policy.router_threshold,
                matches=_shown(risks[policy.id].matches, video),
            )
            for policy in request.policy.issues
        )
        forwarded = await self._forward(video, request, issues, risks, deadline, timings)
        deadline.check()
        self.metrics.routed(issues, forwarded.missing)
        self.upkeep.observed(request.policy.issues, issues, forwarded.result, engine.background)
        return RouteResult(
            media=video.facts,
            frame_times_s=video.times_s,
            encoder=serving.fingerprint,
            bank_revision=found.revision,
            configuration=engine.configuration,
            issues=issues,
            rank=forwarded.result,
            rank_frame_times_s=tuple(video.times_s[index] for index in forwarded.frames),
            rank_missing=forwarded.missing,
            warnings=tuple(
                f"issue `{each}` has no seeds: the router cannot see it"
                for each in ids
                if not found.issues[each].positives
            ),
            timings=Timings(stages=timings),
        )

    def _risk(self, serving: Serving, matches: IssueMatches) -> Risk:
        return risk_of(
            matches.positives,
            matches.negatives,
            serving.engine.background,
            negative_weight=self.settings.negative_weight,
            negative_margin=self.settings.negative_margin,
            max_matches=self.settings.matches_returned,
        )

    async def _forward(
        self,
        video: DecodedVideo,
        request: RouteRequest,
        issues: Sequence[IssueRisk],
        risks: dict[str, Risk],
        deadline: Deadline,
        timings: dict[str, float],
    ) -> Forwarded:
        escalated = [issue.id for issue in sorted(issues, key=lambda issue: -issue.risk) if issue.escalated]
        if not escalated:
            return Forwarded(None, "not_escalated")
        with self.metrics.stage("forward", timings):
            return await self.forwarder.ask(
                video.frames,
                video.times_s,
                evidence_frames(risks, escalated),
                asked_issues(request.policy.issues, escalated),
                request.context,
                deadline,
            )


def _shown(matches: Sequence[Match], video: DecodedVideo) -> tuple[SeedMatch, ...]:
    return tuple(
        SeedMatch(
            seed_id=match.seed_id,
            kind=match.kind,
            similarity=match.similarity,
            frame_time_s=video.times_s[match.frame],
        )
        for match in matches
    )
