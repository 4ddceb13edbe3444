"""A file of decisions, one JSON line each, written as they come, so that a second start goes on."""

import fcntl
import hashlib
import json
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from pydantic import ValidationError

from services.contracts import Decision

if TYPE_CHECKING:
    from offline.evaluation.asking import Question


class StoreError(ValueError):
    """The file cannot be gone on with; the message says what to do."""


class Store:
    """Decisions of one run; a context manager that keeps the file for itself.

    All decisions must come of the same policy, encoder, bank and ranker: figures over a mixture would mean nothing.

    Args:
        path: the file; made where it is missing. A last line that a crash cut short is dropped.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._decisions: dict[str, tuple[str, Decision]] = {}
        self._made_by: dict[str, str] = {}

    def __enter__(self) -> Self:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        self._file = self._path.open("a+", encoding="utf-8")
        try:
            try:
                fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                raise StoreError(f"{self._path} is being written by another run; wait for it") from error
            self._read()
        except BaseException:
            self._file.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._file.close()

    def find(self, question: "Question") -> Decision | None:
        """The decision about the same video and request, if there is one."""
        about, decision = self._decisions.get(question.id, ("", None))
        return decision if about == _about(question) else None

    def add(self, question: "Question", decision: Decision) -> None:
        """Keep a decision; it is in the file when this returns.

        Raises:
            StoreError: it was made by other models or another policy than those before it.
        """
        self._check(decision)
        about = _about(question)
        line = {"id": question.id, "about": about, "decision": decision.model_dump(mode="json")}
        self._file.write(json.dumps(line) + "\n")
        self._file.flush()
        self._decisions[question.id] = (about, decision)

    def _read(self) -> None:
        self._file.seek(0)
        text = self._file.read()
        whole = text[: text.rfind("\n") + 1]
        if whole != text:
            self._file.truncate(len(whole.encode()))
        for number, line in enumerate(whole.splitlines(), start=1):
            try:
                row: Any = json.loads(line)
                decision = Decision.model_validate(row["decision"])
                self._decisions[str(row["id"])] = (str(row["about"]), decision)
            except (ValueError, KeyError, TypeError, ValidationError) as error:
                raise StoreError(
                    f"{self._path}:{number} holds no decision; remove the file to ask anew ({type(error).__name__})"
                ) from error
            self._check(decision)

    def _check(self, decision: Decision) -> None:
        for name, value in identity(decision).items():
            before = self._made_by.setdefault(name, value)
            if before != value:
                raise StoreError(
                    f"{self._path} holds decisions of {name} {before}, and the services now run {value}. "
                    "Remove the file to ask anew, or choose another folder."
                )


def identity(decision: Decision) -> dict[str, str]:
    """Fingerprints of what made a decision: policy, encoder, bank, ranker; those that had no say are absent."""
    models = decision.models
    found = {
        "policy": decision.policy_hash,
        "encoder": models.encoder,
        "bank": models.bank_revision,
        "ranker": models.ranker,
    }
    return {name: value for name, value in found.items() if value}


def _about(question: "Question") -> str:
    """Tells whether a question is still the one that was answered: another title, mode or video is not."""
    asked = question.request.model_dump_json()
    return hashlib.sha256(f"{question.file.stat().st_size} {asked}".encode()).hexdigest()[:16]
