"""From similarities to risk: normalisation against background traffic, and the rule that combines matches. Pure."""

from services.scoring.background import Background
from services.scoring.escalation import asked_issues, choose_frames, evidence_frames
from services.scoring.risk import Match, Risk, risk_of
from services.scoring.share import takes_part

__all__ = ["Background", "Match", "Risk", "asked_issues", "choose_frames", "evidence_frames", "risk_of", "takes_part"]
