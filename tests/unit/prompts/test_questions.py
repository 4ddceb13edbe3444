"""The wording of P1 to P4 and the plan that asks each distinct question once."""

import pytest

from services.contracts import ContextUse, IssueQuestions, PromptName
from services.prompts import Question, QuestionPlan, plan, questions, render


def issue(issue_id: str, prompt: PromptName = "P2") -> IssueQuestions:
    name = issue_id.replace("_", " ")
    return IssueQuestions(id=issue_id, name=name, definition=f"What {name} means.", prompt=prompt)


def test_templates_of_figure_2() -> None:
    asked = issue("arson")
    fine = "Does this video show arson? Answer Yes or No."
    overall = "Does this video violate the policy? Answer Yes or No."
    assert questions("P1", asked) == (Question("overall", overall),)
    assert questions("P2", asked) == (Question("fine_grained", fine), Question("overall", overall))
    (sequential,) = questions("P3", asked)
    assert sequential.kind == "sequential"
    assert sequential.text.index("arson") < sequential.text.index("policy")
    assert sequential.text.count("Answer Yes or No.") == 1
    definition = "Definition of arson: What arson means.\n"
    after_definition = (Question("fine_grained", definition + fine), Question("overall", definition + overall))
    assert questions("P4", asked) == after_definition


def test_overall_question_is_asked_once_a_video_in_p2() -> None:
    planned = plan([issue("arson"), issue("drug_abuse"), issue("smoking")])
    assert len(planned.prompts) == 4
    overall = {
        question.prompt
        for readings in planned.issues
        for reading in readings
        for question in reading
        if question.kind == "overall"
    }
    assert len(overall) == 1


def test_p4_asks_the_overall_question_per_issue() -> None:
    assert len(plan([issue("arson", "P4"), issue("drug_abuse", "P4")]).prompts) == 4


def read(planned: QuestionPlan, number: int) -> list[list[tuple[str, str]]]:
    return [[(q.kind, planned.prompts[q.prompt]) for q in reading] for reading in planned.issues[number]]


def expected(asked: IssueQuestions, block: str) -> list[tuple[str, str]]:
    return [(question.kind, render(question, block)) for question in questions(asked.prompt, asked)]


def test_plan_maps_every_issue_to_its_own_prompts() -> None:
    asked = [issue("arson"), issue("smoking", "P3"), issue("drug_abuse", "P1")]
    planned = plan(asked, "CONTEXT")
    for number, single in enumerate(asked):
        assert read(planned, number) == [expected(single, ""), expected(single, "CONTEXT")]


@pytest.mark.parametrize(("use", "blocks"), [("shown", ["C"]), ("ignored", [""]), ("guarded", ["", "C"])])
def test_an_issue_says_what_the_uploaders_text_may_do(use: ContextUse, blocks: list[str]) -> None:
    asked = issue("arson").model_copy(update={"context": use})
    assert read(plan([asked], "C"), 0) == [expected(asked, block) for block in blocks]
    assert read(plan([asked]), 0) == [expected(asked, "")]


def test_question_comes_after_the_context() -> None:
    assert render(Question("overall", "Q?"), "C") == "C\nQ?"
    assert render(Question("overall", "Q?"), "") == "Q?"
