"""Puts the three data sets together: the same number of lines in each (Filter-And-Refine, section 4.2)."""

from collections import Counter
from collections.abc import Collection, Sequence
from pathlib import Path

import numpy as np

from offline.datasets.classification import Classification
from offline.datasets.lines import DATASETS, Dataset, Line, relative
from offline.datasets.material import Material, Said
from offline.manifest import Labelled, ManifestError
from offline.subsets import in_turn
from services.contracts import PromptName
from services.policy import Policy

_FIELDS: dict[Dataset, str] = {"d1": "questions", "d2": "a caption", "d3": "labels"}


def build(
    rows: Sequence[Labelled],
    policy: Policy,
    material: Material,
    folder: Path,
    *,
    template: PromptName = "P2",
    samples: int | None = None,
    without: Collection[Dataset] = (),
    seed: int = 0,
) -> dict[Dataset, list[Line]]:
    """The lines of the data sets that are wanted, as many of one as of the others, all different.

    Args:
        rows: labelled videos of one split.
        policy: whose issues D3 asks about.
        material: of D1 and D2, and what could be taken for what.
        folder: that the videos' paths are relative to.
        template: D3's prompts.
        samples: lines of each data set; as many as the smallest can have if None.
        without: data sets to leave out.
        seed: of the choice.

    Raises:
        ManifestError: a data set has no material, or not for so many lines.
    """
    ordered = _ordered(rows, seed)
    said: dict[Dataset, list[Said]] = {}
    if "d1" not in without:
        said["d1"] = material.questions(ordered, samples)
    if "d2" not in without:
        said["d2"] = material.captions(ordered)
    issues = policy.slice(None).issues
    d3 = None if "d3" in without else Classification(rows, issues, template, near=material.near, seed=seed)
    capacity: dict[Dataset, int] = {name: len(each) for name, each in said.items()}
    if d3 is not None:
        capacity["d3"] = d3.capacity
    count = _count(capacity, samples)
    lines = {name: [_line(each, name, n, folder) for n, each in enumerate(said[name][:count])] for name in said}
    return lines if d3 is None else {**lines, "d3": d3.draw(count, folder)}


def _count(capacity: dict[Dataset, int], samples: int | None) -> int:
    if not capacity:
        raise ManifestError(["all data sets are left out"])
    problems = [
        f"no video has {_FIELDS[name]}, of which {name.upper()} is made; add them to the manifest, or leave it out: "
        f"--without {name}"
        for name, size in capacity.items()
        if not size
    ]
    least = min(capacity.values())
    if not problems and samples is not None and samples > least:
        sizes = ", ".join(f"{name.upper()} {size}" for name, size in capacity.items())
        problems = [f"there are not {samples} different lines of each data set ({sizes}); ask for at most {least}"]
    if problems:
        raise ManifestError(problems)
    return least if samples is None else samples


def _ordered(rows: Sequence[Labelled], seed: int) -> list[Labelled]:
    """The videos in random order, those of every issue and of every clean kind in turn."""
    classes: dict[str, list[Labelled]] = {}
    for index in np.random.default_rng([seed, 1]).permutation(len(rows)):
        row = rows[int(index)]
        classes.setdefault(min(row.issues, default=f"clean: {row.kind}"), []).append(row)
    return in_turn([classes[name] for name in sorted(classes)])


def _line(said: Said, dataset: Dataset, number: int, folder: Path) -> Line:
    return Line(
        id=f"{said.row.id}:{dataset}:{number}",
        video=relative(said.row.file, folder),
        prompt=said.prompt,
        answer=said.answer,
        dataset=dataset,
    )


def counts(lines: dict[Dataset, list[Line]]) -> list[tuple[str, str, int, int, int]]:
    """For a table: data set, level, lines, and how many answers are Yes and No."""
    table: list[tuple[str, str, int, int, int]] = []
    for name in DATASETS:
        levels = Counter(line.level or "" for line in lines.get(name, ()))
        for level, total in levels.items():
            answers = Counter(line.answer for line in lines[name] if (line.level or "") == level)
            table.append((name, str(level), total, answers["Yes"], answers["No"]))
    return table
