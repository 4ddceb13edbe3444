"""From similarities to risk: normalisation against background traffic, and the rule that combines matches. Pure."""

from services.scoring.background import Background
from services.scoring.risk import Match, Risk, risk_of

__all__ = ["Background", "Match", "Risk", "risk_of"]
