"""Table 1: the classifier and every ranker in every prompt, and which of them is best on calibration traffic. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from offline.paper.answers import Answered, pair_scores
from offline.paper.measures import Population
from offline.paper.results import Gain, Line
from offline.paper.runs import FEW_LABELS, ROW_NAMES, Run
from offline.paper.studies import Measured
from offline.statistics import pr_auc
from services.contracts import PromptName
from services.policy import Policy

Floats = npt.NDArray[np.float64]
CLASSIFIER = "Multimodal classifier"


@dataclass(frozen=True)
class Scored:
    """A ranker in one prompt: its pairs' scores on both routed sets, and its quality where choices are made.

    Attributes:
        quality: PR-AUC over videos on calibration traffic.
    """

    run: Run
    prompt: PromptName
    test: Floats
    quality: float

    @property
    def name(self) -> str:
        """What tables call it."""
        return ROW_NAMES[self.run.row]

    @property
    def share(self) -> float:
        """Share of the labels that it has seen."""
        return self.run.label_share if "d3" in self.run.data else 0.0


def score_all(
    runs: Sequence[Run], test: Mapping[str, Answered], calibration: Mapping[str, Answered], policy: Policy
) -> list[Scored]:
    """Every ranker in every prompt that it is asked in, in the order of the runs."""
    truth = Population.of(next(iter(calibration.values())).routed)
    found = []
    for run in runs:
        for prompt in run.asked:
            own = truth.by_video(pair_scores(calibration[run.name], policy, prompt))
            quality = float(np.nan_to_num(pr_auc(own, truth.guilty, truth.weight)))
            found.append(Scored(run, prompt, pair_scores(test[run.name], policy, prompt), quality))
    return found


def best_of(scored: Sequence[Scored], *, share: float, row: str | None = None, prompt: str | None = None) -> Scored:
    """The one with the highest quality among those with this share of the labels."""
    fit = [s for s in scored if s.share == share and row in (None, s.run.row) and prompt in (None, s.prompt)]
    return max(fit, key=lambda each: each.quality)


def table1(
    scored: Sequence[Scored], classifiers: Sequence[tuple[float, Floats]], truth: Population, rounds: int
) -> list[Line]:
    """Its lines in the paper's order, those with all labels before those with few.

    Args:
        scored: rankers.
        classifiers: share of the labels and pairs' scores of each.
        truth: of the test set.
        rounds: of the bootstrap.
    """

    def line(row: str, name: str, prompt: str, share: float, scores: Floats) -> Line:
        figures = truth.videos(scores, rounds=rounds), truth.pairs(scores, rounds=rounds)
        return Line(row, share, Measured(name, prompt, *figures))

    lines = [line("classifier", CLASSIFIER, "", share, scores) for share, scores in classifiers]
    order = list(ROW_NAMES)
    ranked = sorted(scored, key=lambda s: (s.share == FEW_LABELS, order.index(s.run.row), s.prompt))
    return lines + [line(s.run.row, s.name, s.prompt, s.share, s.test) for s in ranked]


def gains(
    scored: Sequence[Scored], classifiers: Sequence[tuple[float, Floats]], truth: Population, rounds: int
) -> list[Gain]:
    """The best ranker with all and with few labels over the classifiers, and over the zero-shot models."""
    few, everything = best_of(scored, share=FEW_LABELS), best_of(scored, share=1.0)
    others = [(f"{CLASSIFIER}, {_told(share)}", scores) for share, scores in classifiers]
    others += [(s.name, s.test) for s in scored if s.share == 0.0]
    return [
        Gain(f"{ours.name}, {ours.prompt}, {_told(ours.share)}", name, truth.gain(ours.test, scores, rounds=rounds))
        for ours in (everything, few)
        for name, scores in others
    ]


def _told(share: float) -> str:
    return "all labels" if share == 1.0 else f"{share:.0%} of the labels"
