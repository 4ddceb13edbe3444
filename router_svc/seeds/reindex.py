"""Indexing the bank with another encoder beside the live one, checking it, and switching; and going back."""

import asyncio
import logging
from dataclasses import dataclass, field
from datetime import UTC, datetime

from router_svc.assets import AssetError
from router_svc.bank import Group
from router_svc.seeds.bank import SeedBank
from router_svc.seeds.embed import SeedEmbedder
from router_svc.seeds.records import SeedRecords
from router_svc.seeds.serving import Serving
from services.contracts import BankStatus, EncoderSpec, ReindexRequest, ReindexStatus, SwitchRequest
from services.errors import Conflict, NotReady, WinnowError

logger = logging.getLogger(__name__)

BATCH = 16
"""Seeds that are embedded between two signs of life."""

STALE_S = 30.0
"""A replica that builds and gave no sign for so long is taken to be gone; another one goes on where it was."""

CHECKED = 32
"""Seeds that must find themselves in the new index before it goes live."""

SELF_SIMILARITY = 0.99
"""Cosine of a seed's vector with itself as an index may give it: some hold vectors in less than 32 bits."""


class NotComplete(Exception):
    """The new index must not go live; the message says why and is shown to operators."""


class Superseded(Exception):
    """This index is no longer wanted, or another replica builds it."""


@dataclass
class Reindexing:
    """Builds the vectors of another encoder from the seeds' stored frames and sentences while the live one serves.

    What is done is recorded seed by seed, so that a crash loses nothing: any replica goes on.

    Attributes:
        records: the truth.
        bank: what serves here.
        embedder: makes vectors.
        default: the encoder that the settings name.
    """

    records: SeedRecords
    bank: SeedBank
    embedder: SeedEmbedder
    default: EncoderSpec
    _building: asyncio.Task[None] | None = field(default=None, init=False)

    async def begin(self, request: ReindexRequest, by: str) -> ReindexStatus:
        """Start to build; the switch follows by itself.

        Raises:
            Conflict: one is being built already.
            NotReady: the records cannot be reached.
        """
        spec = request.encoder or self.default
        if spec == self.bank.serving.engine.spec:
            raise Conflict("This encoder is the live one already.")
        status = ReindexStatus(
            encoder="", state="building", done=0, total=0, started_at=datetime.now(UTC), started_by=by
        )
        row = await self.records.begin_reindex(status, spec)
        self._start(spec)
        return row.reindex or status

    async def switch(self, request: SwitchRequest) -> BankStatus:
        """Make the other encoder of the bank live, e.g. the one before; its vectors are completed first.

        Raises:
            Conflict: the bank has not been indexed with it, or it cannot be loaded here.
            NotReady: records, storage or index cannot be reached.
        """
        row = await self.records.bank()
        if request.encoder != row.live:
            if request.encoder != row.previous or row.previous_spec is None:
                raise Conflict("The bank has no vectors of this encoder: index it first.")
            try:
                async with self.bank.prepared(row.previous_spec) as serving:
                    await self._go_live(serving, row.previous_spec)
            except (AssetError, NotComplete) as error:
                raise Conflict(f"The encoder before cannot go live: {error}.") from error
        return await self.bank.status()

    async def look_after(self) -> None:
        """Go on with what a replica began that is gone. Raises NotReady where the records cannot be reached."""
        if self._building is None or self._building.done():
            row = await self.records.take_over_reindex(STALE_S)
            if row is not None and row.reindex_spec is not None:
                logger.warning("going on with an index that another replica began")
                self._start(row.reindex_spec)

    async def close(self) -> None:
        """Stop building; another replica, or this one after a restart, goes on."""
        if self._building is not None:
            self._building.cancel()
            await asyncio.gather(self._building, return_exceptions=True)

    def _start(self, spec: EncoderSpec) -> None:
        self._building = asyncio.create_task(self._build(spec), name="reindex")

    async def _build(self, spec: EncoderSpec) -> None:
        try:
            async with self.bank.prepared(spec) as serving:
                if serving.fingerprint == self.bank.serving.fingerprint:
                    raise NotComplete("it is the live encoder under another name")
                await self._embed_all(serving)
                await self._go_live(serving, spec)
        except (AssetError, NotComplete) as error:
            await self._fail(str(error))
        except Superseded:
            logger.warning("indexing with another encoder ends here: it was superseded")
        except WinnowError as error:
            # No sign of life from now on: another replica, or this one, goes on when it is stale.
            logger.warning("indexing with another encoder is interrupted", extra={"reason": error.detail})
        except Exception:
            logger.exception("indexing with another encoder failed")
            await self._fail("an error, see the log of the router")

    async def _fail(self, why: str) -> None:
        logger.error("the bank is not indexed with another encoder", extra={"reason": why})
        try:
            await self.records.fail_reindex(why)
        except NotReady:
            logger.exception("the failure could not be recorded")

    async def _embed_all(self, serving: Serving) -> None:
        encoder, after, lost = serving.fingerprint, "", 0
        while seeds := await self.records.without_vectors(encoder, after, BATCH):
            for seed in seeds:
                made = await self.embedder.embed(serving.engine, seed)
                if made is None:
                    lost += seed.state == "active"
                else:
                    await self.records.put_vectors(encoder, {seed.id: made})
            after = seeds[-1].id
            done, total = await self.records.counts(encoder)
            if not await self.records.beat(done, total, encoder):
                raise Superseded
        if lost:
            raise NotComplete(f"{lost} active seed(s) cannot be embedded with it; the log of the router names them")

    async def _go_live(self, serving: Serving, spec: EncoderSpec) -> None:
        await serving.catch_up()
        await _check(serving)
        await self.records.switch(serving.fingerprint, spec)
        self.bank.adopt(serving)
        await serving.engine.index.make_live()


async def _check(serving: Serving) -> None:
    """Raises NotComplete unless every searchable seed is in the index, and a sample of them finds itself."""
    index = serving.engine.index
    rows = list(serving.catalogue.searchable(datetime.now(UTC)).values())
    held = await index.seed_ids()
    missing = sum(row.id not in held for row in rows)
    if missing:
        raise NotComplete(f"{missing} of {len(rows)} searchable seeds are not in its index")
    sample = rows[:: max(1, len(rows) // CHECKED)][:CHECKED]
    vectors = await serving.stored_vectors([row.id for row in sample])
    for row in sample:
        group = Group.of(row.issue, row.kind)
        found = await index.search(vectors[row.id][:1], [group], 1)
        if not found.get(group) or not found[group][0] or found[group][0][0].similarity < SELF_SIMILARITY:
            raise NotComplete(f"the seed {row.id} does not find itself in its index")
