"""A line of a data set, the names of the data sets, and the files that they are written to."""

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict

from services.contracts import PromptName, QuestionKind

Dataset = Literal["d1", "d2", "d3"]
DATASETS: tuple[Dataset, ...] = ("d1", "d2", "d3")
DESCRIBE = "Describe this video."
"""The prompt of D2."""


class Line(BaseModel):
    """A prompt about a video and the answer that is taught.

    Attributes:
        id: of the line, unique in its data set.
        video: path of the file, relative to the data set's folder.
        prompt: the whole text that follows the frames, the uploader's words included.
        answer: as the model is to give it; Yes or No in D3.
        dataset: which one.
        issue: that D3's question is about; none for an overall question that names no issue.
        level: D3's kind of question.
        template: D3's prompt template.
        title: the uploader's title as far as the prompt quotes it.
    """

    model_config = ConfigDict(frozen=True)

    id: str
    video: str
    prompt: str
    answer: str
    dataset: Dataset
    issue: str | None = None
    level: QuestionKind | None = None
    template: PromptName | None = None
    title: str = ""


def relative(file: Path, folder: Path) -> str:
    """The path of a file as seen from a folder."""
    return os.path.relpath(file.absolute(), folder.absolute())


def write_lines(lines: Mapping[Dataset, Sequence[Line]], folder: Path) -> None:
    """Write `d1.jsonl`, `d2.jsonl` and `d3.jsonl`; those that are not given are removed, so that none is a leftover."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in DATASETS:
        path = folder / f"{name}.jsonl"
        if name not in lines:
            path.unlink(missing_ok=True)
            continue
        text = "".join(json.dumps(line.model_dump(), ensure_ascii=False) + "\n" for line in lines[name])
        path.write_text(text, encoding="utf-8")
