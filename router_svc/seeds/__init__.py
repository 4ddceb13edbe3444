"""The seeds that a router serves: their records in SQL, their frames, what serves them, and what operators do."""

from dataclasses import dataclass

from router_svc.seeds.bank import SeedBank
from router_svc.seeds.embed import SeedEmbedder
from router_svc.seeds.media import SeedMedia
from router_svc.seeds.records import SeedRecords
from router_svc.seeds.reindex import Reindexing
from router_svc.seeds.service import SeedService
from router_svc.seeds.serving import Engine, IssueMatches, Searched, Serving
from router_svc.seeds.upkeep import Upkeep
from router_svc.seeds.watch import SeedWatch

__all__ = [
    "Engine",
    "IssueMatches",
    "Operators",
    "Reindexing",
    "Searched",
    "SeedBank",
    "SeedEmbedder",
    "SeedMedia",
    "SeedRecords",
    "SeedService",
    "SeedWatch",
    "Serving",
    "Upkeep",
]


@dataclass(frozen=True)
class Operators:
    """What operators can do with the bank.

    Attributes:
        seeds: adds, lists, changes and removes seeds.
        bank: says how large it is.
        reindexing: indexes it with another encoder.
    """

    seeds: SeedService
    bank: SeedBank
    reindexing: Reindexing
