"""What agents ask people: a question in the inbox, answered in words, read by the agent as its tool's result."""

from typing import Any

import pytest
from django.test import Client
from django.urls import reverse
from uuid_utils.compat import uuid7

from agents import errors
from agents.models import Agent, Run, User
from agents.runs import agent_views
from approvals.models import Approval, Decision
from tests import factories
from tests.approvals import questions, scripted
from tests.approvals.scripted import asked, drive

committed = pytest.mark.django_db(transaction=True)
MAY_THEY: dict[str, Any] = {"question": "May they have it every second week?", "options": ["Yes.", "No."]}


def wonders(agent: Agent, olga: User, **arguments: Any) -> Run:
    """A run that asks, and says back what it heard."""
    ask = ("ask_person", arguments or MAY_THEY)
    return scripted.start(agent, olga, ask, ("test.echo", {"text": "{steps.0.answer}"}))


@committed
def test_an_agent_asks_and_reads_the_answer(agent: Agent, olga: User, rhea: User) -> None:
    run = wonders(agent, olga)
    question = asked(run)
    assert (question.kind, question.says, question.zone) == ("question", MAY_THEY["question"], "green")
    assert question.answers == (Decision.Answer.OUTCOME, Decision.Answer.REJECT)
    with pytest.raises(errors.Conflict, match="The agent asks something, and nothing is done"):
        questions.settle(question, by=rhea)
    for nothing in ("", " ", {"answer": ""}, {"answer": 7}, {"answer": "Yes.", "more": 1}, 7):
        with pytest.raises(errors.Invalid) as refused:
            questions.settle(question, by=rhea, answer="outcome", outcome=nothing)
        assert refused.value.field == "outcome"
    decision = questions.settle(question, by=rhea, answer="outcome", outcome=" Only in summer. ")
    assert (decision.past, decision.outcome, decision.digest) == ("Answered", {"answer": "Only in summer."}, "")
    assert drive(run).state == "completed"
    assert run.payloads.get(seq=2).output == {"text": "Only in summer."}
    assert run.steps.get(seq=1).writes is False


@committed
def test_nobody_can_say_is_an_answer_too(agent: Agent, olga: User, rhea: User) -> None:
    run = wonders(agent, olga)
    questions.settle(asked(run), by=rhea, answer="reject", reason="Ask in May.")
    drive(run)
    step = run.steps.get(seq=1)
    assert (step.state, step.error) == ("refused", "Rejected by rhea: Ask in May.")


@committed
@pytest.mark.parametrize("wrong", [{"question": " "}, {"question": "x", "options": ["a"] * 10}, {"options": ["a"]}])
def test_a_question_that_says_nothing_is_not_asked(agent: Agent, olga: User, wrong: dict[str, Any]) -> None:
    run = wonders(agent, olga, **wrong)
    assert run.steps.get(seq=1).error_class == "invalid_arguments"
    assert not Approval.objects.exists()


@committed
def test_in_a_sandbox_nobody_is_asked(agent: Agent, olga: User) -> None:
    Agent.objects.filter(pk=agent.pk).update(environment="sandbox")
    agent.refresh_from_db()
    run = wonders(agent, olga)
    assert (run.state, run.payloads.get(seq=2).output) == ("completed", {"text": "Yes."})


@committed
def test_the_page_offers_the_options_and_room_for_other_words(agent: Agent, olga: User, rhea: User) -> None:
    question = asked(wonders(agent, olga))
    client = Client()
    client.force_login(rhea)
    page = client.get(reverse("approvals:approval", args=[question.pk])).content.decode()
    assert '<input type="radio" name="option" value="Yes." data-first="outcome">' in page
    assert "Nobody can say" in page
    assert 'value="approve"' not in page
    assert 'name="code"' not in page
    address = reverse("approvals:decision", args=[question.pk])
    given = {"answer": "outcome", "outcome": "", "reason": "", "place": "page"}
    assert client.post(address, {**given, "request_id": str(uuid7())}).status_code == 422
    client.post(address, {**given, "request_id": str(uuid7()), "option": "No."})
    assert Decision.objects.get().outcome == {"answer": "No."}
    page = client.get(reverse("approvals:approval", args=[question.pk])).content.decode()
    assert "Answered by rhea" in page
    assert "carried out" not in page


@pytest.mark.django_db
def test_the_page_of_an_agent_says_that_it_asks(agent: Agent) -> None:
    from agents.registry import declarations, granting

    release = factories.release(agent, tools=["ask_person"], tiers={})
    granting.grant(agent, release.bundle, {"ask_person": declarations.find("ask_person")}, by=None)
    assert agent_views.escalates(agent) == "A person answers what it asks; everything else it does alone."
