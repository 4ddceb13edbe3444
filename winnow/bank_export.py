"""Copies a whole bank into files, page by page, and goes on where an earlier run was ended."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial

from services.clients import SeedCalls
from services.contracts import Seed, SeedCopy
from services.errors import NotFound
from winnow.bank_files import BankExport
from winnow.seed_calls import PATIENCE_S, every_page, explain, patiently

AT_ONCE = 4
PAGE = 128
"""Seeds of a part, and of a row group of the Parquet file: 512 KiB of vectors where a seed has 8 of 128 numbers."""


@dataclass
class Exported:
    """What an export did, so far: seeds saved by this run and by an earlier one, and those that cannot be had."""

    saved: int = 0
    earlier: int = 0
    failed: list[tuple[str, str]] = field(default_factory=list)

    @property
    def done(self) -> int:
        """Seeds that nothing more is done about."""
        return self.saved + self.earlier + len(self.failed)


async def export_bank(
    calls: SeedCalls,
    export: BankExport,
    exported: Exported,
    *,
    source: str,
    timeout_s: float,
    advance: Callable[[Exported], None],
    patience_s: float = PATIENCE_S,
) -> int:
    """Save every seed, whatever its state, and return how many the export holds.

    What is added while it runs may be missing; what is changed is saved as it was at one moment.

    Args:
        calls: of the gateway.
        export: where it goes.
        exported: is filled while the work goes on.
        source: URL of the gateway.
        timeout_s: seconds for one call.
        advance: told after every page.
        patience_s: how long a busy service is waited for.

    Raises:
        WinnowError: the gateway cannot be asked, or refuses the caller. What is saved stays for the next run.
        OSError, ValueError: the directory cannot be used, or holds a whole export, or one of another gateway.
    """
    versions = await asyncio.to_thread(export.begin, source)
    async for seeds in every_page(calls, timeout_s, limit=PAGE, patience_s=patience_s):
        wanted = [seed for seed in seeds if versions.get(seed.id) != seed.version]
        exported.earlier += len(seeds) - len(wanted)
        copies = await _copies(calls, export, wanted, timeout_s, patience_s, exported)
        if copies:
            await asyncio.to_thread(export.save_part, copies)
        exported.saved += len(copies)
        advance(exported)
    return await asyncio.to_thread(export.finish)


async def _copies(
    calls: SeedCalls,
    export: BankExport,
    seeds: Sequence[Seed],
    timeout_s: float,
    patience_s: float,
    exported: Exported,
) -> list[SeedCopy]:
    """The copies of the seeds that can be had, their frames saved and emptied."""
    places = asyncio.Semaphore(AT_ONCE)

    async def fetch(seed: Seed) -> SeedCopy | None:
        async with places:
            try:
                copy = await patiently(partial(calls.copy, seed.id), timeout_s, patience_s=patience_s)
            except NotFound as error:
                exported.failed.append((seed.id, explain(error)))
                return None
            await asyncio.to_thread(export.save_frames, copy.seed.id, copy.frames)
        # A page of frames would fill the memory; how many there are is all that the part needs.
        return copy.model_copy(update={"frames": (b"",) * len(copy.frames)})

    try:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(fetch(seed)) for seed in seeds]
    except ExceptionGroup as errors:
        # One failure ends the export; the others are its consequence.
        raise errors.exceptions[0] from errors
    return [copy for task in tasks if (copy := task.result()) is not None]
