"""What routed videos say of the seeds that they matched, and which seeds are suspected to be bad ones."""

import math
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from services.contracts import SeedStats

Z_95 = 1.96
"""Quantile of the normal distribution for 95 % confidence, both sides."""


def wilson_lower(successes: int, trials: int, z: float = Z_95) -> float:
    """Lower bound of a proportion, in [0, 1]: what it is at least, with the confidence that `z` stands for.

    The score interval of E. B. Wilson, "Probable inference, the law of succession, and statistical inference", Journal
    of the American Statistical Association 22 (1927) 209-212. 0 where there were no successes, or no trials.

    Args:
        successes: in [0, trials].
        trials: 0 or more.
        z: quantile of the standard normal distribution.
    """
    if successes == 0:
        return 0.0
    share = successes / trials
    centre = share + z * z / (2 * trials)
    spread = z * math.sqrt(share * (1 - share) / trials + z * z / (4 * trials * trials))
    return max(0.0, (centre - spread) / (1 + z * z / trials))


@dataclass(frozen=True, slots=True)
class SeedHits:
    """What is to be added to the record of a seed.

    Attributes:
        seed_id: the seed.
        hits: escalated videos that it was the best match of, for its issue.
        confirmed: of those, how many the ranker held to violate the issue.
        refuted: of those, how many the ranker held not to.
        last_hit_at: of the last of them; UTC.
    """

    seed_id: str
    hits: int
    confirmed: int
    refuted: int
    last_hit_at: datetime

    def __add__(self, other: "SeedHits") -> "SeedHits":
        return SeedHits(
            self.seed_id,
            self.hits + other.hits,
            self.confirmed + other.confirmed,
            self.refuted + other.refuted,
            max(self.last_hit_at, other.last_hit_at),
        )


@dataclass(slots=True)
class _Recent:
    since: int  # number of the first video that counts
    matched: int = 0
    share: float | None = None  # of traffic, since then


class SeedWatch:
    """Watches the seeds over the videos that this replica routes.

    A seed is suspected where it matches more than `max_share` of the last `window` videos that it was compared with, or
    where more than `max_refuted` of the hits that the ranker judged were refuted. Both are lower bounds of 95 %, so
    that few videos prove little. What the ranker said is judged over all replicas, by the records; how often a seed
    matches is judged by each replica alone, because all get the same traffic. A video costs the time of its matches,
    and the memory is that of `window` videos and of the seeds that they matched.

    The watch only names seeds. Whoever quarantines one counts it in the metrics, and its record says why: taken one by
    one, quarantines could empty an issue, and this must never happen without a word.

    Args:
        window: videos that are looked back at.
        min_videos: fewest videos from which a share of traffic is judged, in [1, window].
        max_share: of the videos that a seed is compared with, in (0, 1].
        min_judged: fewest judged hits from which they are judged.
        max_refuted: of the judged hits, in (0, 1].
        clock: gives the time of a hit; UTC.

    Raises:
        ValueError: `min_videos` is beyond the window, so that no seed would ever be suspected.
    """

    def __init__(
        self,
        *,
        window: int,
        min_videos: int,
        max_share: float,
        min_judged: int,
        max_refuted: float,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        if not 1 <= min_videos <= window:
            raise ValueError("min_videos must be from 1 to the window")
        self._window, self._min_videos, self._max_share = window, min_videos, max_share
        self._min_judged, self._max_refuted = min_judged, max_refuted
        self._clock = clock
        self._videos = 0
        self._last: deque[tuple[str, ...]] = deque()
        self._recent: dict[str, _Recent] = {}
        self._hits: dict[str, SeedHits] = {}

    def observed(self, *, matched: Iterable[str] = (), judged: Iterable[tuple[str, bool | None]] = ()) -> None:
        """Takes in one routed video; call it for those without a match too, they are traffic.

        Args:
            matched: seeds that are shown as evidence of an escalated issue, at or above the issue's threshold.
            judged: for each escalated issue the seed that set its risk, and what the ranker said: True, it violates
                the issue; False, it does not; None, nothing.
        """
        seeds = tuple(dict.fromkeys(matched))
        number = self._videos
        self._videos += 1
        self._last.append(seeds)
        for seed_id in seeds:
            # Its videos count from its first match, so that a new seed is not excused by those before it was there.
            self._recent.setdefault(seed_id, _Recent(number)).matched += 1
        if len(self._last) > self._window:
            self._forget_oldest()
        for seed_id, violates in judged:
            self._add(SeedHits(seed_id, 1, int(violates is True), int(violates is False), self._clock()))

    def restart(self, seed_id: str) -> None:
        """What the seed matched until now no longer counts: it was quarantined, or an operator made it active."""
        self._recent[seed_id] = _Recent(self._videos)

    def flush(self) -> list[SeedHits]:
        """What was judged since the last flush, one entry for a seed."""
        hits, self._hits = list(self._hits.values()), {}
        return hits

    def put_back(self, hits: Iterable[SeedHits]) -> None:
        """Takes back what was flushed and could not be recorded."""
        for each in hits:
            self._add(each)

    def suspects(
        self, trials: Mapping[str, SeedStats], shares: Mapping[str, float] | None = None
    ) -> list[tuple[str, str]]:
        """Seeds that should be quarantined, and why, in one sentence.

        Args:
            trials: what was judged of seeds in their present trial, over all replicas.
            shares: of traffic, in (0, 1], of seeds that are not compared with every video: a seed that starts small is
                judged by the videos that it was compared with, about that share of them. Where it has changed since the
                last call the seed starts anew: what it matched belongs to another share.
        """
        for seed_id in [each for each, recent in self._recent.items() if self._gone(recent)]:
            del self._recent[seed_id]
        found = {seed_id: why for seed_id, stats in trials.items() if (why := self._refuted(stats))}
        for seed_id, recent in self._recent.items():
            share = (shares or {}).get(seed_id, 1.0)
            if recent.share not in (None, share):
                self.restart(seed_id)
                continue
            recent.share = share
            why = self._too_frequent(recent, share)
            if why:
                found[seed_id] = why
        return list(found.items())

    def _too_frequent(self, recent: _Recent, share: float) -> str | None:
        videos = max(recent.matched, round(min(self._videos - recent.since, len(self._last)) * share))
        bound = wilson_lower(recent.matched, videos)
        if videos < self._min_videos or bound <= self._max_share:
            return None
        return (
            f"It matched {recent.matched} of the last {videos} videos that it was compared with, "
            f"at least {bound:.1%} of the traffic; the limit is {self._max_share:.1%}."
        )

    def _refuted(self, stats: SeedStats) -> str | None:
        judged = stats.confirmed + stats.refuted
        bound = wilson_lower(stats.refuted, judged)
        if judged < self._min_judged or bound <= self._max_refuted:
            return None
        return (
            f"The ranker refuted {stats.refuted} of the {judged} hits that it judged, "
            f"at least {bound:.1%} of its hits; the limit is {self._max_refuted:.1%}."
        )

    def _forget_oldest(self) -> None:
        number = self._videos - len(self._last)
        for seed_id in self._last.popleft():
            recent = self._recent.get(seed_id)
            if recent is not None and recent.since <= number:
                recent.matched -= 1
                if self._gone(recent):
                    del self._recent[seed_id]

    def _gone(self, recent: _Recent) -> bool:
        return recent.matched == 0 and recent.since < self._videos - len(self._last)

    def _add(self, hits: SeedHits) -> None:
        known = self._hits.get(hits.seed_id)
        self._hits[hits.seed_id] = hits if known is None else known + hits
