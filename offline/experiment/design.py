"""Who uploads what, and which arm of the experiment each user is in. Pure and deterministic."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from scipy.stats import chisquare

from services.contracts import IssueDecision

Arm = Literal["control", "treatment"]
ARMS: tuple[Arm, ...] = ("control", "treatment")
MISMATCH_P = 0.001
"""Below it the arms' sizes are held for wrong (Fabijan et al. 2019, Diagnosing Sample Ratio Mismatch)."""


@dataclass(frozen=True)
class Design:
    """Of the simulated traffic.

    Attributes:
        requests: uploads; each comes from a user of its own.
        treatment_share: of the users, in (0, 1).
        salt: of the assignment.
        seed: of the draw of videos.
    """

    requests: int
    treatment_share: float = 0.5
    salt: str = "winnow"
    seed: int = 0


@dataclass(frozen=True)
class Upload:
    """One request of the traffic: its user, and the index of its video in the pool."""

    user: str
    video: int


@dataclass(frozen=True)
class Rule:
    """What acts on a video for an issue: the verdict review or block, or the router's risk.

    Attributes:
        by: `verdict` or `risk`.
        threshold: of the risk; the policy's router thresholds if None.
    """

    by: Literal["verdict", "risk"]
    threshold: float | None = None

    def __str__(self) -> str:
        if self.by == "verdict":
            return "the verdict is review or block"
        where = "the policy's router threshold" if self.threshold is None else f"{self.threshold:g}"
        return f"the router's risk reaches {where}"

    def acts(self, issue: IssueDecision) -> bool:
        """Whether the rule acts on a decided issue."""
        if self.by == "verdict":
            return issue.verdict in ("review", "block")
        threshold = issue.router_threshold if self.threshold is None else self.threshold
        return (issue.risk or 0.0) >= threshold


@dataclass(frozen=True)
class RatioCheck:
    """Whether the arms have the sizes that were assigned.

    Attributes:
        counted: uploads of each arm that have a decision, control first.
        expected: by the design.
        p: of the chi-square test.
    """

    counted: tuple[int, int]
    expected: tuple[float, float]
    p: float

    @property
    def passed(self) -> bool:
        """Whether the sizes are as they should be."""
        return self.p >= MISMATCH_P


def parse_rule(text: str) -> Rule:
    """`verdict`, `risk`, or `risk:T` with T in [0, 1].

    Raises:
        ValueError: it is none of them.
    """
    if text == "verdict":
        return Rule("verdict")
    if text == "risk":
        return Rule("risk")
    by, colon, value = text.partition(":")
    try:
        threshold = float(value)
    except ValueError:
        threshold = -1.0
    if by != "risk" or not colon or not 0 <= threshold <= 1:
        raise ValueError(f"{text!r} is no rule: verdict, risk, or risk:T with T from 0 to 1")
    return Rule("risk", threshold)


def traffic(design: Design, weights: Sequence[float]) -> list[Upload]:
    """Uploads whose videos are drawn with replacement by their weights."""
    share = np.asarray(weights, dtype=np.float64)
    drawn = np.random.default_rng(design.seed).choice(len(share), size=design.requests, p=share / share.sum())
    return [Upload(f"user-{number:07d}", int(video)) for number, video in enumerate(drawn)]


def arm_of(user: str, design: Design) -> Arm:
    """The arm of a user, by a hash: the same for every upload, independent of all else, another for another salt."""
    digest = hashlib.sha256(f"{design.salt}:{user}".encode()).digest()
    return "treatment" if int.from_bytes(digest[:8]) / 2**64 < design.treatment_share else "control"


def ratio_check(control: int, treatment: int, design: Design) -> RatioCheck:
    """Chi-square test of the arms' sizes against the design.

    Raises:
        ValueError: an arm is empty.
    """
    total = control + treatment
    if not control or not treatment:
        raise ValueError(f"the arms have {control} and {treatment} uploads; ask for more requests")
    expected = (total * (1 - design.treatment_share), total * design.treatment_share)
    return RatioCheck((control, treatment), expected, float(chisquare([control, treatment], expected).pvalue))
