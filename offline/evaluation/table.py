"""Observations as arrays: one row for each video, one column for each issue."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from offline.evaluation.collect import GROUPS, Observation
from offline.statistics import Bools, Floats

NOT_ASKED = -1.0
"""Score of an issue that the ranker was not asked about: below every probability."""
ACTIONED = ("review", "block")


@dataclass(frozen=True)
class Table:
    """What was decided about n videos and k issues.

    Attributes:
        issues: their ids, [k].
        ids: of the videos, [n].
        kinds: strata of traffic, [n].
        weight: share of traffic, [n].
        truth: issues that are violated, [n, k].
        risk: the router's, in [0, 1], [n, k].
        threshold: the policy's router thresholds, [n, k].
        escalated: by the router, [n, k].
        probability: the ranker's, [n, k]; NOT_ASKED where it was not asked.
        flagged: verdict review or block, [n, k].
        labels: of each of GROUPS, the value of every video or "".
    """

    issues: tuple[str, ...]
    ids: npt.NDArray[np.str_]
    kinds: npt.NDArray[np.str_]
    weight: Floats
    truth: Bools
    risk: Floats
    threshold: Floats
    escalated: Bools
    probability: Floats
    flagged: Bools
    labels: Mapping[str, npt.NDArray[np.str_]]

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def strata(self) -> npt.NDArray[np.int_]:
        """Number of each video's kind, [n]."""
        return np.unique(self.kinds, return_inverse=True)[1]

    @property
    def positive(self) -> Bools:
        """Videos that violate any issue, [n]."""
        return any_issue(self.truth)

    @property
    def asked(self) -> Bools:
        """Pairs that the ranker judged, [n, k]."""
        return np.asarray(self.probability != NOT_ASKED)

    @property
    def routed(self) -> Bools:
        """Videos that the ranker judged, [n]."""
        return any_issue(self.asked)

    @property
    def margin(self) -> Floats:
        """How far the risk exceeds the policy's threshold, [n, k]."""
        return self.risk - self.threshold

    def best(self, score: Floats) -> Floats:
        """The highest score of any issue, [n]."""
        return np.asarray(score.max(axis=1))

    def own(self, score: Floats) -> Floats:
        """The highest score of an issue that the video violates, [n]; -inf for a clean video."""
        return np.asarray(np.where(self.truth, score, -np.inf).max(axis=1))

    def take(self, index: npt.NDArray[np.intp]) -> "Table":
        """The rows of an index."""
        return Table(
            self.issues, self.ids[index], self.kinds[index], self.weight[index], self.truth[index], self.risk[index],
            self.threshold[index], self.escalated[index], self.probability[index], self.flagged[index],
            {name: values[index] for name, values in self.labels.items()},
        )  # fmt: skip


def table_of(observations: Sequence[Observation]) -> Table:
    """The observations as arrays.

    Raises:
        ValueError: there are none, or they are about different issues.
    """
    if not observations:
        raise ValueError("no video was decided; there is nothing to report")
    issues = tuple(issue.id for issue in observations[0].decision.issues)
    rows = [{issue.id: issue for issue in o.decision.issues} for o in observations]
    unknown = {issue for o in observations for issue in o.truth} - set(issues)
    if unknown:
        raise ValueError(f"labels of {', '.join(sorted(unknown))} are of no issue that was decided about")
    if any(set(row) != set(issues) for row in rows):
        raise ValueError("the decisions are about different issues; ask about all of them with the same policy")
    ordered = [[row[name] for name in issues] for row in rows]
    return Table(
        issues=issues,
        ids=np.array([o.id for o in observations]),
        kinds=np.array([o.kind for o in observations]),
        weight=np.array([o.weight for o in observations]),
        truth=np.array([[name in o.truth for name in issues] for o in observations]),
        risk=np.array([[i.risk or 0.0 for i in row] for row in ordered]),
        threshold=np.array([[i.router_threshold for i in row] for row in ordered]),
        escalated=np.array([[i.escalated for i in row] for row in ordered]),
        probability=np.array([[NOT_ASKED if i.probability is None else i.probability for i in row] for row in ordered]),
        flagged=np.array([[i.verdict in ACTIONED for i in row] for row in ordered]),
        labels={name: np.array([o.labels.get(name, "") for o in observations]) for name in GROUPS},
    )


def any_issue(pairs: Bools) -> Bools:
    """Videos for any issue of which `pairs` [n, k] is true, [n]."""
    return np.asarray(pairs.any(axis=1))


def common(first: Table, second: Table) -> tuple[Table, Table]:
    """The videos that both tables have, in one order, with the weights of the second.

    Raises:
        ValueError: they have none.
    """
    _, a, b = np.intersect1d(first.ids, second.ids, return_indices=True)
    if not a.size:
        raise ValueError("the two runs have no video in common")
    left, right = first.take(a), second.take(b)
    return Table(**{**vars(left), "weight": right.weight}), right
