"""A bank as files: seeds.parquet, and the frames as JPEG files. The only module of winnow that uses pyarrow."""

import base64
import importlib
import os
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from services.contracts import Seed, SeedCopy
from winnow.bank_columns import column_values, record_document, schema

SEEDS_FILE = "seeds.parquet"
FRAMES = "frames"
PARTS = "unfinished"
SOURCE_FILE = "source"
ROWS_AT_ONCE = 64
"""Seeds read at once, so that memory does not grow with the bank."""

Record = dict[str, Any]
"""A row of seeds.parquet, but that `embedding` is a list scalar of pyarrow."""


class BankExport:
    """An exported bank in a directory, whole or being written.

    Part after part is written into `unfinished/`, beside a file that says which gateway's bank it is; `finish` makes
    `seeds.parquet` of them. Every file gets its name when it is whole.

    Args:
        directory: of the export.

    Raises:
        ModuleNotFoundError: the extra `bank` is not installed.
    """

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._arrow = _pyarrow("pyarrow")
        self._parquet = _pyarrow("pyarrow.parquet")

    @property
    def whole(self) -> bool:
        """Whether the export is finished."""
        return (self.directory / SEEDS_FILE).is_file()

    def begin(self, source: str) -> dict[str, int]:
        """Make the directory, for its owner alone; the version of every seed that an earlier, unfinished run has saved.

        Args:
            source: URL of the gateway whose bank it is.

        Raises:
            ValueError: the directory holds a whole export, or an unfinished one of another gateway's bank.
            OSError: it cannot be used.
        """
        if self.whole:
            raise ValueError(f"{self.directory} holds a whole export already: name a new directory.")
        self.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        (self.directory / PARTS).mkdir(exist_ok=True)
        self._claim(source)
        saved: dict[str, int] = {}
        for _, ids, versions in self._saved():
            saved.update(zip(ids, versions, strict=True))
        return saved

    def save_frames(self, seed_id: str, frames: Sequence[bytes]) -> None:
        """Write the JPEG files of a seed. Raises OSError."""
        folder = self.directory / FRAMES / seed_id
        folder.mkdir(parents=True, exist_ok=True)
        for index, data in enumerate(frames):
            temporary = folder / f"{index}.tmp"
            temporary.write_bytes(data)
            temporary.replace(folder / f"{index}.jpg")

    def save_part(self, copies: Sequence[SeedCopy]) -> None:
        """Write a part with these seeds, whose frames are written already. Raises OSError."""
        numbers = [int(path.stem) for path in self._parts()]
        path = self.directory / PARTS / f"{max(numbers, default=-1) + 1:06}.parquet"
        arrow = self._arrow
        table = arrow.table(column_values(arrow, copies), schema=schema(arrow))
        temporary = path.with_suffix(".tmp")
        self._parquet.write_table(table, temporary, compression="zstd")
        _finish(temporary, path)

    def finish(self) -> int:
        """Make `seeds.parquet` of the parts and return how many seeds it holds; a seed that is in two counts as in the
        later one. Raises OSError."""
        last: dict[str, tuple[int, int]] = {}
        for part, (_, ids, _versions) in enumerate(self._saved()):
            last.update({seed_id: (part, row) for row, seed_id in enumerate(ids)})
        temporary = self.directory / f"{SEEDS_FILE}.tmp"
        with self._parquet.ParquetWriter(temporary, schema(self._arrow), compression="zstd") as writer:
            for part, path in enumerate(self._parts()):
                table = self._parquet.read_table(path)
                ids = table.column("id").to_pylist()
                kept = self._arrow.array([last[seed_id] == (part, row) for row, seed_id in enumerate(ids)])
                writer.write_table(table.filter(kept))
        _finish(temporary, self.directory / SEEDS_FILE)
        shutil.rmtree(self.directory / PARTS)
        return len(last)

    def count(self) -> int:
        """How many seeds a whole export has. Raises OSError, or ValueError where the file is not ours."""
        with self._open() as file:
            missing = set(schema(self._arrow).names) - set(file.schema_arrow.names)
            if missing:
                raise ValueError(f"{self._seeds} is not an exported bank: no column {', '.join(sorted(missing))}.")
            return int(file.metadata.num_rows)

    def records(self) -> Iterator[Record]:
        """The rows of a whole export, some at a time; `copy` makes seeds of them."""
        columns = schema(self._arrow).names
        with self._open() as file:
            for batch in file.iter_batches(batch_size=ROWS_AT_ONCE, columns=columns):
                embeddings = batch.column("embedding")
                rows = batch.drop_columns(["embedding"]).to_pylist()
                for row, embedding in zip(rows, embeddings, strict=True):
                    yield {**row, "embedding": embedding}

    def copy(self, record: Record) -> SeedCopy:
        """The seed of a row, with its frames.

        Raises:
            ValueError: the row is not a seed (pydantic.ValidationError).
            OSError: a frame is missing or cannot be read.
        """
        document = record_document(record)
        # The id is a part of a path: it is looked at before it is used.
        seed = Seed.model_validate(document["seed"])
        folder = self.directory / FRAMES / seed.id
        frames = [base64.b64encode((folder / f"{each}.jpg").read_bytes()) for each in range(record["frames"])]
        return SeedCopy.model_validate({**document, "frames": frames})

    def _claim(self, source: str) -> None:
        path = self.directory / PARTS / SOURCE_FILE
        begun = path.read_text(encoding="utf-8") if path.is_file() else None
        if begun == source:
            return
        if begun is not None or self._parts():
            go_on = f", or go on with --url {begun}" if begun else ""
            raise ValueError(
                f"{self.directory} holds an unfinished export of {begun or 'another gateway'}, and this one is of "
                f"{source}: two banks would be mixed. Name a new directory{go_on}."
            )
        temporary = path.with_suffix(".tmp")
        temporary.write_text(source, encoding="utf-8")
        _finish(temporary, path)

    @property
    def _seeds(self) -> Path:
        return self.directory / SEEDS_FILE

    def _open(self) -> Any:
        try:
            return self._parquet.ParquetFile(self._seeds)
        except self._arrow.ArrowInvalid as error:
            raise ValueError(f"{self._seeds} is not a Parquet file: {error}") from error

    def _parts(self) -> list[Path]:
        return sorted((self.directory / PARTS).glob("*.parquet"))

    def _saved(self) -> Iterator[tuple[Path, list[str], list[int]]]:
        for path in self._parts():
            table = self._parquet.read_table(path, columns=["id", "version"])
            yield path, table.column("id").to_pylist(), table.column("version").to_pylist()


def is_export(path: Path) -> bool:
    """Whether a path is an exported bank: its directory, or the file in it."""
    return path.name == SEEDS_FILE or (path / SEEDS_FILE).is_file()


def export_in(path: Path) -> BankExport:
    """The exported bank at a path of which `is_export` is true."""
    return BankExport(path.parent if path.name == SEEDS_FILE else path)


def _finish(temporary: Path, path: Path) -> None:
    """Give a whole file its name, once the disk has it."""
    with temporary.open("rb") as file:
        os.fsync(file.fileno())
    temporary.replace(path)


def _pyarrow(name: str) -> Any:
    try:
        # Tens of megabytes: no other command may pay for it.
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        hint = "Parquet cannot be read or written here. Install it with: pip install 'winnow-moderation[bank]'"
        raise ModuleNotFoundError(hint) from error
