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
from services.errors import DeadlineExceeded, InvalidPayload, NotFound, NotReady, Overloaded
from services.media.jpeg import decode_jpeg

if TYPE_CHECKING:
    from router_svc.seeds.serving import Engine

logger = logging.getLogger(__name__)

EMBED_TIMEOUT_S = 60.0
"""For one seed, its frames read and behind the videos that are routed meanwhile."""


@dataclass(frozen=True)
class SeedEmbedder:
    """Finds or makes the vectors of seeds."""

    records: SeedRecords
    media: SeedMedia

    async def vectors(self, engine: "Engine", seed_ids: Sequence[str]) -> tuple[dict[str, Vectors], set[str]]:
        """Vectors by seed, [k, dim] each, made and recorded where there are none yet; and the seeds that must wait.

        A seed that cannot be embedded at all is in neither.

        Raises:
            NotReady: the records cannot be reached.
        """
        found = dict(await self.records.vectors(engine.encoder.fingerprint, seed_ids))
        later = set()
        for seed_id in seed_ids:
            if seed_id not in found:
                seed = await self.records.get(seed_id)
                try:
                    made = await self._embed(engine, seed)
                except (NotReady, Overloaded, DeadlineExceeded) as error:
                    logger.warning("a seed must wait for its vectors", extra={"seed": seed_id, "reason": error.detail})
                    later.add(seed_id)
                    continue
                if made is not None:
                    await self.records.put_vectors(engine.encoder.fingerprint, {seed_id: made})
                    found[seed_id] = made
        return found, later

    async def _embed(self, engine: "Engine", seed: Seed) -> Vectors | None:
        """The vectors of a seed from its stored frames or its sentence; None where none can be made of them."""
        try:
            async with asyncio.timeout(EMBED_TIMEOUT_S):
                if seed.text is not None:
                    return await engine.batcher.embed_texts([seed.text])
                files = await self.media.frames(seed.id, seed.vectors)
                frames = [await asyncio.to_thread(decode_jpeg, data) for data in files]
                return await engine.batcher.embed(frames, Deadline.after(EMBED_TIMEOUT_S))
        except TimeoutError as error:
            raise NotReady(f"The seed was not embedded within {EMBED_TIMEOUT_S:g} s.") from error
        except (NotReady, Overloaded, DeadlineExceeded):
            raise
        except Exception as error:
            # An encoder may fail in any way on one seed, which must not keep the others out.
            expected = isinstance(error, (TextUnsupported, NotFound, InvalidPayload))
            logger.error(
                "a seed cannot be embedded and is not searched for",
                extra={"seed": seed.id, "encoder": engine.encoder.fingerprint, "reason": str(error)},
                exc_info=None if expected else error,
            )
            return None
