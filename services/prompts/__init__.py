"""What the ranker's model is asked: prompts P1 to P4, their plan over issues, and the uploader's text made harmless."""

from services.prompts.context import context_block, neutralise, strip_special
from services.prompts.questions import PlannedQuestion, Question, QuestionPlan, plan, questions, render

__all__ = [
    "PlannedQuestion",
    "Question",
    "QuestionPlan",
    "context_block",
    "neutralise",
    "plan",
    "questions",
    "render",
    "strip_special",
]
