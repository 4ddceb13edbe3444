"""Files by key in a directory, in S3 or in memory, through fsspec: frames of seeds, media of decisions."""

import asyncio
import contextlib
import os
import re
import secrets
import shutil
import threading
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path
from typing import IO, Any, Protocol, TypeVar

import fsspec
from anyio import CapacityLimiter, to_thread
from fsspec.implementations.local import LocalFileSystem

T = TypeVar("T")

_PART = re.compile(r"[A-Za-z0-9._-]+")
_MAX_CALLS = 16
"""Calls at a time. Of their own, so that a storage that hangs leaves the threads of everything else free."""


class StorageUnavailable(Exception):
    """The storage cannot be reached, or refuses; the message says how and is safe to log."""


class StorageUrlError(ValueError):
    """The URL of the storage cannot be used; the message says why, without the URL, which may hold a password."""


class Storage:
    """Files by key, e.g. `seeds/0f3c/2.jpg`: parts of letters, digits, `.`, `_` and `-`, separated by `/`.

    A file is there whole or not at all, and is on disk when the call that writes it returns; written again it is
    replaced. Nothing blocks the event loop. Every call raises StorageUnavailable where the storage fails, and
    ValueError for what is no key.

    Args:
        url: of the folder that holds everything: `file:///directory`, `s3://bucket/prefix`, `memory://name` ...

    Raises:
        StorageUrlError: the URL cannot be used.
    """

    def __init__(self, url: str) -> None:
        self._files = _files(url)
        self._threads = CapacityLimiter(_MAX_CALLS)

    async def put(self, key: str, data: bytes) -> None:
        """Writes a file."""
        await self._run(lambda: self._files.put(_checked(key), data))

    async def put_file(self, key: str, path: Path) -> None:
        """Writes a file with the content of a local one."""
        await self._run(lambda: self._files.put_file(_checked(key), path))

    async def read(self, key: str) -> bytes:
        """The content of a file.

        Raises:
            FileNotFoundError: there is none.
        """
        return await self._run(lambda: self._files.read(_checked(key)), leave=True)

    async def fetch(self, key: str, path: Path) -> int:
        """Copies a file into a local one of its owner's alone, whose folder exists, and answers its size in bytes.

        Raises:
            FileNotFoundError: there is none; `path` is not there then either, nor after any other error.
        """
        left = threading.Event()
        try:
            return await self._run(lambda: _fetch(self._files, _checked(key), path, left))
        except asyncio.CancelledError:
            # The thread may still be at it, and would bring back a file that the caller has cleaned away.
            left.set()
            path.unlink(missing_ok=True)  # noqa: ASYNC240 # nobody is left to wait for a thread
            raise

    async def has(self, key: str) -> bool:
        """Whether there is a file, or a folder with one."""
        return await self._run(lambda: self._files.has(_checked(key)), leave=True)

    async def delete(self, key: str) -> None:
        """Deletes a file, or a folder with all that is in it; where there is nothing, nothing is done."""
        await self._run(lambda: self._files.delete(_checked(key)))

    async def older(self, folder: str, than: datetime) -> list[str]:
        """The keys of the files in a folder, at any depth, that were last written before a time; sorted.

        A file whose name is no key is somebody else's, and is passed over.
        """
        before = than.timestamp()
        written = await self._run(lambda: list(self._files.written(_checked(folder))), leave=True)
        return sorted(key for key, at in written if at < before and _is_key(key))

    async def _run(self, work: Callable[[], T], *, leave: bool = False) -> T:
        """`leave`: a caller who is cancelled does not wait for the thread."""
        try:
            return await to_thread.run_sync(work, limiter=self._threads, abandon_on_cancel=leave)
        except FileNotFoundError:
            raise
        except _KeyError as error:
            raise ValueError(str(error)) from None
        except Exception as error:
            # Each file system has errors of its own. Their text may quote what a key or a URL says.
            why = os.strerror(error.errno) if isinstance(error, OSError) and error.errno else type(error).__name__
            raise StorageUnavailable(why) from error


def make_private(directory: Path) -> None:
    """Make a directory, and those above it that are missing, for their owner alone. Blocks; raises OSError."""
    try:
        directory.mkdir(mode=0o700, exist_ok=True)
    except FileNotFoundError:
        # With parents=True, those above would get the mode that the process gives directories.
        make_private(directory.parent)
        directory.mkdir(mode=0o700, exist_ok=True)


class _KeyError(Exception):
    """Apart from the ValueErrors of a file system."""


class _Files(Protocol):
    """The blocking half; keys are checked."""

    def put(self, key: str, data: bytes) -> None: ...
    def put_file(self, key: str, path: Path) -> None: ...
    def read(self, key: str) -> bytes: ...
    def fetch(self, key: str, path: Path) -> None: ...
    def has(self, key: str) -> bool: ...
    def delete(self, key: str) -> None: ...
    def written(self, folder: str) -> Iterator[tuple[str, float]]:
        """Keys, and when each was last written: seconds since 1970."""


class _Directory:
    """A local directory. fsspec would leave half a file where the process dies, and would not wait for the disk.

    Files and the directories that it makes are their owner's alone.
    """

    def __init__(self, root: str) -> None:
        self._root = Path(root)

    def put(self, key: str, data: bytes) -> None:
        with self._writing(key) as file:
            file.write(data)

    def put_file(self, key: str, path: Path) -> None:
        with path.open("rb") as source, self._writing(key) as file:
            shutil.copyfileobj(source, file)

    def read(self, key: str) -> bytes:
        return (self._root / key).read_bytes()

    def fetch(self, key: str, path: Path) -> None:
        shutil.copyfile(self._root / key, path)

    def has(self, key: str) -> bool:
        return (self._root / key).exists()

    def delete(self, key: str) -> None:
        path = self._root / key
        with contextlib.suppress(FileNotFoundError):
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            else:
                path.unlink()

    def written(self, folder: str) -> Iterator[tuple[str, float]]:
        for directory, _, names in os.walk(self._root / folder):
            for name in names:
                path = Path(directory, name)
                with contextlib.suppress(FileNotFoundError):
                    yield path.relative_to(self._root).as_posix(), path.stat().st_mtime

    @contextlib.contextmanager
    def _writing(self, key: str) -> Iterator[IO[bytes]]:
        target = self._root / key
        make_private(target.parent)
        # Where a crash leaves it, `older` names it and `delete` takes it: its name is a key.
        part = target.with_name(f".part-{secrets.token_hex(8)}")
        try:
            with os.fdopen(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600), "wb") as file:
                yield file
                file.flush()
                os.fsync(file.fileno())
            part.replace(target)
        except BaseException:
            part.unlink(missing_ok=True)
            raise
        directory = os.open(target.parent, os.O_RDONLY)
        try:
            os.fsync(directory)
        finally:
            os.close(directory)


class _Remote:
    """Any file system of fsspec whose uploads appear whole, as those of object stores do."""

    def __init__(self, fs: Any, root: str) -> None:
        self._fs, self._root = fs, root
        # Its files have one position for all readers, and can be seen while they are written in pieces.
        self._in_memory = fs.protocol == "memory"

    def put(self, key: str, data: bytes) -> None:
        self._fs.pipe_file(self._at(key), data)

    def put_file(self, key: str, path: Path) -> None:
        if self._in_memory:
            self.put(key, path.read_bytes())
        else:
            self._fs.put_file(str(path), self._at(key))

    def read(self, key: str) -> bytes:
        return bytes(self._fs.cat_file(self._at(key)))

    def fetch(self, key: str, path: Path) -> None:
        if self._in_memory:
            path.write_bytes(self.read(key))
        else:
            self._fs.get_file(self._at(key), str(path))

    def has(self, key: str) -> bool:
        return bool(self._fs.exists(self._at(key)))

    def delete(self, key: str) -> None:
        with contextlib.suppress(FileNotFoundError):
            self._fs.rm(self._at(key), recursive=True)

    def written(self, folder: str) -> Iterator[tuple[str, float]]:
        for name, info in self._fs.find(self._at(folder), detail=True).items():
            # What a listing tells saves a question for each file.
            at = next((info[each] for each in ("LastModified", "last_modified", "mtime") if each in info), None)
            if at is None:
                at = self._fs.modified(name)
            yield name[len(self._root) + 1 :], at.timestamp() if isinstance(at, datetime) else float(at)

    def _at(self, key: str) -> str:
        return f"{self._root}/{key}"


def _files(url: str) -> _Files:
    scheme = url.partition("://")[0] if "://" in url else "file"
    try:
        if not url:
            raise ValueError("empty")
        # Other replicas write too: a listing that was kept would be wrong.
        fs, root = fsspec.core.url_to_fs(url, use_listings_cache=False)
    except (ImportError, ValueError) as error:
        why = "its library is not installed" if isinstance(error, ImportError) else "it names no storage that is known"
        raise StorageUrlError(f"The storage URL (`{scheme}`) cannot be used: {why}.") from None
    root = root.rstrip("/")
    return _Directory(f"{root}/") if isinstance(fs, LocalFileSystem) else _Remote(fs, root)


def _is_key(key: str) -> bool:
    return all(part not in (".", "..") and _PART.fullmatch(part) for part in key.split("/"))


def _checked(key: str) -> str:
    if not _is_key(key):
        raise _KeyError(f"{key!r} is no key")
    return key


def _fetch(files: _Files, key: str, path: Path, left: threading.Event) -> int:
    try:
        path.touch(mode=0o600)
        files.fetch(key, path)
        size = path.stat().st_size
        if left.is_set():
            path.unlink(missing_ok=True)
        return size
    except BaseException:
        path.unlink(missing_ok=True)
        raise
