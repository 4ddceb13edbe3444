"""The seed bank of this replica: which encoder serves, keeping up with the records, and the change to another one."""

import asyncio
import logging
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime

from router_svc.metrics import RouterMetrics
from router_svc.seeds.catalogue import Catalogue
from router_svc.seeds.records import BankRow, SeedRecords
from router_svc.seeds.serving import Serving
from services.contracts import BankStatus, EncoderSpec
from services.errors import NotReady, WinnowError

logger = logging.getLogger(__name__)

CHANGE_EVERY_S = 30.0
"""Between two attempts to follow to an encoder that this replica could not load, or has other files of."""

StartServing = Callable[[EncoderSpec | None], Awaitable[Serving]]
"""Makes a Serving for an encoder, None being the settings' own. Raises AssetError, or what loading a model raises."""


class SeedBank:
    """Searches with the live encoder of the records, whatever the settings name, and follows when it changes.

    A replica whose database is down goes on with what it knows. One whose index does not answer is not ready.

    Args:
        records: the truth.
        start: makes a Serving.
        metrics: shows the bank.
        sync_s: seconds between two looks at the records.
        check_s: seconds between two comparisons of the whole index with them.
    """

    def __init__(
        self,
        records: SeedRecords,
        start: StartServing,
        metrics: RouterMetrics,
        *,
        sync_s: float,
        check_s: float,
    ) -> None:
        self._records = records
        self._start = start
        self._metrics = metrics
        self._sync_s = sync_s
        self._check_s = check_s
        self._serving: Serving | None = None
        self._row: BankRow | None = None
        self._users: dict[Serving, int] = {}
        self._retired: set[Serving] = set()
        self._closing = asyncio.Lock()
        self._loop: asyncio.Task[None] | None = None
        self._changing: asyncio.Task[None] | None = None
        self._checked_at = time.monotonic()
        self._missing = "it is being opened"
        self._summary: BankStatus | None = None
        self._named: str | None = None
        self._change_at = float("-inf")

    async def open(self) -> None:
        """Load the encoder and take in what the records hold, as far as they can be reached; then keep up with them.

        Raises:
            AssetError: the encoder cannot be loaded.
        """
        with suppress(NotReady):
            self._row = await self._records.bank()
        row = self._row
        self._serving = await self._start(None if row is None else row.live_spec)
        self._metrics.serves(self._serving.fingerprint)
        with suppress(NotReady):
            await self._claim(row, self._serving)
        await self._look()
        self._loop = asyncio.create_task(self._keep_up(), name="seed-bank")

    async def close(self) -> None:
        """Stop keeping up, and close what serves."""
        tasks = [task for task in (self._loop, self._changing) if task is not None]
        self._loop = self._changing = None
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        servings = {*self._retired, *(() if self._serving is None else (self._serving,))}
        self._serving = None
        for serving in servings:
            await serving.close()

    @property
    def serving(self) -> Serving:
        """What serves now. Raises NotReady before `open` and after `close`."""
        if self._serving is None:
            raise NotReady("The seed bank is closed.")
        return self._serving

    @asynccontextmanager
    async def use(self) -> AsyncIterator[Serving]:
        """What serves now, for a whole request: it stays open although another encoder may go live meanwhile."""
        serving = self.serving
        self._users[serving] = self._users.get(serving, 0) + 1
        try:
            yield serving
        finally:
            self._users[serving] -= 1

    async def catch_up(self) -> None:
        """Take in every change now. Raises NotReady where records, storage or index cannot be reached."""
        await self.serving.catch_up()

    def require(self) -> Catalogue:
        """What can be searched for. Raises NotReady where the bank never was in step with the records."""
        serving = self.serving
        if not serving.synced:
            raise NotReady(f"The seed bank is not ready: {self._missing}")
        return serving.catalogue

    async def status(self) -> BankStatus:
        """How large the bank is. Raises NotReady where the bank never was in step, or the records cannot be asked."""
        catalogue = self.require()
        now = datetime.now(UTC)
        row = await self._records.bank()
        expired = sum(
            each.state == "active" and each.expires_at is not None and each.expires_at <= now
            for each in catalogue.rows()
        )
        return self.summary().model_copy(
            update={
                "previous": row.previous,
                "states": await self._records.states(),
                "expired": expired,
                "reindex": row.reindex,
            }
        )

    def summary(self) -> BankStatus:
        """What this replica knows by itself. Raises NotReady where the bank never was in step with the records."""
        catalogue, serving = self.require(), self.serving
        revision = serving.revision()
        if self._summary is None or self._summary.revision != revision:
            rows = catalogue.searchable(datetime.now(UTC)).values()
            self._summary = BankStatus(
                revision=revision,
                encoder=serving.fingerprint,
                seeds=dict(sorted(Counter(row.issue for row in rows).items())),
                vectors=sum(row.vectors for row in rows),
            )
            self._metrics.show_bank(self._summary)
        return self._summary

    async def _keep_up(self) -> None:
        while True:
            await asyncio.sleep(self._sync_s)
            await self._look()

    async def _look(self) -> None:
        """One look at the records; a failure is logged once and told by readiness or a metric."""
        try:
            self._row = row = await self._follow(await self._records.bank())
            serving = self.serving
            if not serving.synced and row.live != serving.fingerprint:
                # Every seed would be embedded for an encoder that is not to serve.
                raise NotReady(f"the live encoder {row.live} is being loaded")
            if not serving.synced or row.change > serving.seen:
                await serving.catch_up()
                serving.seen = row.change
            if time.monotonic() - self._checked_at > self._check_s:
                self._checked_at = time.monotonic()
                await serving.check()
            await serving.put_away_expired()
            if self._named != row.live == serving.fingerprint:
                await serving.engine.index.make_live()
                self._named = row.live
        except WinnowError as error:
            self._say(error.detail)
        except Exception:
            logger.exception("the seed bank cannot keep up with the records")
            self._say("an error, see the log")
        else:
            self._missing = ""
            self._metrics.bank_in_step()
            self.summary()
        try:
            await self._close_unused()
        except Exception:
            logger.exception("an encoder that is no longer used could not be closed")

    def _say(self, missing: str) -> None:
        if missing != self._missing:
            logger.warning("the seed bank cannot keep up with the records", extra={"reason": missing})
        self._missing = missing

    async def _claim(self, row: BankRow | None, serving: Serving) -> None:
        """At the start alone: later, replicas whose settings or files differ would take the bank from one another."""
        if row is None or row.live == serving.fingerprint:
            return
        if row.live is not None:
            # The files behind the live encoder's name are others than before, e.g. those of a new release.
            logger.warning(
                "the live encoder has new files: its seeds are embedded again",
                extra={"encoder": serving.fingerprint, "before": row.live},
            )
        await self._records.claim_live(serving.fingerprint, serving.engine.spec, force=True)

    async def _follow(self, row: BankRow) -> BankRow:
        """Serve with the encoder that is live in the records; where none is, this replica's becomes it."""
        serving = self.serving
        if row.live is None:
            row = await self._records.claim_live(serving.fingerprint, serving.engine.spec)
        changing = self._changing is not None and not self._changing.done()
        if row.live not in (None, serving.fingerprint) and not changing and time.monotonic() >= self._change_at:
            # Loading an encoder takes seconds of CPU: one that cannot be had here is not tried at every look.
            self._change_at = time.monotonic() + CHANGE_EVERY_S
            self._changing = asyncio.create_task(self._change_to(row), name="seed-bank-change")
        return row

    async def _change_to(self, row: BankRow) -> None:
        """Serve with the live encoder as soon as it has taken in every seed.

        Until then the present one serves and keeps up with the records: to load a model and fill its index may take
        minutes.
        """
        try:
            async with self.prepared(row.live_spec) as fresh:
                if fresh.fingerprint != row.live:
                    raise NotReady(
                        f"the live encoder is {row.live}, and the files of this replica make {fresh.fingerprint}"
                    )
                await fresh.catch_up()
                live = (await self._records.bank()).live
                if live == fresh.fingerprint != self.serving.fingerprint:
                    self.adopt(fresh)
        except WinnowError as error:
            logger.warning("this replica cannot follow to the live encoder", extra={"reason": error.detail})
        except Exception:
            logger.exception("this replica cannot follow to the live encoder")
        else:
            self._change_at = float("-inf")

    @asynccontextmanager
    async def prepared(self, spec: EncoderSpec | None) -> AsyncIterator[Serving]:
        """A Serving for another encoder, beside the one that serves; closed at the end unless it was adopted.

        Raises:
            AssetError: the encoder cannot be loaded.
        """
        # One that served before may have the index of this encoder open.
        await self._close_unused()
        fresh = await self._start(spec)
        try:
            yield fresh
        finally:
            if fresh is not self._serving:
                await fresh.close()

    def adopt(self, fresh: Serving) -> None:
        """Serve with this from the next request on; the one before is closed when its last request has ended."""
        old, self._serving = self.serving, fresh
        self._retired.add(old)
        self._metrics.serves(fresh.fingerprint, instead_of=old.fingerprint)
        logger.info("another encoder serves", extra={"encoder": fresh.fingerprint, "before": old.fingerprint})

    async def _close_unused(self) -> None:
        async with self._closing:
            for serving in [each for each in self._retired if not self._users.get(each)]:
                await serving.close()
                # Only now: where the caller leaves meanwhile, it is closed the next time.
                self._retired.discard(serving)
                self._users.pop(serving, None)
