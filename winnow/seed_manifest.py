"""Manifests of seeds: JSON lines or CSV, a seed a row, every fault told with its line."""

import csv
import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Self

from pydantic import AwareDatetime, Field, ValidationError, model_validator

from services.contracts import IssueId, RequestModel, Seconds, SeedKind, SeedRequest
from services.contracts.seeds import MAX_NOTE, Note, Share
from winnow.seed_calls import problems

NAMES = ("manifest.jsonl", "manifest.csv")
MOST_FAULTS = 20
"""Wrong rows that one message tells."""


class SeedRow(RequestModel):
    """A row of a seed manifest: a segment of a video, or a sentence."""

    path: str | None = Field(default=None, min_length=1, description="Of the video, relative to the manifest.")
    text: str | None = Field(default=None, description="The sentence of a seed of kind `text`, instead of a video.")
    issue: IssueId
    kind: SeedKind = "golden"
    start_s: Seconds = 0.0
    end_s: Seconds | None = None
    share: Share = 1.0
    expires_at: AwareDatetime | None = None
    note: Note = Field(default="", description="The path where there is none.")

    @model_validator(mode="before")
    @classmethod
    def _kind_of_a_sentence(cls, row: Any) -> Any:
        return {"kind": "text", **row} if isinstance(row, dict) and row.get("text") is not None else row

    @model_validator(mode="after")
    def _whole(self) -> Self:
        if (self.path is None) is (self.text is None):
            raise ValueError("a row has a path or a text, and not both")
        if "\0" in (self.path or ""):
            raise ValueError("a path has no NUL character")
        self.request()
        return self

    def request(self) -> SeedRequest:
        """What is sent to the bank."""
        note = self.note or (self.path or "")[-MAX_NOTE:]
        return SeedRequest.model_validate({**self.model_dump(exclude={"path"}), "note": note})


def find_manifest(path: Path) -> Path:
    """The manifest that is meant: the file itself, or the one in a directory.

    Raises:
        ValueError: the directory has none.
    """
    if not path.is_dir():
        return path
    for name in NAMES:
        if (path / name).is_file():
            return path / name
    raise ValueError(f"{path} holds neither {' nor '.join(NAMES)}")


def read_rows(manifest: Path) -> list[SeedRow]:
    """The rows of a manifest in JSON lines, or in CSV where it ends so; at least one.

    Raises:
        OSError: it cannot be read.
        ValueError: rows are wrong, each told with its line, or there is none, or it is not UTF-8.
    """
    rows, faults = list[SeedRow](), list[str]()
    read = _csv if manifest.suffix.lower() == ".csv" else _json_lines
    try:
        for line, document in read(manifest.read_bytes().decode("utf-8-sig")):
            try:
                rows.append(SeedRow.model_validate_json(document))
            except ValidationError as error:
                faults += [f"line {line}: {problem}" for problem in problems(error)]
    except (csv.Error, UnicodeDecodeError) as error:
        raise ValueError(f"{manifest.name} cannot be read: {error}") from error
    if faults:
        more = f"; and {len(faults) - MOST_FAULTS} more" if len(faults) > MOST_FAULTS else ""
        raise ValueError(f"{manifest.name} is wrong: {'; '.join(faults[:MOST_FAULTS])}{more}")
    if not rows:
        raise ValueError(f"{manifest.name} names no seed")
    return rows


def _json_lines(text: str) -> Iterator[tuple[int, str]]:
    # Only at line feeds: splitlines() also cuts at characters that JSON allows inside of a string.
    for number, line in enumerate(text.split("\n"), start=1):
        if line.strip():
            yield number, line


def _csv(text: str) -> Iterator[tuple[int, str]]:
    reader = csv.DictReader(io.StringIO(text, newline=""), restkey="a cell beyond the header's", strict=True)
    for row in reader:
        filled = {name: value for name, value in row.items() if value}
        if filled:
            yield reader.line_num, json.dumps(filled)
