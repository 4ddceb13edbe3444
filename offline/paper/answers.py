"""From a ranker's logits to scores of (video, issue) pairs, by the plan of questions and the assembly that serve."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from offline.manifest import Labelled
from offline.paper.routed import Routed
from services.assembly import assemble
from services.contracts import Assembly, Context, IssueQuestions, PromptName
from services.policy import Policy
from services.prompts import QuestionPlan, context_block, plan

TEMPLATES: tuple[PromptName, ...] = ("P1", "P2", "P3", "P4")
Floats = npt.NDArray[np.float64]
Logits = Mapping[str, tuple[float, float]]
"""Logits of Yes and No by prompt, of one video."""


@dataclass(frozen=True)
class Answered:
    """What a ranker said about the videos of a routed set: one mapping for each video."""

    routed: Routed
    logits: tuple[Logits, ...]


def prompts_of(routed: Routed, policy: Policy, templates: Sequence[PromptName] = TEMPLATES) -> list[list[str]]:
    """Every distinct prompt that one of the templates asks about each video, context included."""
    issues = _issues(policy)
    out = []
    for video, asked in zip(routed.videos, routed.asked, strict=True):
        texts = [text for template in templates for text in _plan(video, asked, issues, template).prompts]
        out.append(list(dict.fromkeys(texts)))
    return out


def answered(
    routed: Routed,
    policy: Policy,
    ask: Callable[[Sequence[Sequence[str]]], Sequence[Floats]],
    cache: Path,
    templates: Sequence[PromptName] = TEMPLATES,
) -> Answered:
    """Ask about every video, or read the answers from `cache`.

    Args:
        routed: the videos.
        policy: names, definitions and context rules of the issues.
        ask: prompts of each video to logits [prompts, 2].
        cache: file whose name must change with model and videos.
        templates: in which it is asked.

    Raises:
        ValueError: the file holds answers to other prompts.
    """
    prompts = prompts_of(routed, policy, templates)
    if not cache.exists():
        found = [own.tolist() for own in ask(prompts)]
        cache.parent.mkdir(parents=True, exist_ok=True)
        part = cache.with_suffix(".part")
        part.write_text(json.dumps(found), encoding="utf-8")
        part.replace(cache)
    rows = json.loads(cache.read_text(encoding="utf-8"))
    if [len(row) for row in rows] != [len(own) for own in prompts]:
        raise ValueError(f"{cache} holds answers to other prompts; delete it")
    logits = tuple(
        {text: (yes, no) for text, (yes, no) in zip(own, row, strict=True)}
        for own, row in zip(prompts, rows, strict=True)
    )
    return Answered(routed, logits)


def p_yes(yes: float, no: float, temperature: float = 1.0) -> float:
    """softmax((yes, no) / temperature)[0] (Filter-And-Refine, Algorithm 1, step 9; temperature: section 5.4.1)."""
    margin = (no - yes) / temperature
    return float(1.0 / (1.0 + np.exp(min(margin, 700.0))))


def pair_scores(
    found: Answered, policy: Policy, template: PromptName, *, assembly: Assembly | None = None, temperature: float = 1.0
) -> Floats:
    """Scores of all (video, issue asked) pairs in [0, 1], videos in order, each video's issues in order.

    Args:
        found: a ranker's answers.
        policy: as it was asked; each issue's own assembly holds where `assembly` is None.
        template: whose questions are read.
        assembly: in place of the policy's.
        temperature: of the softmax over Yes and No, before assembly.
    """
    issues = _issues(policy)
    scores: list[float] = []
    for video, asked, logits in zip(found.routed.videos, found.routed.asked, found.logits, strict=True):
        questions = _plan(video, asked, issues, template)
        p = [p_yes(*logits[text], temperature) for text in questions.prompts]
        for issue, readings in zip(asked, questions.issues, strict=True):
            how = assembly or issues[issue].assembly
            # As in service, the reading with the higher score counts.
            scores.append(max(assemble({q.kind: p[q.prompt] for q in reading}, how) for reading in readings))
    return np.array(scores)


def _issues(policy: Policy) -> dict[str, IssueQuestions]:
    return {issue.id: issue for issue in policy.slice(None).issues}


def _plan(
    video: Labelled, asked: Sequence[str], issues: Mapping[str, IssueQuestions], template: PromptName
) -> QuestionPlan:
    block = context_block(Context(title=video.title, description=video.description))
    return plan([issues[each].model_copy(update={"prompt": template}) for each in asked], block)
