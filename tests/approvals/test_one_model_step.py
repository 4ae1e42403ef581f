"""A model asks for fifty-six acts in one step: one group, one decision, one continuation, each act once.

From the model's answer on the wire to the effects in the world, through the real runner, by page and by API.
"""

from collections import Counter
from collections.abc import Callable, Iterator
from uuid import UUID

import pytest
from django.utils import timezone

from agents.models import Agent, Run, Team, User
from agents.runs import starting
from approvals.models import Approval, BulkDecision, Decision
from tests import factories, toolbox
from tests.api import stage
from tests.approvals.scripted import drive
from tests.model_server import Answer, Asked, ModelServer, calls, says
from tests.posting import Browser

pytestmark = pytest.mark.django_db(transaction=True)
MANY = 56


def answering(asked: Asked) -> Answer:
    """Pay everybody back at once; then say what came of it."""
    told = [message["content"] for message in asked.body["messages"] if message["role"] == "tool"]
    if told:
        return says(f"{sum('refunded' in one for one in told)} of {len(told)} were paid back.")
    name = asked.body["tools"][0]["function"]["name"]
    return calls(*((name, {"order": str(4700 + number), "amount": "9.00"}) for number in range(MANY)))


@pytest.fixture
def server() -> Iterator[ModelServer]:
    with ModelServer(answering=answering) as running:
        yield running


@pytest.fixture
def run(agent: Agent, olga: User, server: ModelServer, woken: list[UUID]) -> Run:
    """It waits for people, with all that its model asked for in one step."""
    toolbox.effects.clear()
    chain = [{"provider": "roastery", "model": "bean-1", "base_url": server.url}]
    release = factories.release(agent, models=chain, tools=["test.refund"], limits={"steps": 2 * MANY})
    started = drive(starting.start(agent, objective="The recall.", by=olga, release=release))
    assert (started.state, toolbox.effects) == ("waiting", [])
    assert {step.turn for step in started.steps.filter(kind="tool")} == {2}  # one turn, behind the model's
    assert Approval.objects.open().count() == started.steps.filter(state="held").count() == MANY
    return started


def on_the_page(rhea: User, team: Team, answer: str) -> None:
    """One row in the queue; its form, as it stands, with an answer and a reason."""
    browser = Browser(rhea)
    assert f"and {MANY - 1} more alike" in browser.read("/approvals/")
    form = browser.form("/approvals/", "/approvals/bulk/")
    assert len(form.values("id")) == MANY
    answered = form.submit(answer=answer, reason="The recall.")
    assert answered.status_code == 302
    job = BulkDecision.objects.get()
    assert job.summary in browser.read(f"/approvals/bulk/{job.pk}/")


def by_api(rhea: User, team: Team, answer: str) -> None:
    """All that the agent asks, in one call."""
    door = stage.token("recaller", "reviewer", of=team, owner=rhea)
    body = {"answer": answer, "reason": "The recall.", "filter": {"agent": "desk"}, "until": timezone.now().isoformat()}
    told = door.post("/approvals/bulk", body)
    assert (told["state"], told["total"], told["decided"], told["left"]) == ("done", MANY, MANY, 0)


@pytest.mark.parametrize("decide", [on_the_page, by_api])
def test_fifty_six_acts_of_one_model_step_are_let_through_in_one_act(
    decide: Callable[..., None], run: Run, rhea: User, team: Team, server: ModelServer, woken: list[UUID]
) -> None:
    decide(rhea, team, "approve")
    assert BulkDecision.objects.get().summary == f"Approved {MANY} of {MANY}."
    assert woken == [run.pk]
    assert drive(run).state == "completed"
    assert run.result == f"{MANY} of {MANY} were paid back."
    assert len(server.asked) == 2  # what it asked for, and what came of all of it together
    wanted = {f"{run.pk}:{seq}" for seq in run.steps.filter(kind="tool").values_list("seq", flat=True)}
    assert Counter(toolbox.effects) == Counter(dict.fromkeys((("refund", key) for key in wanted), 1))
    assert set(Approval.objects.values_list("state", "executed")) == {("approved", "executed")}
    assert Decision.objects.count() == Decision.objects.values("digest").distinct().count() == MANY
    assert drive(run).state == "completed"  # rung once more, nothing happens again
    assert len(toolbox.effects) == MANY


def test_fifty_six_acts_of_one_model_step_are_forbidden_in_one_act(
    run: Run, rhea: User, team: Team, server: ModelServer, woken: list[UUID]
) -> None:
    on_the_page(rhea, team, "reject")
    assert woken == [run.pk]
    assert drive(run).state == "completed"
    assert run.result == f"0 of {MANY} were paid back."
    assert (toolbox.effects, len(server.asked)) == ([], 2)
    assert set(run.steps.filter(kind="tool").values_list("state", flat=True)) == {"refused"}
