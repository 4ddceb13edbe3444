"""Samples of the data sets D1, D2 and D3, and which of them are held out; errors name file and line."""

import hashlib
import math
import os
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from offline.finetune.recipe import PARTS, Part
from offline.manifest import ManifestError
from offline.manifest_rows import raw_rows

ANSWERS = ("Yes", "No")


class _Line(BaseModel):
    """A line of a data set; fields that are not listed here are ignored."""

    model_config = ConfigDict(frozen=True, extra="ignore", str_strip_whitespace=True)

    id: str = Field(min_length=1)
    video: str = Field(min_length=1)
    prompt: str = Field(min_length=1)
    answer: str = Field(min_length=1)
    dataset: Part


@dataclass(frozen=True)
class Sample:
    """A prompt about a video and the answer that is taught.

    Attributes:
        place: file and line, for messages.
        video: the file.
        name: its path from the data sets' folder, which decides whether it is held out.
        part: the data set; the answer of a sample of `d3` is Yes or No.
    """

    place: str
    video: Path
    name: str
    prompt: str
    answer: str
    part: Part


def read_samples(folder: Path, parts: Collection[Part] = PARTS) -> list[Sample]:
    """The samples of `d1.jsonl`, `d2.jsonl` and `d3.jsonl` in a folder, as far as they are wanted.

    Raises:
        ManifestError: a file is missing or empty, a line is broken, a video is not there, an answer of D3 is neither
            Yes nor No.
    """
    problems: list[str] = []
    samples: list[Sample] = []
    there: dict[Path, bool] = {}
    for part in PARTS:
        if part not in parts:
            continue
        path = folder / f"{part}.jsonl"
        before = len(samples), len(problems)
        for line, raw in raw_rows(path, problems):
            place = f"{path}:{line}"
            try:
                row = _Line.model_validate(raw)
            except ValidationError as error:
                problems += [
                    f"{place}: {'.'.join(map(str, each['loc'])) or 'the line'}: {each['msg']}"
                    for each in error.errors(include_url=False)
                ]
                continue
            # Two ways to write one path are one video.
            name = os.path.normpath(row.video)
            sample = Sample(place, folder / name, name, row.prompt, row.answer, part)
            problems += _wrong(sample, row.dataset, there)
            samples.append(sample)
        if before == (len(samples), len(problems)):
            problems.append(f"{path}: there are no samples in it")
    if problems:
        raise ManifestError(problems)
    return samples


def _wrong(sample: Sample, named: Part, there: dict[Path, bool]) -> list[str]:
    problems = []
    if named != sample.part:
        problems.append(f"{sample.place}: dataset: it is {named!r} in the file of {sample.part!r}")
    if sample.part == "d3" and sample.answer not in ANSWERS:
        problems.append(f"{sample.place}: answer: {sample.answer!r} is neither Yes nor No")
    if sample.video not in there:
        there[sample.video] = sample.video.is_file()
    if not there[sample.video]:
        problems.append(f"{sample.place}: video: there is no file {sample.video}")
    return problems


def hold_out(samples: Sequence[Sample], fraction: float) -> tuple[list[Sample], list[Sample]]:
    """Samples to train on and samples held out: all those of some videos, the same in every run.

    Videos of which D3 says Yes to any question and the others are held out in equal shares, at least one of each sort.

    Raises:
        ValueError: nothing would be left to train on, or a data set would have samples in one half alone.
    """
    guilty = {each.name for each in samples if each.part == "d3" and each.answer == "Yes"}
    videos = {each.name for each in samples}
    held: set[str] = set()
    for group in (guilty, videos - guilty):
        ranked = sorted(group, key=lambda name: hashlib.sha256(name.encode()).hexdigest())
        held.update(ranked[: math.ceil(fraction * len(ranked))])
    trained = [each for each in samples if each.name not in held]
    tested = [each for each in samples if each.name in held]
    if {each.part for each in trained} != {each.part for each in tested}:
        raise ValueError(
            f"{len(videos)} videos are too few: with {len(held)} of them held out, a data set has samples either to "
            "train on or to test on alone"
        )
    return trained, tested
