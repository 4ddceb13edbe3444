"""The seed bank: what it promises, Qdrant as the real one, and arrays in memory for tests."""

from router_svc.bank.memory import MemoryBank
from router_svc.bank.protocol import Found, IssueMatches, SeedBank, revision_of, seed_id_of

__all__ = ["Found", "IssueMatches", "MemoryBank", "SeedBank", "revision_of", "seed_id_of"]
