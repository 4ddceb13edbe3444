"""Fills a bank from a manifest or an export: several seeds at once, failures gathered, resumed where it ended."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from services.clients import SeedCalls
from services.contracts import Seed
from services.deadline import Deadline
from services.errors import Forbidden, StorageFull, Unauthorized, WinnowError
from services.fingerprint import fingerprint
from winnow.bank_files import BankExport, Record
from winnow.seed_calls import BUSY, PATIENCE_S, explain, patiently
from winnow.seed_manifest import SeedRow
from winnow.supervisor import unusable

AT_ONCE = 4
KEY_DIGITS = 64
ADVICE = "Choose another directory with --data-dir."

_ENDS_ALL = (*BUSY, Forbidden, StorageFull, Unauthorized)
"""What the next seed would meet as well."""


@dataclass(frozen=True)
class Item:
    """One seed to be sent.

    Attributes:
        key: 64 hexadecimal digits that name it and its contents, for the journal.
        name: for people.
        send: sends it; the answer is the seed, and whether the bank did not have it.
    """

    key: str
    name: str
    send: Callable[[SeedCalls, Deadline], Awaitable[tuple[Seed, bool]]]


@dataclass
class Imported:
    """What came of an import, so far."""

    added: int = 0
    had: int = 0
    skipped: int = 0
    failed: list[tuple[str, str]] = field(default_factory=list)

    @property
    def done(self) -> int:
        """Seeds that nothing more is done about."""
        return self.added + self.had + self.skipped + len(self.failed)


class Journal:
    """The file of an unfinished import: the keys of what was sent. Without one, all would be uploaded again.

    Args:
        data_dir: holds the journals.
        url: of the gateway; another bank needs another journal.
        source: the manifest or export.
        anew: forget what an earlier import did.

    Raises:
        SupervisorError: the data directory cannot be used.
    """

    def __init__(self, data_dir: Path, url: str, source: Path, *, anew: bool) -> None:
        folder = data_dir / "imports"
        self.path = folder / f"{fingerprint([url, str(source.resolve())])[:16]}.journal"
        try:
            folder.mkdir(parents=True, exist_ok=True)
            if anew:
                self.path.unlink(missing_ok=True)
            self._file = self.path.open("a+", encoding="ascii", errors="replace")
            self._file.seek(0)
            lines = self._file.read().split("\n")
            # What a crash has cut off does not count, and the next key begins a line.
            if lines[-1]:
                self._file.write("\n")
        except OSError as error:
            raise unusable(self.path, error, ADVICE) from error
        self._keys = {line for line in lines if len(line) == KEY_DIGITS}

    def __contains__(self, key: str) -> bool:
        return key in self._keys

    def note(self, key: str) -> None:
        """Remember that the bank has it."""
        self._file.write(f"{key}\n")
        self._file.flush()

    def close(self, *, finished: bool) -> None:
        """Close the file, and remove it where nothing is left to be done."""
        self._file.close()
        if finished:
            self.path.unlink(missing_ok=True)


def row_items(folder: Path, rows: Sequence[SeedRow]) -> Iterator[Item]:
    """The seeds of a manifest; their paths are relative to `folder`."""
    for row in rows:
        path = None if row.path is None else folder / row.path
        yield Item(_row_key(row, path), row.path or row.text or "", partial(_add, path, row))


def export_items(export: BankExport) -> Iterator[Item]:
    """The seeds of an exported bank."""
    for record in export.records():
        name = str(record.get("id"))
        yield Item(fingerprint([name, record.get("version")]), name, partial(_restore, export, record))


async def run_import(
    calls: SeedCalls,
    items: Iterator[Item],
    journal: Journal,
    imported: Imported,
    *,
    timeout_s: float,
    advance: Callable[[Imported], None],
    patience_s: float = PATIENCE_S,
) -> None:
    """Send every item that the journal does not have, AT_ONCE at a time; one that fails does not stop the others.

    Args:
        calls: of the gateway.
        items: are taken one by one, in a thread.
        journal: of this import.
        imported: is filled while the work goes on, also where it is ended early.
        timeout_s: seconds for one attempt of a seed.
        advance: told after every item.
        patience_s: how long a busy service is waited for.

    Raises:
        WinnowError: the gateway cannot be asked, or refuses the caller: what is left would fail as well.
        OSError: the export or the journal cannot be used.
    """
    taking = asyncio.Lock()

    async def worker() -> None:
        while True:
            async with taking:
                item = await asyncio.to_thread(next, items, None)
            if item is None:
                return
            if item.key in journal:
                imported.skipped += 1
            else:
                await send(item)
            advance(imported)

    async def send(item: Item) -> None:
        try:
            _, new = await patiently(partial(item.send, calls), timeout_s, patience_s=patience_s)
        except _ENDS_ALL:
            raise
        except (OSError, ValueError, WinnowError) as error:
            imported.failed.append((item.name, explain(error)))
            return
        journal.note(item.key)
        if new:
            imported.added += 1
        else:
            imported.had += 1

    try:
        async with asyncio.TaskGroup() as group:
            for _ in range(AT_ONCE):
                group.create_task(worker())
    except ExceptionGroup as errors:
        # One failure ends the import; the others are its consequence.
        raise errors.exceptions[0] from errors


async def _add(path: Path | None, row: SeedRow, calls: SeedCalls, deadline: Deadline) -> tuple[Seed, bool]:
    return await calls.add(path, row.request(), deadline)


async def _restore(export: BankExport, record: Record, calls: SeedCalls, deadline: Deadline) -> tuple[Seed, bool]:
    return await calls.restore(await asyncio.to_thread(export.copy, record), deadline)


def _row_key(row: SeedRow, path: Path | None) -> str:
    try:
        found = None if path is None else path.stat()
    except OSError:
        found = None
    contents = None if found is None else [found.st_size, found.st_mtime_ns]
    return fingerprint([row.model_dump(mode="json"), contents])
