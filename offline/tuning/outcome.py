"""What tuning with a guarantee is asked for and what it gives: the promise, what was measured, and why not. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass

from scipy.stats import beta

from offline.tuning.judged import Thresholds


@dataclass(frozen=True)
class Promise:
    """What thresholds are to keep: recall of the cascade, overall and by issue, the router's pass rate, and, if it is
    asked for, the share of blocked traffic that violates."""

    recall: float = 0.9
    pass_rate: float = 0.1
    confidence: float = 0.95
    block_precision: float | None = None


@dataclass(frozen=True)
class Bound:
    """A figure on the videos that tested.

    Attributes:
        name: `recall`, `recall of <issue>`, `pass rate`, `precision of block`.
        level: what is promised.
        value: what was measured.
        limit: how bad it may be by itself at the stated confidence (Clopper and Pearson 1934): a lower bound, or an
            upper one of the pass rate.
        count: videos behind it.
        at_least: whether more is better.
    """

    name: str
    level: float
    value: float
    limit: float
    count: int
    at_least: bool

    @property
    def missing(self) -> float:
        """How far the limit is from the level; 0 or less where it keeps it."""
        return self.level - self.limit if self.at_least else self.limit - self.level


@dataclass(frozen=True)
class Tuned:
    """The outcome.

    Attributes:
        thresholds: None where none keep the promise.
        promised: what the guarantee covers, with what was measured of the thresholds or of the nearest miss.
        nearest: where there are none, those that come nearest.
        reason: why there are none, and what would help.
    """

    thresholds: Thresholds | None
    promised: tuple[Bound, ...]
    nearest: Thresholds | None = None
    reason: str = ""


def bound_of(name: str, hits: int, count: int, level: float, confidence: float, *, least: bool) -> Bound:
    """A share with its one-sided limit; without videos nothing is known of it."""
    if not count:
        return Bound(name, level, float("nan"), 0.0 if least else 1.0, 0, least)
    if least:
        limit = float(beta.ppf(1 - confidence, hits, count - hits + 1)) if hits else 0.0
    else:
        limit = float(beta.ppf(confidence, hits + 1, count - hits)) if hits < count else 1.0
    return Bound(name, level, hits / count, limit, count, least)


def reason_of(bounds: Sequence[Bound], confidence: float) -> str:
    """Why no thresholds keep the promise: what the nearest ones miss, by how much, and what would help."""
    missed = sorted((each for each in bounds if each.missing > 0), key=lambda each: -each.missing)
    told = "; ".join(
        f"{each.name} is {each.value:.3f} of {each.count}, for sure only {'at least' if each.at_least else 'at most'} "
        f"{each.limit:.3f}, not {each.level:g}"
        for each in missed[:4]
    ) + (f"; and {len(missed) - 4} more" if len(missed) > 4 else "")
    remedy = (
        "the models do not reach it: allow a higher pass rate, promise less, or train"
        if any(_beyond_chance(each) for each in missed)
        else "the sample is too small to be sure: label more violations, promise less, or ask for less confidence"
    )
    nearest = f"the nearest: {told}" if missed else "some came near, but not those that looked best beforehand"
    return f"no thresholds keep the promise with {confidence:.0%} confidence; {nearest}. Here {remedy}"


def _beyond_chance(bound: Bound) -> bool:
    """Whether a figure misses its level by more than two standard errors of one that keeps it, or has no videos."""
    if not bound.count:
        return False
    chance: float = 2 * (bound.level * (1 - bound.level) / bound.count) ** 0.5
    return bound.level - bound.value > chance if bound.at_least else bound.value - bound.level > chance
