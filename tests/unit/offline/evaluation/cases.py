"""A made-up cascade with known figures."""

from offline.evaluation.collect import Observation
from tests.unit.offline.decisions import observation

A, D = "arson", "drug_abuse"
Pair = tuple[float | None, float | None]


def case(*, full: bool = False) -> list[Observation]:
    """Ten videos of equal weight; thresholds 0.5, actions from 0.5 of the probability on.

    Two of three violations pass, for an issue of theirs; of those one is found. Of seven clean videos two pass and one
    is flagged. In mode full the ranker finds the violation that the router filters.
    """

    def video(name: str, truth: set[str], arson: Pair, drugs: Pair, in_full: Pair, **labels: str) -> Observation:
        """Risk and probability of both issues; `in_full` gives the probabilities of mode full."""
        asked = in_full if full else (arson[1], drugs[1])
        kind = {"v": "violation", "l": "look_alike", "o": "other"}[name[0]]
        pairs = {A: (arson[0] or 0.0, asked[0]), D: (drugs[0] or 0.0, asked[1])}
        return observation(kind, 0.1, truth, pairs, name=name, mode="full" if full else "cascade", **labels)

    return [
        video("v0", {A}, (0.9, 0.9), (0.1, None), (0.9, 0.1), style="noto"),
        video("v1", {A}, (0.7, 0.4), (0.2, None), (0.4, 0.1), style="noto"),
        video("v2", {D}, (0.1, None), (0.3, None), (0.2, 0.95), style="twemoji"),
        video("l0", set(), (0.7, 0.3), (0.2, None), (0.3, 0.1), style="noto", look_alike="a_alone", look_alike_of=A),
        video(
            "l1", set(), (0.6, 0.7), (0.2, None), (0.7, 0.1), style="twemoji", look_alike="a_with_c", look_alike_of=A
        ),
        *[video(f"o{i}", set(), (0.0, None), (0.1 + i / 100, None), (0.05, 0.1), style="noto") for i in range(5)],
    ]
