"""Labelled videos through a gateway: what it decided, next to the truth and to the share of traffic."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from pydantic import SecretStr
from rich.console import Console

from offline.evaluation.asking import Answers, Question, ask_all
from offline.evaluation.store import Store
from offline.manifest import Labelled, traffic_weights
from services.contracts import Context, Decision, Mode, ModerationRequest

GROUPS = ("style", "look_alike", "look_alike_of", "variant")
"""Labels of a manifest by which errors are told apart."""


@dataclass(frozen=True)
class Observation:
    """A decision and the truth about its video.

    Attributes:
        kind: stratum of traffic.
        truth: issues that the video violates.
        decision: of the gateway.
        weight: share of traffic that the video stands for.
        id: of the video in the manifest.
        labels: values of GROUPS that the manifest gives.
    """

    kind: str
    truth: frozenset[str]
    decision: Decision
    weight: float
    id: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)


def question(url: str, video: Labelled, mode: Mode = "cascade", *, with_title: bool = True) -> Question:
    """What is asked about a video of a manifest."""
    context = Context(title=video.title, description=video.description) if with_title else Context()
    return Question(video.id, video.file, ModerationRequest(context=context, mode=mode), url)


def observed(videos: Sequence[Labelled], answers: Answers, mix: Mapping[str, float] | None = None) -> list[Observation]:
    """The videos that were decided; the weights of a kind are shared by those of it that were.

    Args:
        videos: of one sample.
        answers: about them, by id.
        mix: share of traffic of each kind; without it the manifest's own weights count.

    Raises:
        ValueError: the weights cannot be had; see traffic_weights.
    """
    weights = traffic_weights(videos, mix)
    whole: dict[str, float] = {}
    decided: dict[str, float] = {}
    for video, weight in zip(videos, weights, strict=True):
        whole[video.kind] = whole.get(video.kind, 0.0) + weight
        if video.id in answers.decisions:
            decided[video.kind] = decided.get(video.kind, 0.0) + weight
    return [
        Observation(
            kind=video.kind,
            truth=video.truth,
            decision=answers.decisions[video.id],
            weight=weight * whole[video.kind] / decided[video.kind],
            id=video.id,
            labels={name: str(value) for name in GROUPS if (value := getattr(video, name, None))},
        )
        for video, weight in zip(videos, weights, strict=True)
        if video.id in answers.decisions
    ]


async def collect(
    url: str,
    videos: Sequence[Labelled],
    console: Console,
    *,
    mix: Mapping[str, float] | None = None,
    mode: Mode = "cascade",
    concurrency: int = 3,
    store: Store | None = None,
    allowed_missing: int = 0,
    api_key: SecretStr | None = None,
) -> list[Observation]:
    """Ask the gateway about every video, a few at a time; see asking.ask_all and observed.

    Raises:
        TooManyMissing: the gateway refuses a video, or decides one without a stage: a measurement with holes would
            mislead.
    """
    questions = [question(url, video, mode) for video in videos]
    answers = await ask_all(
        questions,
        console,
        what=f"moderating ({mode})",
        store=store,
        concurrency=concurrency,
        allowed_missing=allowed_missing,
        api_key=api_key,
    )
    return observed(videos, answers, mix)
