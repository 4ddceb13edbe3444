"""The wording of prompts P1 to P4 and the plan that asks every distinct question once.

The paper describes the four templates (Filter-And-Refine, Figure 2) without printing them; the wording is ours.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from services.contracts import ContextUse, IssueQuestions, PromptName, QuestionKind


@dataclass(frozen=True)
class Question:
    """One question to the model, answered with Yes or No."""

    kind: QuestionKind
    text: str


@dataclass(frozen=True)
class PlannedQuestion:
    """One question of one issue: what it asks about, and which of the plan's prompts carries it."""

    kind: QuestionKind
    prompt: int


@dataclass(frozen=True)
class QuestionPlan:
    """Distinct prompts, and for every issue (in the order given) where its answers are found.

    `prompts` holds the user texts that follow the frames. `issues[i]` holds the readings of issue i, with the
    uploader's text or without it or both, and a reading its questions, each an index into the prompts.
    """

    prompts: tuple[str, ...]
    issues: tuple[tuple[tuple[PlannedQuestion, ...], ...], ...]


_OVERALL = "Does this video violate the policy? Answer Yes or No."


def _fine_grained(name: str) -> str:
    return f"Does this video show {name}? Answer Yes or No."


def questions(prompt: PromptName, issue: IssueQuestions) -> tuple[Question, ...]:
    """The questions of one prompt template about one issue.

    P1 is the overall question alone, P2 the fine-grained and the overall question as two independent prompts, P3 both
    in order in one prompt with one answer, P4 is P2 with the issue's definition before both. The overall question
    names no issue in P1 and P2, so that equal texts can be asked once a video; in P4 it follows a definition and is
    per issue.

    Args:
        prompt: the template (Filter-And-Refine, Figure 2).
        issue: its name and, for P4, its definition; both are the operator's words.
    """
    fine = _fine_grained(issue.name)
    match prompt:
        case "P1":
            return (Question("overall", _OVERALL),)
        case "P2":
            return (Question("fine_grained", fine), Question("overall", _OVERALL))
        case "P3":
            first = f"First: does this video show {issue.name}?"
            return (Question("sequential", f"{first} Then: does this video violate the policy? Answer Yes or No."),)
        case "P4":
            definition = f"Definition of {issue.name}: {' '.join(issue.definition.split())}\n"
            return (Question("fine_grained", definition + fine), Question("overall", definition + _OVERALL))


def render(question: Question, context_block: str = "") -> str:
    """The user text that follows the frames: the uploader's text first, where there is any, the question last.

    The question comes last so that what precedes it (frames, context) is one prefix that all questions share.
    """
    return f"{context_block}\n{question.text}" if context_block else question.text


def plan(issues: Sequence[IssueQuestions], context_block: str = "") -> QuestionPlan:
    """Collect the distinct prompts of all issues, in order of first use, and say where each issue finds its answers."""
    index: dict[str, int] = {}

    def reading(issue: IssueQuestions, block: str) -> tuple[PlannedQuestion, ...]:
        return tuple(
            PlannedQuestion(question.kind, index.setdefault(render(question, block), len(index)))
            for question in questions(issue.prompt, issue)
        )

    planned = tuple(tuple(reading(issue, block) for block in _blocks(issue.context, context_block)) for issue in issues)
    return QuestionPlan(tuple(index), planned)


def _blocks(use: ContextUse, block: str) -> tuple[str, ...]:
    """The texts under which an issue is asked about; each once."""
    match use:
        case "shown":
            return (block,)
        case "ignored":
            return ("",)
        case "guarded":
            return ("", block) if block else ("",)
