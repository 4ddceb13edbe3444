"""The one row of the bank: which encoder is live, which was before, and how far the next one is."""

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

BEAT_S = 30.0
"""Seconds without a beat after which a replica that builds is taken for dead."""


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
        beat_at: when the replica that builds was last heard of; UTC.
    """

    change: int
    live: str | None = None
    live_spec: EncoderSpec | None = None
    previous: str | None = None
    previous_spec: EncoderSpec | None = None
    reindex: ReindexStatus | None = None
    reindex_spec: EncoderSpec | None = None
    beat_at: datetime | None = None

    @property
    def building(self) -> bool:
        """Whether another encoder is being built, by a replica that may be dead."""
        return self.reindex is not None and self.reindex.state == "building"

    def builds(self, encoder: str) -> bool:
        """Whether it is this one that is being built; its fingerprint is known once it is loaded."""
        return self.building and self.reindex is not None and self.reindex.encoder in ("", encoder)

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
        """Notes that the bank is being indexed with another encoder.

        Raises:
            Conflict: a replica is at it, and was heard of in the last 30 s.
        """

        async def work(connection: AsyncConnection) -> BankRow:
            bank = _bank_of(await locked_bank(connection))
            if bank.building and not bank.silent(BEAT_S):
                raise Conflict("The bank is being indexed with another encoder already.")
            values = {"reindex": _json(status), "reindex_spec": _json(spec), "beat_at": datetime.now(UTC)}
            return await _set(connection, values)

        return await self._write(work)

    async def beat(self, done: int, total: int, encoder: str) -> bool:
        """Notes that the replica that builds is alive, and how far it is.

        Returns:
            False where this is no longer what is being built: it ended, or another encoder took its place.
        """

        async def work(connection: AsyncConnection) -> bool:
            bank = _bank_of(await locked_bank(connection))
            if bank.reindex is None or not bank.builds(encoder):
                return False
            status = bank.reindex.model_copy(update={"done": done, "total": total, "encoder": encoder})
            await _set(connection, {"reindex": _json(status), "beat_at": datetime.now(UTC)})
            return True

        return await self._write(work)

    async def fail_reindex(self, error: str) -> None:
        """Notes that building failed, and why; nothing where nothing is being built."""

        async def work(connection: AsyncConnection) -> None:
            bank = _bank_of(await locked_bank(connection))
            if bank.reindex is not None and bank.building:
                ended = {"state": "failed", "error": error, "ended_at": datetime.now(UTC)}
                await _set(connection, {"reindex": _json(bank.reindex.model_copy(update=ended))})

        await self._write(work)

    async def take_over_reindex(self, stale_s: float) -> BankRow | None:
        """Takes over what a dead replica was building.

        Args:
            stale_s: seconds without a beat after which it is taken for dead.

        Returns:
            The bank, with what is to be built, where the caller has to do it now; else None.
        """

        async def work(connection: AsyncConnection) -> BankRow | None:
            bank = _bank_of(await locked_bank(connection))
            if not bank.building or not bank.silent(stale_s):
                return None
            return await _set(connection, {"beat_at": datetime.now(UTC)})

        return await self._write(work)

    async def switch(self, encoder: str, spec: EncoderSpec) -> BankRow:
        """Makes the other encoder live: the one that is built, or the previous one. The live one becomes the previous.

        Args:
            encoder: fingerprint; the live one changes nothing.
            spec: how it is loaded.

        Raises:
            NotFound: it is neither of them.
        """

        async def work(connection: AsyncConnection) -> BankRow:
            bank = _bank_of(await locked_bank(connection))
            if encoder == bank.live:
                return bank
            if encoder != bank.previous and not bank.builds(encoder):
                raise NotFound(f"The bank was not indexed with an encoder `{encoder}`.")
            return await _go_live(connection, bank, encoder, spec)

        return await self._write(work)


async def _go_live(connection: AsyncConnection, bank: BankRow, encoder: str, spec: EncoderSpec) -> BankRow:
    values: dict[str, Any] = {"live": encoder, "live_spec": _json(spec)}
    values |= {"previous": bank.live, "previous_spec": _json(bank.live_spec)}
    if bank.reindex is not None and bank.builds(encoder):
        ended = {"state": "live", "encoder": encoder, "ended_at": datetime.now(UTC)}
        values["reindex"] = _json(bank.reindex.model_copy(update=ended))
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
        beat_at=row["beat_at"],
    )
