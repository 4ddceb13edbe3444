"""The error tree and its way over the wire."""

from collections import Counter

import pytest

from services.contracts import FieldProblem, Problem
from services.errors import Overloaded, UnknownIssue, WinnowError, error_classes, from_problem

CLASSES = list(error_classes())


def test_every_error_has_a_code_of_its_own() -> None:
    codes = Counter(cls.code for cls in CLASSES)
    assert len(CLASSES) >= 20
    assert [code for code, count in codes.items() if count > 1] == []


@pytest.mark.parametrize("cls", CLASSES)
def test_problem_and_back(cls: type[WinnowError]) -> None:
    error = cls("what happened", errors=[FieldProblem(pointer="request/mode", detail="unknown")])
    problem = Problem.model_validate_json(error.problem("id-1").model_dump_json())
    assert (problem.status, problem.code, problem.request_id) == (cls.status, cls.code, "id-1")
    again = from_problem(problem, retry_after_s=2.0)
    assert type(again) is cls
    assert (again.detail, again.errors, again.retry_after_s) == (error.detail, error.errors, 2.0)


@pytest.mark.parametrize("cls", CLASSES)
def test_statuses_follow_the_house_rule(cls: type[WinnowError]) -> None:
    assert 400 <= cls.status <= 599
    assert cls.__doc__
    if cls.status in (429, 503, 504):
        assert cls.retryable


def test_a_code_from_a_newer_service_keeps_its_meaning() -> None:
    problem = (
        UnknownIssue("x")
        .problem("r")
        .model_copy(update={"code": "quota_spent", "status": 402, "title": "Quota spent", "retryable": True})
    )
    error = from_problem(problem)
    assert (error.status, error.code, error.retryable) == (402, "quota_spent", True)
    assert error.problem("r") == problem.model_copy(update={"type": "urn:winnow:error:quota_spent"})
    assert WinnowError.status == 500


def test_the_message_of_the_exception_is_its_detail() -> None:
    assert str(Overloaded("no slot")) == "no slot"
