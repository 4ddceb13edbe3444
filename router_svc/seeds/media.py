"""The frames of seeds in storage: what people look at, and what another encoder is built from."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta

from services.contracts.seeds import SEED_ID
from services.errors import NotFound, NotReady
from services.storage import Storage, StorageUnavailable


class SeedMedia:
    """JPEG files under `seeds/<id>/<n>.jpg`, `n` from 0.

    Every method raises NotReady where the storage cannot be reached, and NotFound for an id that is none.

    Args:
        storage: where they are.
    """

    def __init__(self, storage: Storage) -> None:
        self._storage = storage

    async def put(self, seed_id: str, frames: Sequence[bytes]) -> None:
        """Keeps the JPEG files of a seed; the same seed again has the same number of them."""
        for index, frame in enumerate(frames):
            with _reached():
                await self._storage.put(_key(seed_id, index), frame)

    async def frame(self, seed_id: str, index: int) -> bytes:
        """One JPEG file.

        Raises:
            NotFound: there is none.
        """
        with _reached():
            return await self._storage.read(_key(seed_id, index))

    async def frames(self, seed_id: str, count: int) -> list[bytes]:
        """The first `count` JPEG files.

        Raises:
            NotFound: one is missing.
        """
        return [await self.frame(seed_id, index) for index in range(count)]

    async def has(self, seed_id: str, count: int) -> bool:
        """Whether a seed has its `count` JPEG files, which were written in order."""
        with _reached():
            return await self._storage.has(_key(seed_id, count - 1))

    async def ids(self) -> set[str]:
        """Of the seeds that have files."""
        with _reached():
            keys = await self._storage.older("seeds", datetime.now(UTC) + timedelta(days=1))
        return {key.split("/")[1] for key in keys}

    async def delete(self, seed_id: str) -> None:
        """Deletes all files of a seed; none there is no error."""
        with _reached():
            await self._storage.delete(_folder(seed_id))


def _folder(seed_id: str) -> str:
    # An id may come from anybody, and must not lead to another file.
    if SEED_ID.fullmatch(seed_id) is None:
        raise NotFound("There is no seed of this id.")
    return f"seeds/{seed_id}"


def _key(seed_id: str, index: int) -> str:
    return f"{_folder(seed_id)}/{index:d}.jpg"


@contextmanager
def _reached() -> Iterator[None]:
    try:
        yield
    except FileNotFoundError as error:
        raise NotFound("The seed has no such frame.") from error
    except StorageUnavailable as error:
        raise NotReady(f"The frames of seeds cannot be reached: {error}.") from error
