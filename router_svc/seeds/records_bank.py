"""The one row of the bank: which encoder is live, which was before, and how far the next one is."""

import uuid
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import RowMapping, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from router_svc.seeds.records_base import RecordsBase, locked_bank, next_change
from router_svc.seeds.tables import seed_bank, seeds
from services.contracts import EncoderSpec, ReindexStatus
from services.database import without_nul
from services.errors import Conflict, NotFound

STALE_S = 30.0
"""Seconds without a beat after which a replica that builds is taken for dead; another one may go on where it was."""


@dataclass(frozen=True, slots=True)
class BankRow:
    """The bank as its row says.

    Attributes:
        change: number of the last change of the bank.
        live: fingerprint of the encoder that is searched with; None in a new bank.
        live_spec: how that encoder is loaded.
        previous: fingerprint of the encoder that was live before, to go back to.
        previous_spec: how that one is loaded.
        reindex: how far the bank is indexed with another encoder, or what became of it.
        reindex_spec: how that one is loaded.
        run: names the replica's attempt that builds; every other attempt, slow as it may be, has lost its right to.
        beat_at: when that one was last heard of; UTC.
    """

    change: int
    live: str | None = None
    live_spec: EncoderSpec | None = None
    previous: str | None = None
    previous_spec: EncoderSpec | None = None
    reindex: ReindexStatus | None = None
    reindex_spec: EncoderSpec | None = None
    run: str | None = None
    beat_at: datetime | None = None

    @property
    def building(self) -> bool:
        """Whether another encoder is being built, by a replica that may be dead."""
        return self.reindex is not None and self.reindex.state == "building"

    def builds(self, run: str) -> bool:
        """Whether it is this attempt that builds."""
        return self.building and self.run == run

    def silent(self, seconds: float) -> bool:
        """Whether nothing was heard of the replica that builds for so long."""
        return self.beat_at is None or self.beat_at < datetime.now(UTC) - timedelta(seconds=seconds)


class BankRecords(RecordsBase):
    """The bank's row; see RecordsBase."""

    async def bank(self) -> BankRow:
        """The bank as it is now."""
        return _bank_of((await self._rows(select(seed_bank).where(seed_bank.c.id == 1)))[0])

    async def claim_live(self, encoder: str, spec: EncoderSpec, *, force: bool = False) -> BankRow:
        """Makes an encoder live where none is, or where the bank has no seeds but removed ones.

        Args:
            encoder: fingerprint.
            spec: how it is loaded.
            force: takes the place of another one too, which becomes the previous one.

        Returns:
            The bank, which may have another encoder live.
        """

        async def work(connection: AsyncConnection) -> BankRow:
            bank = _bank_of(await locked_bank(connection))
            if bank.live == encoder:
                return bank
            if bank.live is not None and not force and await _has_seeds(connection):
                return bank
            return await _go_live(connection, bank, encoder, spec)

        return await self._write(work)

    async def begin_reindex(self, status: ReindexStatus, spec: EncoderSpec) -> BankRow:
        """Notes that the bank is being indexed with another encoder, by the caller from now on.

        Returns:
            The bank, whose `run` the caller names from now on.

        Raises:
            Conflict: a replica is at it, and was heard of in the last 30 s.
        """

        async def work(connection: AsyncConnection) -> BankRow:
            bank = _bank_of(await locked_bank(connection))
            if bank.building and not bank.silent(STALE_S):
                raise Conflict("The bank is being indexed with another encoder already.")
            return await _set(connection, {"reindex": _json(status), "reindex_spec": _json(spec)} | _lease())

        return await self._write(work)

    async def beat(self, run: str) -> bool:
        """Notes that the replica that builds is alive; False where it is no longer this attempt that builds."""
        return await self._go_on(run, {})

    async def progress(self, run: str, done: int, total: int, encoder: str) -> bool:
        """Notes how far the replica that builds is, and that it is alive; False as `beat`."""
        return await self._go_on(run, {"done": done, "total": total, "encoder": encoder})

    async def fail_reindex(self, run: str, error: str) -> None:
        """Notes that building failed, and why; nothing where it is no longer this attempt that builds."""
        await self._go_on(run, {"state": "failed", "error": error, "ended_at": datetime.now(UTC)})

    async def take_over_reindex(self, stale_s: float) -> BankRow | None:
        """Takes over what a dead replica was building.

        Args:
            stale_s: seconds without a beat after which it is taken for dead.

        Returns:
            The bank, with what is to be built and by which `run`, where the caller has to do it now; else None.
        """

        async def work(connection: AsyncConnection) -> BankRow | None:
            bank = _bank_of(await locked_bank(connection))
            if not bank.building or not bank.silent(stale_s):
                return None
            return await _set(connection, _lease())

        return await self._write(work)

    async def switch(self, encoder: str, spec: EncoderSpec, *, run: str | None = None) -> BankRow:
        """Makes another encoder live; the live one becomes the previous.

        Args:
            encoder: fingerprint.
            spec: how it is loaded.
            run: the attempt that has built it; None goes back to the previous encoder.

        Raises:
            NotFound: it is not the previous one.
            Conflict: it is no longer this attempt that builds.
        """

        async def work(connection: AsyncConnection) -> BankRow:
            bank = _bank_of(await locked_bank(connection))
            if run is not None:
                if not bank.builds(run):
                    raise Conflict("Another replica builds the index by now, or it is no longer wanted.")
                return await _go_live(connection, bank, encoder, spec, ended=True)
            if encoder == bank.live:
                return bank
            if encoder != bank.previous:
                raise NotFound(f"The bank was not indexed with an encoder `{encoder}`.")
            return await _go_live(connection, bank, encoder, spec)

        return await self._write(work)

    async def _go_on(self, run: str, update: dict[str, Any]) -> bool:
        async def work(connection: AsyncConnection) -> bool:
            bank = _bank_of(await locked_bank(connection))
            if bank.reindex is None or not bank.builds(run):
                return False
            status = bank.reindex.model_copy(update=update)
            await _set(connection, {"reindex": _json(status), "beat_at": datetime.now(UTC)})
            return True

        return await self._write(work)


def _lease() -> dict[str, Any]:
    return {"run": uuid.uuid4().hex, "beat_at": datetime.now(UTC)}


async def _go_live(
    connection: AsyncConnection, bank: BankRow, encoder: str, spec: EncoderSpec, *, ended: bool = False
) -> BankRow:
    values: dict[str, Any] = {}
    if encoder != bank.live:
        values |= {"live": encoder, "live_spec": _json(spec)}
        values |= {"previous": bank.live, "previous_spec": _json(bank.live_spec)}
    if ended and bank.reindex is not None:
        status = bank.reindex.model_copy(update={"state": "live", "encoder": encoder, "ended_at": datetime.now(UTC)})
        values["reindex"] = _json(status)
    await next_change(connection)
    return await _set(connection, values)


async def _has_seeds(connection: AsyncConnection) -> bool:
    return await connection.scalar(select(seeds.c.id).where(seeds.c.state != "removed").limit(1)) is not None


async def _set(connection: AsyncConnection, values: dict[str, Any]) -> BankRow:
    await connection.execute(update(seed_bank).where(seed_bank.c.id == 1).values(values))
    return _bank_of(await locked_bank(connection))


def _json(model: EncoderSpec | ReindexStatus | None) -> Any:
    return None if model is None else without_nul(model.model_dump(mode="json"))


def _bank_of(row: RowMapping) -> BankRow:
    def spec(name: str) -> EncoderSpec | None:
        return None if row[name] is None else EncoderSpec.model_validate(row[name])

    return BankRow(
        change=row["change"],
        live=row["live"],
        live_spec=spec("live_spec"),
        previous=row["previous"],
        previous_spec=spec("previous_spec"),
        reindex=None if row["reindex"] is None else ReindexStatus.model_validate(row["reindex"]),
        reindex_spec=spec("reindex_spec"),
        run=row["run"],
        beat_at=row["beat_at"],
    )
