"""Indexing the bank with another encoder beside the live one, checking it, and switching; and going back."""

import asyncio
import logging
from dataclasses import dataclass, field
from datetime import UTC, datetime

from router_svc.assets import AssetError
from router_svc.bank import Group
from router_svc.seeds.bank import SeedBank
from router_svc.seeds.embed import SeedEmbedder
from router_svc.seeds.records import BankRow, SeedRecords
from router_svc.seeds.records_bank import STALE_S
from router_svc.seeds.serving import Serving
from services.contracts import BankStatus, EncoderSpec, ReindexRequest, ReindexStatus, SwitchRequest
from services.errors import Conflict, NotReady, WinnowError

logger = logging.getLogger(__name__)

BATCH = 16
"""Seeds that are embedded between two signs of life."""

BEAT_S = 10.0
"""Seconds between two signs of life of a replica that builds; loading a model or filling an index takes longer."""

CHECKED = 32
"""Seeds that must find themselves in the new index before it goes live."""

SELF_SIMILARITY = 0.99
"""Cosine of a seed's vector with itself as an index may give it: some hold vectors in less than 32 bits."""


class NotComplete(Exception):
    """The new index must not go live; the message says why and is shown to operators."""


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
        await self._start(row)
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
                    await self._go_live(serving, row.previous_spec, run=None)
            except (AssetError, NotComplete) as error:
                raise Conflict(f"The encoder before cannot go live: {error}.") from error
        return await self.bank.status()

    async def look_after(self) -> None:
        """Go on with what a replica began that is gone. Raises NotReady where the records cannot be reached."""
        if self._building is None or self._building.done():
            row = await self.records.take_over_reindex(STALE_S)
            if row is not None:
                logger.warning("going on with an index that another replica began")
                await self._start(row)

    async def close(self) -> None:
        """Stop building; another replica, or this one after a restart, goes on."""
        if self._building is not None:
            self._building.cancel()
            await asyncio.gather(self._building, return_exceptions=True)

    async def _start(self, row: BankRow) -> None:
        if row.run is None or row.reindex_spec is None:
            return
        # One that nothing was heard of for too long has lost its right to build.
        await self.close()
        self._building = asyncio.create_task(self._build(row.reindex_spec, row.run), name="reindex")

    async def _build(self, spec: EncoderSpec, run: str) -> None:
        alive = asyncio.create_task(self._stay_alive(run), name="reindex-alive")
        try:
            async with self.bank.prepared(spec) as serving:
                if serving.fingerprint == self.bank.serving.fingerprint:
                    raise NotComplete("it is the live encoder under another name")
                await self._embed_all(serving, run)
                await self._go_live(serving, spec, run)
        except (AssetError, NotComplete) as error:
            await self._fail(run, str(error))
        except Conflict:
            logger.warning("indexing with another encoder ends here: another replica does it, or it is not wanted")
        except WinnowError as error:
            # No sign of life from now on: another replica, or this one, goes on when it is stale.
            logger.warning("indexing with another encoder is interrupted", extra={"reason": error.detail})
        except Exception:
            logger.exception("indexing with another encoder failed")
            await self._fail(run, "an error, see the log of the router")
        finally:
            alive.cancel()
            await asyncio.gather(alive, return_exceptions=True)

    async def _stay_alive(self, run: str) -> None:
        while True:
            await asyncio.sleep(BEAT_S)
            try:
                await self.records.beat(run)
            except NotReady as error:
                logger.warning("a sign of life is not recorded", extra={"reason": error.detail})

    async def _fail(self, run: str, why: str) -> None:
        logger.error("the bank is not indexed with another encoder", extra={"reason": why})
        try:
            await self.records.fail_reindex(run, why)
        except NotReady:
            logger.exception("the failure could not be recorded")

    async def _embed_all(self, serving: Serving, run: str) -> None:
        encoder, after, lost = serving.fingerprint, "", 0
        while seeds := await self.records.without_vectors(encoder, after, BATCH):
            found, later = await self.embedder.vectors(serving.engine, [seed.id for seed in seeds])
            if later:
                raise NotReady(f"{len(later)} seed(s) cannot be embedded for now.")
            lost += sum(seed.state == "active" and seed.id not in found for seed in seeds)
            after = seeds[-1].id
            done, total = await self.records.counts(encoder)
            if not await self.records.progress(run, done, total, encoder):
                raise Conflict("Another replica builds the index by now, or it is no longer wanted.")
        if lost:
            raise NotComplete(f"{lost} active seed(s) cannot be embedded with it; the log of the router names them")

    async def _go_live(self, serving: Serving, spec: EncoderSpec, run: str | None) -> None:
        await serving.catch_up()
        await _check(serving)
        await self.records.switch(serving.fingerprint, spec, run=run)
        self.bank.adopt(serving)
        await serving.engine.index.make_live()


async def _check(serving: Serving) -> None:
    """Raises NotComplete unless every searchable seed is in the index, and a sample of them finds itself."""
    index = serving.engine.index
    now = datetime.now(UTC)
    rows = [row for row in serving.catalogue.rows() if row.searchable(now)]
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
