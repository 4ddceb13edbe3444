"""The models that cross the wire between client, gateway, router and ranker. Units are in the field descriptions."""

from services.contracts.base import (
    AssemblyMethod,
    ContextUse,
    IssueId,
    Mode,
    Probability,
    PromptName,
    RequestModel,
    ResultModel,
    Seconds,
    SeedKind,
    Sha256,
    Timings,
)
from services.contracts.context import Context
from services.contracts.decision import Decision, IssueDecision, ModelsUsed, Reason, Route, Verdict
from services.contracts.media import MediaFacts
from services.contracts.moderation import ModerationRequest
from services.contracts.policy_slice import Assembly, IssuePolicy, IssueQuestions, PolicySlice
from services.contracts.problem import FieldProblem, Health, Problem
from services.contracts.rank import Answer, Frame, IssueRank, ModelIdentity, QuestionKind, RankRequest, RankResult
from services.contracts.route import IssueRisk, RankMissing, RouteRequest, RouteResult, SeedMatch
from services.contracts.seeds import BankStatus, Seed, SeedRequest
from services.contracts.state import RouterState

__all__ = [
    "Answer",
    "Assembly",
    "AssemblyMethod",
    "BankStatus",
    "Context",
    "ContextUse",
    "Decision",
    "FieldProblem",
    "Frame",
    "Health",
    "IssueDecision",
    "IssueId",
    "IssuePolicy",
    "IssueQuestions",
    "IssueRank",
    "IssueRisk",
    "MediaFacts",
    "Mode",
    "ModelIdentity",
    "ModelsUsed",
    "ModerationRequest",
    "PolicySlice",
    "Probability",
    "Problem",
    "PromptName",
    "QuestionKind",
    "RankMissing",
    "RankRequest",
    "RankResult",
    "Reason",
    "RequestModel",
    "ResultModel",
    "Route",
    "RouteRequest",
    "RouteResult",
    "RouterState",
    "Seconds",
    "Seed",
    "SeedKind",
    "SeedMatch",
    "SeedRequest",
    "Sha256",
    "Timings",
    "Verdict",
]
