"""Files of uploads in flight: one that is written and hashed, and the directory that holds them."""

import hashlib
import os
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self


def prepare_spool(directory: Path) -> int:
    """Create the directory, empty it, and return how many files a crash had left. Blocks: call it off the loop.

    A single process owns the directory.
    """
    directory.mkdir(parents=True, exist_ok=True)
    leftovers = [path for path in directory.iterdir() if path.is_file()]
    for path in leftovers:
        path.unlink(missing_ok=True)
    return len(leftovers)


@dataclass
class SpoolFile:
    """An open file, written and hashed in worker threads: every method blocks."""

    path: Path
    descriptor: int
    digest: "hashlib._Hash" = field(default_factory=hashlib.sha256)
    size: int = 0

    @classmethod
    def create(cls, directory: Path) -> Self:
        """A new file in the directory, which is made where it is missing."""
        directory.mkdir(parents=True, exist_ok=True)
        descriptor, path = tempfile.mkstemp(prefix="upload-", dir=directory)
        return cls(Path(path), descriptor)

    def write(self, data: bytes) -> None:
        """Append, hash and count; raises OSError where the disk, a quota or a size limit stops it."""
        self.digest.update(data)
        self.size += len(data)
        rest = memoryview(data)
        while rest:
            rest = rest[os.write(self.descriptor, rest) :]

    def close(self) -> None:
        """Close the file and keep it; nothing happens the second time."""
        descriptor, self.descriptor = self.descriptor, -1
        if descriptor >= 0:
            os.close(descriptor)

    def discard(self) -> None:
        """Remove the file."""
        self.path.unlink(missing_ok=True)
        self.close()
