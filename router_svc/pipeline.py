"""What happens to one video: decode, embed, search, score, forward; and what happens to one seed."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from router_svc.bank import Found, SeedBank, seed_id_of
from router_svc.batcher import EmbedBatcher
from router_svc.decode_pool import DecodePool
from router_svc.decode_wire import DecodeJob
from router_svc.forward import Forwarded, Forwarder
from router_svc.metrics import RouterMetrics
from router_svc.settings import Settings
from services.contracts import (
    BankStatus,
    IssueRisk,
    RouteRequest,
    RouteResult,
    Seed,
    SeedMatch,
    SeedRequest,
    Timings,
)
from services.deadline import Deadline
from services.encoder import Encoder
from services.errors import DigestMismatch, InvalidPayload, NotReady
from services.media import SamplingPlan
from services.media.decode import DecodedVideo
from services.scoring import Background, Match, Risk, asked_issues, evidence_frames, risk_of
from services.web import StoredUpload


@dataclass(frozen=True)
class Pipeline:
    """Routes videos and adds seeds; every step keeps the request's deadline.

    Attributes:
        settings: of the router.
        encoder: its fingerprint and input size; frames go through `batcher`.
        background: scale of the similarities.
        configuration: what RouterState says of it.
    """

    settings: Settings
    encoder: Encoder
    background: Background
    decoders: DecodePool
    batcher: EmbedBatcher
    bank: SeedBank
    forwarder: Forwarder
    metrics: RouterMetrics
    configuration: str = ""

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
        async with deadline.limit():
            if request.mode == "cascade" and not (await self.bank.status()).seeds:
                raise NotReady("The seed bank is empty.")
        timings: dict[str, float] = {}
        with self.metrics.stage("decode", timings):
            video = await self.decoders.decode(self._job(upload, self.settings.sampling), deadline)
        with self.metrics.stage("embed", timings):
            vectors = await self.batcher.embed(video.frames, deadline)
        with self.metrics.stage("search", timings):
            async with deadline.limit():
                ids = [policy.id for policy in request.policy.issues]
                found = await self.bank.search(vectors, ids, self.settings.matches_per_frame, deadline)
        risks = {issue: self._risk(found, issue) for issue in ids}
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
        return RouteResult(
            media=video.facts,
            frame_times_s=video.times_s,
            encoder=self.encoder.fingerprint,
            bank_revision=found.revision,
            configuration=self.configuration,
            issues=issues,
            rank=forwarded.result,
            rank_frame_times_s=tuple(video.times_s[index] for index in forwarded.frames),
            rank_missing=forwarded.missing,
            warnings=_unseeded(found, ids),
            timings=Timings(stages=timings),
        )

    async def add_seed(self, upload: StoredUpload, request: SeedRequest, deadline: Deadline) -> tuple[Seed, bool]:
        """Adds a segment of a video to the bank; True where it is new.

        Raises:
            InvalidPayload: a text seed, or a segment outside the video.
            NotReady: the bank does not answer.
            WinnowError: what the decoder says; Overloaded, DeadlineExceeded, Internal.
        """
        deadline.check()
        if request.kind == "text":
            raise InvalidPayload("A seed of kind `text` is a sentence; this route takes videos alone.")
        await self._check_room(request.issue, deadline)
        count = self.settings.seed_frames
        plan = SamplingPlan(min_frames=count, max_frames=count)
        job = replace(self._job(upload, plan), start_s=request.start_s, end_s=request.end_s)
        video = await self.decoders.decode(job, deadline)
        vectors = await self.batcher.embed(video.frames, deadline)
        length = video.facts.duration_s
        end_s = length if request.end_s is None else min(request.end_s, length)
        seed = Seed(
            id=seed_id_of(upload.sha256, request.issue, request.kind, request.start_s, end_s),
            issue=request.issue,
            kind=request.kind,
            start_s=request.start_s,
            end_s=end_s,
            sha256=upload.sha256,
            vectors=len(vectors),
            note=request.note,
            created_at=datetime.now(UTC),
        )
        async with deadline.limit():
            added = await self.bank.add(seed, vectors)
            await self.bank_status()
        return added

    async def bank_status(self) -> BankStatus:
        """How large the bank is. Raises NotReady where it does not answer."""
        status = await self.bank.status()
        self.metrics.show_bank(status)
        return status

    async def _check_room(self, issue: str, deadline: Deadline) -> None:
        """Raises InvalidPayload for one issue too many: each has collections of its own."""
        async with deadline.limit():
            seeds = (await self.bank.status()).seeds
        most = self.settings.bank_max_issues
        if issue not in seeds and len(seeds) >= most:
            raise InvalidPayload(f"The bank has seeds of {len(seeds)} issues; the limit is {most}.")

    def _job(self, upload: StoredUpload, plan: SamplingPlan) -> DecodeJob:
        return DecodeJob(
            path=upload.path,
            plan=plan,
            short_side=max(self.settings.frame_short_side, self.encoder.input_size),
            limits=self.settings.limits,
            cpu_s=self.settings.decode_cpu_s,
        )

    def _risk(self, found: Found, issue: str) -> Risk:
        matches = found.issues[issue]
        return risk_of(
            matches.positives,
            matches.negatives,
            self.background,
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


def _unseeded(found: Found, issues: Sequence[str]) -> tuple[str, ...]:
    return tuple(
        f"issue `{each}` has no seeds: the router cannot see it" for each in issues if not found.issues[each].positives
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
