"""Loads seeds into a router's bank, and says whether the bundled ones are the ones for it."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from services.clients import RouterClient
from services.deadline import Deadline
from winnow.seed_manifest import SeedRow, read_rows

BUNDLED = Path(__file__).with_name("bundled")
UNFINISHED = "seeds.unfinished"
AT_ONCE = 2
SEED_TIMEOUT_S = 120.0
STATUS_TIMEOUT_S = 10.0
OF_ONES_OWN = (
    "QDRANT_URL",
    "WINNOW_ROUTER_QDRANT_URL",
    "WINNOW_ROUTER_ENCODER_MODEL",
    "WINNOW_GATEWAY_POLICY_PATH",
)
"""With a store, an encoder or a policy of one's own, seeds of the demo world would be noise in a real bank."""


def read_manifest(directory: Path) -> list[SeedRow]:
    """The rows of `manifest.jsonl` in the directory, at least one.

    Raises:
        OSError: there is no such file.
        ValueError: a row is wrong, or there is none.
    """
    return read_rows(directory / "manifest.jsonl")


def bundled_fit(environment: Mapping[str, str]) -> bool:
    """Whether the bundled seeds may fill an empty bank: bank, encoder and policy are the embedded ones."""
    return not any(environment.get(name) for name in OF_ONES_OWN)


async def is_empty(router: RouterClient) -> bool:
    """Whether the router's bank has no seed."""
    return not (await router.bank(Deadline.after(STATUS_TIMEOUT_S))).vectors


async def load_seeds(
    router: RouterClient, directory: Path, data_dir: Path, *, advance: Callable[[int, int], None]
) -> int:
    """Add every seed of the directory, unless the bank has seeds already; return how many were added.

    A load that was interrupted is done again as a whole: adding a seed twice makes one seed.

    Args:
        router: whose bank it is.
        directory: holds `manifest.jsonl` and the videos.
        data_dir: remembers an unfinished load.
        advance: told how many are done, and of how many.

    Raises:
        services.errors.WinnowError: the router refused a seed or could not be asked.
        OSError, ValueError: the manifest or a video cannot be read, or there is no seed.
    """
    unfinished = data_dir / UNFINISHED
    if not await is_empty(router) and not await asyncio.to_thread(unfinished.exists):
        return 0
    rows = await asyncio.to_thread(read_manifest, directory)
    await asyncio.to_thread(unfinished.touch)
    await add_seeds(router, directory, rows, advance=advance)
    await asyncio.to_thread(unfinished.unlink, missing_ok=True)
    return len(rows)


async def add_seeds(
    router: RouterClient, directory: Path, rows: Sequence[SeedRow], *, advance: Callable[[int, int], None]
) -> None:
    """Add seeds to the bank, whatever it holds; one that it has already stays one seed.

    Args:
        router: whose bank it is.
        directory: what the rows' paths are relative to.
        rows: the seeds.
        advance: told how many are done, and of how many.

    Raises:
        services.errors.WinnowError: the router refused a seed or could not be asked; the others are not waited for.
        OSError: a video cannot be read.
    """
    places = asyncio.Semaphore(AT_ONCE)
    done = 0

    async def add(row: SeedRow) -> None:
        nonlocal done
        async with places:
            path = None if row.path is None else directory / row.path
            await router.seeds.add(path, row.request(), Deadline.after(SEED_TIMEOUT_S))
        done += 1
        advance(done, len(rows))

    try:
        async with asyncio.TaskGroup() as group:
            for row in rows:
                group.create_task(add(row))
    except ExceptionGroup as errors:
        # One failure ends the load; the others are its consequence.
        raise errors.exceptions[0] from errors
