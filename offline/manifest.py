"""Labelled videos of one's own or of the demo world, listed in a JSONL or CSV file; errors name the line."""

import difflib
import json
import os
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from offline.manifest_rows import ManifestError, raw_rows

__all__ = [
    "Labelled",
    "LabelledQuestion",
    "LabelledShot",
    "ManifestError",
    "Row",
    "read_manifest",
    "traffic_weights",
    "write_manifest",
]

_SEPARATORS = (";", "|")


class LabelledShot(BaseModel):
    """A part of a video and the things that it shows; optional, and known for the demo world."""

    model_config = ConfigDict(frozen=True)

    start_s: float = Field(ge=0)
    end_s: float = Field(gt=0)
    objects: tuple[str, ...] = ()
    issues: tuple[str, ...] | None = Field(default=None, description="Issues that this part violates, if it is known.")

    @model_validator(mode="after")
    def _ends_after_it_starts(self) -> Self:
        if self.end_s <= self.start_s:
            raise ValueError("a shot ends after it starts")
        return self


class LabelledQuestion(BaseModel):
    """A question about a video and its answer; material of data set D1."""

    model_config = ConfigDict(frozen=True, str_strip_whitespace=True)

    question: str = Field(min_length=1, max_length=1000)
    answer: str = Field(min_length=1, max_length=1000)


class Row(BaseModel):
    """One labelled video. Columns that are not listed here are ignored."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    path: str = Field(min_length=1, max_length=1000, description="Of the video, relative to the manifest.")
    id: str = Field(default="", max_length=1000, description="The path if it is not given.")
    split: str = Field(default="", max_length=64, description="E.g. train, calibration, test.")
    issues: tuple[str, ...] = Field(default=(), description="Issues that it violates; in CSV separated by `;`.")
    kind: str = Field(
        default="", max_length=64, description="Stratum of traffic; `violation` or `other` by its issues if not given."
    )
    weight: float | None = Field(
        default=None, gt=0, allow_inf_nan=False, description="How much of traffic it stands for, in any unit."
    )
    title: str = Field(default="", max_length=1000)
    description: str = Field(default="", max_length=5000)
    look_alike: str | None = Field(default=None, max_length=64, description="How it resembles a violation.")
    look_alike_of: str | None = Field(default=None, max_length=64, description="Of which issue.")
    style: str | None = Field(default=None, max_length=64, description="Art style, source or genre, for a report.")
    duration_s: float | None = Field(default=None, gt=0, allow_inf_nan=False)
    group: str = Field(
        default="", max_length=200, description="What must not be torn apart by a split, e.g. the uploader."
    )
    variant: str | None = Field(default=None, max_length=64, description="How it was encoded, for a report.")
    shots: tuple[LabelledShot, ...] = Field(default=(), description="In CSV as JSON.")
    caption: str = Field(default="", max_length=5000, description="What the video shows, for data set D2.")
    questions: tuple[LabelledQuestion, ...] = Field(default=(), description="For data set D1; in CSV as JSON.")

    @field_validator("issues", mode="before")
    @classmethod
    def _separated(cls, value: Any) -> Any:
        if not isinstance(value, str):
            return value
        for separator in _SEPARATORS:
            value = value.replace(separator, ",")
        return tuple(each.strip() for each in value.split(",") if each.strip())

    @model_validator(mode="after")
    def _shots_violate_what_the_video_does(self) -> Self:
        told = {issue for shot in self.shots for issue in shot.issues or ()}
        if more := sorted(told - set(self.issues)):
            raise ValueError(f"a shot violates {', '.join(more)}, and the video's issues do not say so")
        return self

    @field_validator("shots", "questions", mode="before")
    @classmethod
    def _of_a_cell(cls, value: Any) -> Any:
        if not isinstance(value, str):
            return value
        try:
            return json.loads(value)
        except (ValueError, RecursionError) as error:
            raise ValueError(f"the cell holds no JSON: {error}") from error


class Labelled(Row):
    """A row of a manifest that was read: `path` is where the video is, `kind` and `id` are filled in."""

    file: Path

    @property
    def truth(self) -> frozenset[str]:
        """The issues that it violates."""
        return frozenset(self.issues)


def read_manifest(
    path: Path, *, issues: Collection[str] | None = None, splits: Collection[str] | None = None
) -> list[Labelled]:
    """All rows, or those of some splits.

    Args:
        path: a `.jsonl` or `.csv` file.
        issues: ids that labels may have, e.g. those of a policy; any if None.
        splits: names of the splits to keep; all if None.

    Raises:
        ManifestError: a line cannot be read, a label is unknown, a video is missing, an id or a video stands twice.
    """
    problems: list[str] = []
    rows: list[Labelled] = []
    first_at: dict[str, int] = {}
    for line, raw in raw_rows(path, problems):
        try:
            row = Row.model_validate(raw)
        except ValidationError as error:
            for each in error.errors(include_url=False):
                place = ".".join(map(str, each["loc"])) or "the line"
                problems.append(f"{path}:{line}: {place}: {each['msg']}")
            continue
        file = path.parent / row.path
        if not _there(file):
            problems.append(f"{path}:{line}: path: there is no file {file}")
        if issues is not None:
            problems += [
                f"{path}:{line}: issues: {_unknown(each, issues)}" for each in row.issues if each not in issues
            ]
        found = Labelled(**{**row.model_dump(), "id": row.id or row.path, "kind": row.kind or _kind_of(row)}, file=file)
        for name in {f"the id {found.id}", f"the video {os.path.normpath(row.path)}"}:
            if name in first_at:
                problems.append(f"{path}:{line}: {name} stands in line {first_at[name]} already")
            first_at.setdefault(name, line)
        rows.append(found)
    if not rows and not problems:
        problems.append(f"{path}: there are no videos in it")
    if problems:
        raise ManifestError(problems)
    kept = [row for row in rows if splits is None or row.split in splits]
    if not kept:
        known = sorted({row.split for row in rows})
        raise ManifestError([f"{path}: no video is of the splits {sorted(splits or ())}; there are {known}"])
    return kept


def traffic_weights(rows: Sequence[Labelled], mix: Mapping[str, float] | None = None) -> list[float]:
    """How much of traffic each video stands for; all weights sum to 1.

    Args:
        rows: one sample.
        mix: share of traffic of each kind, by which its videos are weighed alike; without it their own weights count,
            and where none has one, all videos count the same.

    Raises:
        ValueError: the mix lacks a kind that occurs or has one that does not, or only some videos have weights.
    """
    if mix is not None:
        counts = {kind: sum(row.kind == kind for row in rows) for kind in {row.kind for row in rows}}
        if set(counts) != {kind for kind, share in mix.items() if share > 0}:
            raise ValueError(f"the mix is of {sorted(mix)}, the videos are of {sorted(counts)}")
        total = sum(mix.values())
        return [mix[row.kind] / total / counts[row.kind] for row in rows]
    given = [row.weight for row in rows]
    if all(weight is None for weight in given):
        return [1.0 / len(rows)] * len(rows)
    if any(weight is None for weight in given):
        raise ValueError("some videos have a weight and some have none; give all of them one, or none")
    total = sum(weight for weight in given if weight is not None)
    return [(weight or 0.0) / total for weight in given]


def write_manifest(rows: Sequence[Labelled], path: Path) -> None:
    """Write rows as JSONL; paths become relative to the new manifest."""
    lines = []
    for row in rows:
        document = row.model_dump(mode="json", exclude={"file"}, exclude_defaults=True)
        document["path"] = _relative(row.file, path.parent)
        lines.append(json.dumps(document, ensure_ascii=False) + "\n")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(lines), encoding="utf-8")


def _relative(file: Path, folder: Path) -> str:
    return os.path.relpath(file.absolute(), folder.absolute())


def _there(file: Path) -> bool:
    try:
        return file.is_file()
    except OSError:  # e.g. a name that is too long
        return False


def _kind_of(row: Row) -> str:
    return "violation" if row.issues else "other"


def _unknown(issue: str, known: Collection[str]) -> str:
    close = difflib.get_close_matches(issue, sorted(known), n=1)
    return f"{issue!r} is no issue of the policy" + (f"; did you mean {close[0]!r}?" if close else "")
