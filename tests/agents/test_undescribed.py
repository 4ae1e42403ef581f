"""Acts that their own tool cannot describe: they fail as data, before anything happens, and no driver dies of them."""

from typing import Any

import pytest
from uuid_utils.compat import uuid7

from agents.models import Run, User
from agents.runs import runner
from agents.tools import Touched, tool
from approvals import decisions
from approvals.models import Approval
from tests import factories

pytestmark = pytest.mark.django_db(transaction=True)

BOOKS = {"A-1": "Café Lindenhof"}
sent: list[str] = []


@tool(
    "mail.remind",
    tier=1,
    writes=True,
    says=lambda record: f"Remind {BOOKS[record]}",
    touches=lambda record: [Touched("invoice", record)],
)
def remind(record: str) -> None:
    """Send a reminder."""
    sent.append(record)


@tool(
    "mail.warn",
    tier=1,
    writes=True,
    says=lambda record: f"Warn about {record}",
    touches=lambda record: [Touched("invoice", record, BOOKS[record])],
)
def warn(record: str) -> None:
    """Send a warning."""
    sent.append(record)


@tool(
    "mail.claim",
    tier=3,
    writes=True,
    says=lambda record: f"Claim from {BOOKS[record]}",
    touches=lambda record: [Touched("invoice", record, BOOKS[record])],
)
def claim(record: str) -> None:
    """Send it to a lawyer."""
    sent.append(record)


@pytest.fixture(autouse=True)
def nothing_sent() -> None:
    sent.clear()


def driven(olga: User, name: str, record: str) -> Run:
    agent = factories.agent()
    stage = {"tool": name, "arguments": {"record": record}}
    release = factories.release(agent, program="pipeline", tools=[name], pipeline=[stage], models=[])
    run = factories.run(agent, by=olga, release=release)
    runner.drive(run.pk)
    run.refresh_from_db()
    return run


@pytest.mark.parametrize(
    ("name", "door", "state"), [("mail.remind", "says", "failed"), ("mail.warn", "touches", "refused")]
)
def test_an_act_that_cannot_be_described_is_not_done(olga: Any, name: str, door: str, state: str):
    assert driven(olga, name, "A-1").state == "completed"
    assert sent == ["A-1"]
    run = driven(olga, name, "A-9")
    assert (run.state, run.steps.get().state) == ("failed", state)
    assert f"{name} could not tell what it would do: its `{door}` failed with KeyError: 'A-9'" in run.failure
    assert sent == ["A-1"]


def test_an_edit_that_leads_to_a_record_nobody_knows_is_refused_where_it_would_be_done(olga: Any, rhea: Any):
    run = driven(olga, "mail.claim", "A-1")
    assert run.state == "waiting"
    decisions.decide(
        Approval.objects.get(run=run),
        answer="edit",
        arguments={"record": "A-9"},
        reason="the other invoice",
        by=rhea,
        request_id=uuid7(),
    )
    runner.drive(run.pk)
    step = run.steps.get()
    assert (step.state, sent) == ("refused", [])
    assert "its `touches` failed with KeyError: 'A-9'" in step.error
