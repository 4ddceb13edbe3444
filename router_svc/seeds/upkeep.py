"""What happens beside the requests: statistics of seeds, quarantine, frames of removed seeds, unfinished indexes."""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from router_svc.metrics import RouterMetrics
from router_svc.seeds.bank import SeedBank
from router_svc.seeds.media import SeedMedia
from router_svc.seeds.records import SeedRecords
from router_svc.seeds.reindex import Reindexing
from router_svc.seeds.watch import SeedWatch
from services.contracts import IssuePolicy, IssueRisk, RankResult
from services.errors import NotReady
from services.scoring import Background

logger = logging.getLogger(__name__)

SWEEP_S = 3600.0


@dataclass
class Upkeep:
    """Looks after the bank every `count_s` seconds, and once an hour after the frames of removed seeds.

    Attributes:
        removed_days: for which the frames of a removed seed are kept.
    """

    bank: SeedBank
    records: SeedRecords
    media: SeedMedia
    watch: SeedWatch
    reindexing: Reindexing
    metrics: RouterMetrics
    count_s: float
    removed_days: float
    _task: asyncio.Task[None] | None = field(default=None, init=False)
    _swept_at: float = field(default=float("-inf"), init=False)

    async def start(self) -> None:
        """Begin."""
        self._task = asyncio.create_task(self._run(), name="seed-upkeep")

    async def close(self) -> None:
        """End, after the last statistics are recorded where that can be."""
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
        await self.reindexing.close()
        await self._try("the statistics of seeds", self.count)

    def observed(
        self,
        policies: Sequence[IssuePolicy],
        issues: Sequence[IssueRisk],
        ranked: RankResult | None,
        background: Background,
    ) -> None:
        """Take note of a routed video.

        A seed matches where it would escalate the video by itself. An issue's hit is its most similar seed's; the
        ranker confirms it where its calibrated probability reaches what the policy reviews from.

        Args:
            policies: of the request's issues.
            issues: what the router found.
            ranked: what the ranker said; None where it was not asked or did not answer.
            background: scale of the similarities.
        """
        review = {policy.id: policy.review_threshold for policy in policies}
        said = (
            {} if ranked is None else {rank.id: rank.probability >= review.get(rank.id, 1.0) for rank in ranked.issues}
        )
        escalated = [issue for issue in issues if issue.escalated and issue.matches and issue.risk >= issue.threshold]
        self.watch.observed(
            matched=[
                match.seed_id
                for issue in escalated
                for match in issue.matches
                if background.level(match.kind, match.similarity) >= issue.threshold
            ],
            judged=[(issue.matches[0].seed_id, said.get(issue.id)) for issue in escalated],
        )

    async def count(self) -> None:
        """Record the statistics gathered since the last time, and quarantine what they speak against."""
        hits = self.watch.flush()
        try:
            if hits:
                await self.records.count(hits)
        except BaseException:
            self.watch.put_back(hits)
            raise
        trials = await self.records.trials([each.seed_id for each in hits])
        suspects = self.watch.suspects(trials, self.bank.serving.catalogue.shares())
        for seed_id, why in suspects:
            seed = await self.records.quarantine(seed_id, why)
            self.watch.restart(seed_id)
            if seed is not None:
                self.metrics.quarantined(seed.issue)
                logger.warning("a seed is quarantined", extra={"seed": seed_id, "issue": seed.issue, "reason": why})
        if suspects:
            await self.bank.catch_up()

    async def embed_later(self) -> None:
        """Make the vectors that could not be made when the seeds were added or became active."""
        await self.bank.serving.embed_later()

    async def sweep(self) -> None:
        """Delete the frames of seeds that were removed long ago; their records stay."""
        due = await self.records.removed_before(datetime.now(UTC) - timedelta(days=self.removed_days))
        for seed_id in await self.media.ids() & set(due):
            # Meanwhile it may have been made active again.
            if (await self.records.get(seed_id)).state == "removed":
                await self.media.delete(seed_id)

    async def _run(self) -> None:
        while True:
            await asyncio.sleep(self.count_s)
            await self._try("the statistics of seeds", self.count)
            await self._try("seeds without vectors", self.embed_later)
            await self._try("an unfinished index", self.reindexing.look_after)
            if time.monotonic() - self._swept_at > SWEEP_S:
                self._swept_at = time.monotonic()
                await self._try("the frames of removed seeds", self.sweep)

    async def _try(self, what: str, work: Callable[[], Awaitable[None]]) -> None:
        try:
            await work()
        except NotReady as error:
            logger.warning("%s must wait", what, extra={"reason": error.detail})
        except Exception:
            logger.exception("%s could not be looked after", what)
