"""Indexes of seed vectors: what they promise, and a small one in memory; who serves imports the real ones."""

from router_svc.bank.memory import MemoryIndex
from router_svc.bank.protocol import (
    NOTHING,
    Entry,
    Excluded,
    Found,
    Group,
    Hit,
    VectorIndex,
    Vectors,
    seed_id_of,
)

__all__ = [
    "NOTHING",
    "Entry",
    "Excluded",
    "Found",
    "Group",
    "Hit",
    "MemoryIndex",
    "VectorIndex",
    "Vectors",
    "seed_id_of",
]
