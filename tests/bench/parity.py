"""Asks several engines the same and says how far their answers are from those of the first."""

import asyncio
import base64
import time
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from gateway.merge import verdict_of
from ranker_svc.app import create_app
from ranker_svc.ranker import Ranker
from ranker_svc.settings import Settings
from router_svc.settings import Settings as RouterSettings
from services.contracts import Frame, IssueQuestions, RankRequest
from services.contracts.base import PromptName
from services.deadline import Deadline
from services.media import encode_jpeg
from services.media.decode import decode_frames
from services.policy import default_policy_path, load_policy
from services.scoring import choose_frames
from tests.bench.ranker_requests import issues_of

PROMPTS: tuple[PromptName, ...] = ("P1", "P2", "P3", "P4")
MOST_APART = 0.02
LEAST_AGREEMENT = 0.995
SEVERAL = 4
AT_ONCE = 8
DEADLINE_S = 600.0
Key = tuple[int, PromptName, int, str]
"""Video, prompt template, number of issues in the request, issue."""


@dataclass(frozen=True)
class Judgement:
    """What an engine said about one issue: p(Yes) of each answer, the assembled score, the calibrated probability."""

    p_yes: tuple[float, ...]
    score: float
    probability: float


@dataclass(frozen=True)
class Apart:
    """Distance of one engine from another: absolute differences (greatest and mean), share of equal verdicts."""

    answers: int
    verdicts: int
    p_yes: tuple[float, float]
    score: tuple[float, float]
    probability: tuple[float, float]
    agreement: float

    def holds(self) -> bool:
        """Whether the engines agree well enough to stand in for one another."""
        apart = max(self.p_yes[0], self.score[0], self.probability[0])
        return apart <= MOST_APART and self.agreement >= LEAST_AGREEMENT


@dataclass(frozen=True)
class Said:
    """Everything that an engine said, and the seconds that it took without its start."""

    judgements: Mapping[Key, Judgement]
    seconds: float


def frames_of(video: Path) -> tuple[Frame, ...]:
    """The frames that the router would send if no seed had matched: spread over the video, scaled and as JPEG."""
    settings = RouterSettings()
    decoded = decode_frames(video, plan=settings.sampling, short_side=settings.frame_short_side)
    chosen = choose_frames(len(decoded.frames), (), settings.rank_frames)
    return tuple(
        # The contract's type reads base64, also from Python.
        Frame(
            time_s=decoded.times_s[index],
            jpeg=base64.b64encode(encode_jpeg(decoded.frames[index], settings.jpeg_quality)),
        )
        for index in chosen
    )


def requests(frames: Sequence[tuple[Frame, ...]]) -> Iterator[tuple[int, PromptName, RankRequest]]:
    """For each video and template one request about one issue and one about several; issues take turns."""
    for video, each in enumerate(frames):
        for prompt in PROMPTS:
            every = issues_of_policy(prompt)
            several = tuple(every[(video + turn) % len(every)] for turn in range(SEVERAL))
            for issues in (several[:1], several):
                yield video, prompt, RankRequest(frames=each, issues=issues)


@cache
def issues_of_policy(prompt: PromptName) -> tuple[IssueQuestions, ...]:
    """All issues of the bundled policy, with their calibrators."""
    return issues_of(prompt, calibrated=True)


@asynccontextmanager
async def ranker_with(settings: Settings) -> AsyncIterator[Ranker]:
    """The ranker that these settings make, without HTTP."""
    app = create_app(settings)
    async with app.router.lifespan_context(app) as state:
        assert state is not None
        yield state["ranker"]


async def ask(ranker: Ranker, frames: Sequence[tuple[Frame, ...]]) -> Said:
    """What a ranker says to every request, a few of them at a time, so that its engine batches them."""
    said: dict[Key, Judgement] = {}
    slots = asyncio.Semaphore(AT_ONCE)

    async def one(video: int, prompt: PromptName, request: RankRequest) -> None:
        async with slots:
            result = await ranker.rank(request, Deadline.after(DEADLINE_S))
        for issue in result.issues:
            p_yes = tuple(answer.p_yes for answer in issue.answers)
            said[video, prompt, len(request.issues), issue.id] = Judgement(p_yes, issue.score, issue.probability)

    started = time.perf_counter()
    async with asyncio.TaskGroup() as group:
        for each in requests(frames):
            group.create_task(one(*each))
    return Said(said, time.perf_counter() - started)


def apart(first: Mapping[Key, Judgement], second: Mapping[Key, Judgement]) -> Apart:
    """Compares what two engines said to the same requests, with the verdicts by the policy's thresholds."""
    policy = load_policy(default_policy_path())
    p_yes: list[float] = []
    score: list[float] = []
    probability: list[float] = []
    equal = 0
    for key, one in first.items():
        other = second[key]
        actions = policy.issue(key[3]).actions
        p_yes += (abs(a - b) for a, b in zip(one.p_yes, other.p_yes, strict=True))
        score.append(abs(one.score - other.score))
        probability.append(abs(one.probability - other.probability))
        equal += verdict_of(one.probability, actions) == verdict_of(other.probability, actions)
    assert len(second) == len(first) > 0

    def worst(values: Sequence[float]) -> tuple[float, float]:
        return max(values), sum(values) / len(values)

    return Apart(len(p_yes), len(first), worst(p_yes), worst(score), worst(probability), equal / len(first))


def part(said: Mapping[Key, Judgement], prompt: PromptName, *, alone: bool) -> dict[Key, Judgement]:
    """Only what was said to one template about one issue, or about several."""
    return {key: each for key, each in said.items() if key[1] == prompt and (key[2] == 1) == alone}
