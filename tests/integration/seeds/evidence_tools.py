"""What the tests of kept videos share: waiting for what happens beside the requests, and what lies in a folder."""

import asyncio
from collections.abc import Callable
from pathlib import Path


async def until(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not holds():
            await asyncio.sleep(0.01)


def files(folder: Path) -> dict[str, bytes]:
    found = [path for path in folder.rglob("*") if path.is_file()] if folder.exists() else []
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in found}
