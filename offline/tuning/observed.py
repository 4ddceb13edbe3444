"""The file of observations: what both stages said of each labelled video."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Literal, Self, TypeVar

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from offline.tuning.judged import Judged
from services.contracts import Decision, Probability
from services.policy import Policy


class ObservationsError(ValueError):
    """A file of observations cannot be used; the message names it and says what to do."""


class Header(BaseModel):
    """The first line: what judged."""

    model_config = ConfigDict(frozen=True)

    format: Literal["winnow-observations-1"] = "winnow-observations-1"
    issues: tuple[str, ...] = Field(min_length=1)
    policy_hash: str
    encoder: str | None = None
    bank_revision: str | None = None
    ranker: str | None = None
    calibrators: tuple[str, ...] = ()


class Observed(BaseModel):
    """One video: its truth, and by issue, in the header's order, what the stages said; asked in mode `full`."""

    model_config = ConfigDict(frozen=True)

    id: str
    kind: str
    weight: float = Field(gt=0, allow_inf_nan=False)
    truth: tuple[str, ...]
    risk: tuple[Probability, ...]
    score: tuple[Probability, ...]
    probability: tuple[Probability, ...]

    @model_validator(mode="after")
    def _of_one_length(self) -> Self:
        if not len(self.risk) == len(self.score) == len(self.probability):
            raise ValueError("risk, score and probability must have a value for each issue")
        return self


Line = TypeVar("Line", Header, Observed)


def header_of(decision: Decision) -> Header:
    """What judged it, as a decision tells."""
    used = decision.models
    return Header(
        issues=tuple(issue.id for issue in decision.issues), policy_hash=decision.policy_hash,
        encoder=used.encoder, bank_revision=used.bank_revision, ranker=used.ranker, calibrators=used.calibrators,
    )  # fmt: skip


def observed_of(video_id: str, kind: str, weight: float, truth: Sequence[str], decision: Decision) -> Observed:
    """The row of a decision that was asked for in mode `full`.

    Raises:
        ValueError: it lacks the risk or the probability of an issue.
    """
    columns: dict[str, list[float]] = {"risk": [], "score": [], "probability": []}
    for issue in decision.issues:
        for name, own in columns.items():
            value = getattr(issue, name)
            if value is None:
                raise ValueError(f"the decision about {video_id} has no {name} of {issue.id}: ask in mode `full`")
            own.append(value)
    return Observed.model_validate(
        {"id": video_id, "kind": kind, "weight": weight, "truth": tuple(sorted(truth)), **columns}
    )


def read_observations(path: Path) -> tuple[Header, list[Observed]]:
    """The header and the rows.

    Raises:
        ObservationsError: the file is something else, or damaged.
    """
    try:
        whole = path.read_text(encoding="utf-8").removesuffix("\n").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise ObservationsError(f"{path}: it cannot be read: {error}") from error
    header = _parsed(Header, whole[0], f"{path}:1")
    rows = [_parsed(Observed, line, f"{path}:{number}") for number, line in enumerate(whole[1:], start=2)]
    for number, row in enumerate(rows, start=2):
        if len(row.risk) != len(header.issues) or not set(row.truth) <= set(header.issues):
            raise ObservationsError(f"{path}:{number}: the issues are not those of the first line")
    if not rows or len({row.id for row in rows}) != len(rows):
        raise ObservationsError(f"{path}: it holds no video, or one twice; delete the file or name another")
    return header, rows


def _parsed(model: type[Line], line: str, place: str) -> Line:
    try:
        return model.model_validate_json(line)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        told = ": ".join(filter(None, (".".join(map(str, first["loc"])), first["msg"])))
        raise ObservationsError(f"{place}: no observation: {told}; delete the file or name another") from error


def line_of(record: Header | Observed) -> str:
    """A line of the file."""
    return json.dumps(record.model_dump(mode="json"), ensure_ascii=False) + "\n"


def judged_of(header: Header, rows: Sequence[Observed], policy: Policy) -> Judged:
    """The sample as arrays, in the order of the policy's issues.

    Raises:
        ObservationsError: the policy has other issues than the observations.
    """
    known = policy.issue_ids
    if set(known) != set(header.issues):
        apart = ", ".join(sorted(set(known) ^ set(header.issues)))
        raise ObservationsError(f"the policy and the observations differ in their issues ({apart}); collect anew")
    order = [header.issues.index(issue) for issue in known]
    asks = np.eye(len(known), dtype=bool)
    for number, issue in enumerate(policy.issues):
        for sibling in issue.router.ask_with:
            asks[number, known.index(sibling)] = True
    return Judged(
        known,
        np.array([row.risk for row in rows], dtype=np.float64)[:, order],
        np.array([row.probability for row in rows], dtype=np.float64)[:, order],
        np.array([[issue in row.truth for issue in known] for row in rows]),
        np.array([row.weight for row in rows]),
        np.array([row.kind for row in rows]),
        asks,
    )
