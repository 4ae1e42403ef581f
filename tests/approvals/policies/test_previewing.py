"""What a version would have done on real actions."""

from datetime import timedelta

import pytest
from django.utils import timezone

from agents.models import Run, Step, StepPayload
from approvals.models import PolicyDifference
from approvals.policies import previewing, trying
from tests import factories
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


def test_what_a_version_cannot_judge_any_more_is_denied_in_the_report_and_raises_no_alarm(
    run: Run, caplog: pytest.LogCaptureFixture
) -> None:
    _did(run, "test.refund", {"order": "1", "amount": "much"})
    found = previewing.preview(rulebook.engine(), days=1)
    assert (found.stances, len(found.examples)) == ({"deny": 1}, 1)
    assert "could not judge" in found.examples[0].decision.reason
    assert "policy alarm" not in caplog.text
    assert rulebook.judge(arguments={"order": "1", "amount": "much"}).errors
    assert "policy alarm" in caplog.text, "what really happens raises one"


def test_older_runs_are_left_out(run: Run) -> None:
    _did(run, "test.refund", {"order": "1", "amount": "10.00"})
    later = run.created_at + previewing.timedelta(days=3)
    assert previewing.preview(rulebook.engine(), days=1, at=later).judged == 0
    assert previewing.preview(rulebook.engine(), days=4, at=later).judged == 1
