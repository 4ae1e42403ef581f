"""What a version would have done on real actions."""

from datetime import timedelta

import pytest
from django.utils import timezone

from agents.contracts import Stance, Verdict
from agents.models import Run, Step, StepPayload, Team, User
from approvals import asking
from approvals.models import PolicyDifference
from approvals.policies import previewing, trying, unjudged
from approvals.policies.unjudged import Unjudged
from tests import factories
from tests.approvals import questions
from tests.approvals.outside import elsewhere
from tests.approvals.policies import rulebook

pytestmark = pytest.mark.django_db


def _did(run: Run, name: str, arguments: dict[str, str], **fields: object) -> Step:
    made = factories.step(run, name=name, writes=True, tier=3, **fields)
    StepPayload.objects.create(run_id=run.pk, seq=made.seq, input={"arguments": arguments})
    return made


def test_real_actions_are_judged_again_and_what_would_change_is_shown(run: Run) -> None:
    _did(run, "test.refund", {"order": "1", "amount": "1000.01"}, answer={"kind": "approved"})
    _did(run, "test.refund", {"order": "1", "amount": "10.00"}, answer={"kind": "approved"})
    _did(run, "test.refund", {"order": "2", "amount": "5.00"})
    factories.step(run, kind="model", name="sim-small")
    factories.step(run, kind="wait", name="wait")
    found = previewing.preview(rulebook.engine(), days=1)
    assert found.judged == 4
    assert found.stances == {"deny": 1, "hold": 2, "allow": 1}
    assert found.changed == {("hold", "deny"): 1, ("allow", "hold"): 1}
    assert found.rules[("deny", "test.refund", "forbid-over-1000")] == 1
    assert {(one.seq, one.was, one.decision.rules[-1]) for one in found.examples} == {
        (1, "hold", "forbid-over-1000"),
        (3, "allow", "ask-red"),
    }


def test_where_a_version_differed_is_forgotten_after_a_month_the_oldest_first(run: Run) -> None:
    made = rulebook.publish()
    said = {"run_id": run.pk, "agent_id": run.agent_id, "team_id": run.team_id, "agent": "desk", "name": "test.refund"}
    for seq, days in enumerate((40, 31, 29, 0)):
        at = timezone.now() - timedelta(days=days)
        PolicyDifference.objects.create(policy_set=made, seq=seq, was="allow", would="hold", at=at, **said)
    assert (trying.forget(), trying.forget()) == (2, 0)
    assert list(PolicyDifference.objects.order_by("seq").values_list("seq", flat=True)) == [2, 3]


def test_what_a_version_cannot_judge_any_more_is_told_once_by_reason_and_raises_no_alarm(
    run: Run, caplog: pytest.LogCaptureFixture
) -> None:
    for number in range(5):
        _did(run, "test.refund", {"order": "1", "amount": "much" * (number + 1)})
    _did(run, "test.refund", {"order": "1", "amount": "1e99"})
    _did(run, "test.refund", {"order": "1"})
    _did(run, "test.refund", {"order": ["1"], "amount": "3.00"})
    _did(run, "test.refund", {"order": "1", "amount": "1000.01"})
    found = previewing.preview(rulebook.engine(), days=1)
    assert found.stances == {"deny": 9}
    assert [(one.name, one.why, one.times, [such.seq for such in one.examples]) for one in found.unjudged] == [
        ("test.refund", "amount is no number", 5, [1, 2, 3]),
        ("test.refund", "amount is too large", 1, [6]),
        ("test.refund", "amount is missing", 1, [7]),
        ("test.refund", "order is no text", 1, [8]),
    ]
    assert [one.seq for one in found.examples] == [9], "what a rule denies is told for itself"
    assert found.rules[("deny", "test.refund", "could not be judged")] == found.unjudged_times == 8
    assert "policy alarm" not in caplog.text
    assert rulebook.judge(arguments={"order": "1", "amount": "much"}).errors
    assert "policy alarm" in caplog.text, "what really happens raises one"


def test_of_very_many_reasons_those_after_the_first_are_counted_together() -> None:
    groups: dict[tuple[str, str], Unjudged] = {}
    for number in range(unjudged.MOST + 5):
        unjudged.place(groups, "test.refund", f"reason {number}").times += 1
    assert len(groups) == unjudged.MOST + 1
    assert groups["", unjudged.OTHER].times == 5


def test_older_runs_are_left_out(run: Run) -> None:
    _did(run, "test.refund", {"order": "1", "amount": "10.00"})
    later = run.created_at + previewing.timedelta(days=3)
    assert previewing.preview(rulebook.engine(), days=1, at=later).judged == 0
    assert previewing.preview(rulebook.engine(), days=4, at=later).judged == 1


@pytest.mark.parametrize(
    ("asked_by", "gate", "would"),
    [(["tier"], "tier", "hold"), (["policy", "tier"], "policy", "hold"), (["policy"], "policy", "allow")],
)
def test_what_another_gate_held_stays_held_though_the_version_permits_it(
    run: Run, asked_by: list[str], gate: str, would: str
) -> None:
    act = questions.action(run, seq=1)
    parts = tuple(Verdict(Stance.HOLD, one, "It asks.") for one in asked_by)
    asking.open_approval(act, Verdict(Stance.HOLD, gate, "It asks.", {}, parts))
    _did(run, "test.refund", {"order": "1", "amount": "10.00"}, answer={"kind": "approved"}, gate=gate)
    found = previewing.preview(rulebook.engine('@id("all") permit(principal, action, resource);'), days=1)
    assert found.stances == {would: 1}
    assert found.changed == ({} if would == "hold" else {("hold", "allow"): 1})


def test_what_another_gate_refused_stays_refused(run: Run) -> None:
    for gate in ("grants", "policy"):
        _did(run, "test.refund", {"order": "1", "amount": "10.00"}, state="refused", gate=gate)
    found = previewing.preview(rulebook.engine('@id("all") permit(principal, action, resource);'), days=1)
    assert found.changed == {("deny", "allow"): 1}
    assert found.stances == {"deny": 1, "allow": 1}


def test_what_an_agent_elsewhere_told_with_its_call_is_judged_again(team: Team, rhea: User) -> None:
    elsewhere.published(team)
    key, around = elsewhere.key(team)[0], {"customer_segment": "gold"}
    held = elsewhere.held(key, context=around)
    questions.settle(held, by=rhea)
    assert elsewhere.ask(key, context=around, approval=held.pk).verdict == "allow"
    assert StepPayload.objects.get(run_id=held.run_id).input == {"arguments": elsewhere.REFUND, "context": around}
    rules = """
        @id("all") permit(principal, action, resource);
        @id("not-gold") forbid(principal, action, resource)
            when { context has customer_segment && context.customer_segment == "gold" };
    """
    assert previewing.preview(rulebook.engine(rules), days=1).stances == {"deny": 1}
