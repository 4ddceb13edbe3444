"""How the probabilities of an issue's answers become one score (Filter-And-Refine, section 5.4.1 and Table 2)."""

from collections.abc import Mapping

from services.contracts import Assembly, QuestionKind


def union(fine: float, overall: float) -> float:
    """Probability that at least one answer is Yes, were they independent: 1 - (1 - p1)(1 - p2)."""
    return fine + overall - fine * overall


def bayesian(fine: float, overall: float) -> float:
    """Naive Bayes fusion with prior 0.5: p1 p2 / (p1 p2 + (1 - p1)(1 - p2)) (Chen et al. 2022, probabilistic
    ensembling).

    Two certain answers that contradict each other (0 and 1) say nothing together: 0.5.
    """
    both = fine * overall
    total = both + (1.0 - fine) * (1.0 - overall)
    return both / total if total > 0.0 else 0.5


def combine(fine: float, overall: float, assembly: Assembly) -> float:
    """One score in [0, 1] from the fine-grained and the overall probability, each in [0, 1].

    `original` takes the overall answer alone, as the paper's baseline; `maximum` the larger; `weighted_sum` gives
    `fine_weight` to the fine-grained one and the rest to the overall one; for the others see `union` and `bayesian`.
    """
    match assembly.method:
        case "original":
            score = overall
        case "union":
            score = union(fine, overall)
        case "maximum":
            score = max(fine, overall)
        case "weighted_sum":
            score = assembly.fine_weight * fine + (1.0 - assembly.fine_weight) * overall
        case "bayesian":
            score = bayesian(fine, overall)
    # Rounding may leave [0, 1] by one unit in the last place.
    return min(1.0, max(0.0, score))


def assemble(answers: Mapping[QuestionKind, float], assembly: Assembly) -> float:
    """The score of an issue from p(Yes) of each of its questions.

    A prompt with one answer (P1: overall, P3: sequential) leaves nothing to assemble: its p(Yes) is the score.

    Raises:
        ValueError: there is no answer, or several that are not a fine-grained and an overall one.
    """
    if len(answers) == 1:
        return next(iter(answers.values()))
    if set(answers) != {"fine_grained", "overall"}:
        raise ValueError(f"cannot assemble answers to {sorted(answers)}")
    return combine(answers["fine_grained"], answers["overall"], assembly)
