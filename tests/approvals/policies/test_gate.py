"""The gate: nothing without policies, then what they say, and once more with what people really granted."""

from dataclasses import replace
from typing import Any

import pytest
from django.db import connection, transaction
from django.test.utils import CaptureQueriesContext

from agents import errors, signals
from agents.contracts import Stance
from agents.models import Agent, Run, Step, Team, User
from agents.runs import runner
from approvals import integrity
from approvals.models import Approval, PolicyDifference
from approvals.policies import loaded, publishing, trying
from approvals.policies.gate import PolicyGate
from tests import factories, toolbox
from tests.approvals import questions, scripted
from tests.approvals.policies.rulebook import RULES, enforce, publish

NOTE = {"text": "hello"}
EDITED = {"order": "4711", "amount": "600.00"}


def _asked(**fields: Any) -> Approval:
    """A refund that the policies hold, asked about as the runner does."""
    action = questions.action(**fields)
    verdict = PolicyGate().ask(action)
    assert verdict.stance == Stance.HOLD
    with transaction.atomic():
        questions.store(action)
        signals.step_held.send(Step, action=action, verdict=verdict)
    return questions.latest(action)


@pytest.mark.django_db
def test_without_policies_everything_passes_and_nothing_is_asked_of_the_database(agent: Agent) -> None:
    action = questions.action()
    PolicyGate().ask(action)
    with CaptureQueriesContext(
        connection,
    ) as asked:
        assert PolicyGate().ask(action).stance == Stance.ALLOW
        PolicyGate().admit(action)
    assert len(asked) == 0
    assert "policy" not in integrity.bound(action), "digests stay as they were"


@pytest.mark.django_db
def test_the_gate_says_what_it_takes_and_which_rule_asks(agent: Agent) -> None:
    number = enforce().number
    held = PolicyGate().ask(questions.action(arguments=EDITED))
    assert (held.stance, held.gate) == (Stance.HOLD, "policy")
    assert held.detail == {
        "level": 2, "votes": 2, "zone": "yellow", "sla_minutes": 30, "rule": "ask-red, ask-twice-over-500",
    }  # fmt: skip
    assert held.reason == f"Policy {number} asks for a person: ask-twice-over-500; ask-red: Money moves."
    with CaptureQueriesContext(connection) as asked:
        refused = PolicyGate().ask(questions.action(questions.run(), arguments={**EDITED, "amount": "2000"}))
    assert refused.reason == f"Policy {number} refuses it: forbid-over-1000: Nobody pays back more than 1,000."
    assert not [query for query in asked if "policyset" in query["sql"]]


@pytest.mark.django_db
def test_in_a_sandbox_nothing_waits_but_what_is_forbidden_stays_forbidden(agent: Agent) -> None:
    enforce()
    assert PolicyGate().ask(questions.action(environment="sandbox")).stance == Stance.ALLOW
    dear = questions.action(environment="sandbox", arguments={**EDITED, "amount": "2000"})
    assert PolicyGate().ask(dear).stance == Stance.DENY
    assert PolicyGate().ask(questions.action(compensates=1)).stance == Stance.ALLOW


@pytest.mark.django_db(transaction=True)
def test_what_a_person_lets_through_is_judged_once_more_where_it_happens(rhea: User) -> None:
    number = enforce().number
    approval = _asked()
    assert (approval.level, approval.bound["policy"], approval.reasons[0]["rule"]) == (1, number, "ask-red")
    with pytest.raises(errors.Forbidden, match="No person has let exactly this through"), transaction.atomic():
        PolicyGate().admit(questions.action(approval.run, seq=approval.seq))
    questions.settle(approval, by=rhea)
    dispatched = questions.as_dispatched(approval)
    with transaction.atomic():
        PolicyGate().admit(dispatched)
    with pytest.raises(errors.Moved, match="No person has let"), transaction.atomic():
        PolicyGate().admit(replace(dispatched, arguments={"order": "4711", "amount": "499.00"}))
    with pytest.raises(errors.Forbidden, match="forbid-over-1000"), transaction.atomic():
        PolicyGate().admit(replace(dispatched, arguments={"order": "4711", "amount": "5000"}))


@pytest.mark.django_db(transaction=True)
def test_a_small_refund_is_not_let_through_and_made_a_large_one(rhea: User) -> None:
    enforce()
    approval = _asked()
    with pytest.raises(errors.Conflict, match="level L2 instead of L1 and 2 votes instead of 1"):
        questions.settle(approval, by=rhea, answer="edit", arguments=EDITED)
    with pytest.raises(errors.Conflict, match="Nobody pays back more than 1,000"):
        questions.settle(approval, by=rhea, answer="edit", arguments={**EDITED, "amount": "5000"})
    assert questions.settle(approval, by=rhea, answer="edit", arguments={**EDITED, "amount": "90.00"})
    with transaction.atomic():
        PolicyGate().admit(questions.as_dispatched(approval))


@pytest.mark.django_db(transaction=True)
def test_an_approval_under_other_policies_is_none(rhea: User) -> None:
    before = enforce().number
    approval = _asked()
    questions.settle(approval, by=rhea)
    after = enforce(RULES.replace("100000", "90000")).number
    dispatched = questions.as_dispatched(approval)
    with pytest.raises(errors.Moved, match="No person has let exactly this"), transaction.atomic():
        PolicyGate().admit(dispatched)
    with pytest.raises(errors.Conflict, match=f"policy was {before}, is {after}"), transaction.atomic():
        integrity.require_valid_decision(dispatched)


@pytest.mark.django_db
def test_what_is_only_tried_changes_nothing_and_is_written_down_where_it_differs(agent: Agent, rhea: User) -> None:
    made = publishing.log_only(publish(), by=None)
    loaded.forget()
    action = questions.action()
    assert PolicyGate().ask(action).stance == Stance.ALLOW
    assert PolicyGate().ask(replace(action, seq=9, name="test.note", arguments=NOTE, tier=1)).stance == Stance.ALLOW
    assert trying.write() == 1
    found = PolicyDifference.objects.get()
    assert (found.policy_set, found.seq, found.was, found.would) == (made, action.seq, "allow", "hold")
    assert found.rules == ["ask-red"]
    PolicyGate().ask(action)
    trying.write()
    assert PolicyDifference.objects.count() == 1, "asked again, it is the same difference"


# --- the engine's own run --------------------------------------------------------------------------------------------
EVERYTHING = '@id("allow") permit(principal, action, resource);\n'
CASE = [{"name": "A note", "expect": "allow", "tool": "test.note", "arguments": NOTE}]


def _run(team: Team, *, release: dict[str, Any]) -> Run:
    agent = factories.agent("noter", of=team)
    agent.release = factories.release(agent, **release)
    agent.save(update_fields=["release"])
    return factories.run(agent)


@pytest.mark.django_db(transaction=True)
def test_a_model_call_is_an_action_too(team: Team) -> None:
    text = EVERYTHING + (
        '@id("eu-only") @reason("Personal data stays in the EU.") '
        'forbid(principal, action == Cockpit::Action::"model.call", resource) '
        'when { context has data_class && context.data_class == "personal" } '
        'unless { context has region && context.region == "eu" };'
    )
    enforce(text, cases=CASE)
    near = {"provider": "simulated", "model": "sim-small", "region": "eu"}
    far = {"provider": "simulated", "model": "sim-large"}
    run = _run(team, release={"models": [near], "degraded": {"models": [far]}, "data_class": "personal"})
    runner.drive(run.pk)
    step = Step.objects.get(run=run, seq=1)
    assert (step.kind, step.state, step.gate) == ("model", "refused", "policy")
    assert "eu-only: Personal data stays in the EU." in step.gate_reason


REFUNDING = ("test.refund", {"order": "4711", "amount": "184.00"})


@pytest.mark.django_db(transaction=True)
def test_what_was_approved_under_other_policies_is_asked_again_and_says_so(
    agent: Agent, olga: User, rhea: User
) -> None:
    toolbox.effects.clear()
    before = enforce().number
    run = scripted.start(agent, olga, REFUNDING)
    questions.settle(scripted.asked(run), by=rhea)
    after = enforce(RULES.replace('@sla_minutes("30")', '@sla_minutes("5")')).number
    assert scripted.drive(run).state == "waiting"
    again = scripted.asked(run)
    assert (again.moved, again.bound["policy"]) == ([f"policy was {before}, is {after}"], after)
    questions.settle(again, by=rhea)
    assert scripted.drive(run).state == "completed"
    assert [effect for effect, _ in toolbox.effects] == ["refund"]


@pytest.mark.django_db
def test_who_writes_an_intent_waits_for_nobody_who_waits_for_a_connection() -> None:
    """All connections may be with drivers that are about to act, and one that looks up the policies wants one too."""
    loaded.forget()
    with loaded._known.lock, transaction.atomic():  # the other one, without a connection yet
        assert loaded.enforced() is None
