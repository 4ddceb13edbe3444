"""Vectors of seeds under an encoder: those that the records have, and for the others from frames or sentence."""

import asyncio
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from router_svc.bank import Vectors
from router_svc.seeds.media import SeedMedia
from router_svc.seeds.records import SeedRecords
from services.contracts import Seed
from services.deadline import Deadline
from services.encoder import TextUnsupported
from services.errors import InvalidPayload, NotFound
from services.media.jpeg import decode_jpeg

if TYPE_CHECKING:
    from router_svc.seeds.serving import Engine

logger = logging.getLogger(__name__)

EMBED_TIMEOUT_S = 60.0
"""For the frames of one seed, behind the videos that are routed meanwhile."""


@dataclass(frozen=True)
class SeedEmbedder:
    """Finds or makes the vectors of seeds."""

    records: SeedRecords
    media: SeedMedia

    async def vectors(self, engine: "Engine", seed_ids: Sequence[str]) -> dict[str, Vectors]:
        """By seed, [k, dim] each; made and recorded where there are none yet. A seed that cannot be embedded is absent.

        Raises:
            NotReady: records or storage cannot be reached.
        """
        encoder = engine.encoder.fingerprint
        found = dict(await self.records.vectors(encoder, seed_ids))
        for seed_id in seed_ids:
            if seed_id not in found:
                made = await self.embed(engine, await self.records.get(seed_id))
                if made is not None:
                    await self.records.put_vectors(encoder, {seed_id: made})
                    found[seed_id] = made
        return found

    async def embed(self, engine: "Engine", seed: Seed) -> Vectors | None:
        """The vectors of a seed from its stored frames or its sentence; None, and a line in the log, where none can be.

        Raises:
            NotReady: the storage cannot be reached.
        """
        try:
            if seed.text is not None:
                return await engine.batcher.embed_texts([seed.text])
            files = await self.media.frames(seed.id, seed.vectors)
            frames = [await asyncio.to_thread(decode_jpeg, data) for data in files]
            return await engine.batcher.embed(frames, Deadline.after(EMBED_TIMEOUT_S))
        except (TextUnsupported, NotFound, InvalidPayload) as error:
            logger.error(
                "a seed cannot be embedded and is not searched for",
                extra={"seed": seed.id, "encoder": engine.encoder.fingerprint, "reason": str(error)},
            )
            return None
