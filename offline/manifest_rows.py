"""Reads the numbered rows of a JSONL or CSV file as they stand there; what they mean is the manifest's business."""

import csv
import io
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

MAX_SHOWN = 20


class ManifestError(ValueError):
    """A manifest that cannot be used.

    Attributes:
        problems: one line each: file, line, and what is wrong.
    """

    def __init__(self, problems: Sequence[str]) -> None:
        self.problems = tuple(problems)
        more = len(problems) - MAX_SHOWN
        shown = [*problems[:MAX_SHOWN], *([f"and {more} more problems"] if more > 0 else [])]
        super().__init__("\n".join(shown))


def raw_rows(path: Path, problems: list[str]) -> Iterator[tuple[int, Any]]:
    """Numbers and contents of the lines; empty ones are left out.

    Args:
        path: a `.jsonl`, `.ndjson` or `.csv` file in UTF-8.
        problems: lines that are no JSON or no CSV are told here and left out.

    Raises:
        ManifestError: the file cannot be read at all.
    """
    try:
        # Bytes, because a text file's universal newlines would make two lines of one that holds a lone CR.
        text = path.read_bytes().decode("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise ManifestError([f"{path}: it cannot be read: {error}"]) from error
    if path.suffix == ".csv":
        yield from _csv(path, text, problems)
        return
    if path.suffix not in {".jsonl", ".ndjson"}:
        raise ManifestError([f"{path}: a manifest is a .jsonl or a .csv file"])
    # Not splitlines: a title may hold a line separator of Unicode.
    for number, line in enumerate(text.split("\n"), start=1):
        if line.strip():
            try:
                yield number, json.loads(line)
            except (ValueError, RecursionError) as error:
                problems.append(f"{path}:{number}: no JSON: {error}")


def _csv(path: Path, text: str, problems: list[str]) -> Iterator[tuple[int, Any]]:
    reader = csv.DictReader(io.StringIO(text, newline=""), strict=True)
    if "path" not in (reader.fieldnames or ()):
        raise ManifestError([f"{path}:1: the first line names the columns, and one of them is `path`"])
    try:
        for row in reader:
            if None in row or None in row.values():
                problems.append(f"{path}:{reader.line_num}: it has another number of cells than the first line")
                continue
            # An empty cell is one that was not filled in.
            yield reader.line_num, {name: value for name, value in row.items() if value != ""}
    except csv.Error as error:
        # The record in which it is wrong began behind the last one that could be read.
        problems.append(f"{path}:{reader.line_num + 1}: no CSV: {error}")
