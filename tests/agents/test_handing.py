"""When no model answers and the chain ends with a person: somebody answers in the model's place."""

from typing import Any
from uuid import uuid4

import pytest

from agents.models import Run, StepAttempt, User
from agents.runs import runner
from approvals.decisions import decide
from approvals.models import Approval
from tests import factories
from tests.model_server import ModelServer, fails

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def run(olga: User) -> Any:
    """A run whose only model is down, of an agent whose chain ends with a person."""
    agent = factories.agent()
    with ModelServer(default=fails(503)) as server:
        chain = [{"provider": "house", "model": "m1", "base_url": server.url}, {"provider": "person"}]
        release = factories.release(agent, models=chain)
        made = factories.run(agent, by=olga, release=release, objective="Where is order 4711?")
        runner.drive(made.pk)
        yield made


def again(run: Run) -> Run:
    runner.drive(run.pk)
    run.refresh_from_db()
    return run


def test_a_person_is_asked_with_what_was_asked_and_why_no_model_answers(run: Run) -> None:
    run.refresh_from_db()
    step = run.steps.get()
    question = Approval.objects.get(run=run)
    assert (run.state, run.waits, step.state, step.gate) == ("waiting", "approval", "held", "chain")
    assert "503" in step.gate_reason
    assert (question.kind, question.is_manual, question.says) == (
        "act",
        True,
        "Answer in the place of m1: “Where is order 4711?”",
    )
    assert StepAttempt.objects.get(run=run).error_class == "person"


def test_what_the_person_says_is_what_the_model_would_have_said(run: Run, rhea: User) -> None:
    question = Approval.objects.get(run=run)
    decide(question, answer="outcome", reason="", outcome="It left yesterday.", by=rhea, request_id=uuid4())
    assert (again(run).state, run.result) == ("completed", "It left yesterday.")
    step = run.steps.get()
    assert (step.state, step.provider, step.model, step.cost) == ("done", "person", "rhea", None)
    assert step.gate_reason.startswith("Answered by rhea.")


def test_a_person_who_has_no_answer_either_ends_the_run_with_the_reason(run: Run, rhea: User) -> None:
    decide(Approval.objects.get(run=run), answer="reject", reason="Nobody knows.", by=rhea, request_id=uuid4())
    assert (again(run).state, run.failure_class) == ("failed", "model")
    assert "Nobody knows." in run.failure
