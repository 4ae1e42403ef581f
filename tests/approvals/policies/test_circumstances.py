"""Facts that the engine finds out, and only where a rule asks for them."""

from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from agents import errors
from agents.contracts import Action, Stance
from agents.models import RUN_BOUNDS, Agent, AgentMinute, Run, StepPayload
from approvals.policies import circumstances
from approvals.policies.gate import PolicyGate
from tests import factories
from tests.approvals import questions
from tests.approvals.policies import rulebook
from tests.approvals.policies.rulebook import RULES, enforce

pytestmark = pytest.mark.django_db
ASKS = """
@id("contradiction") @obligation("require_approval") forbid(principal, action, resource)
    when { context has conflicting_results && context.conflicting_results } unless { context.approval_level >= 1 };
@id("slow") @obligation("require_approval") forbid(principal, action, resource)
    when { context has abnormal_latency && context.abnormal_latency } unless { context.approval_level >= 1 };
@id("gold") forbid(principal, action, resource)
    when { context has customer_segment && context.customer_segment == "gold" };
"""


@pytest.fixture
def note(run: Run) -> Action:
    """An act that nothing speaks against by itself, behind other steps."""
    return questions.action(run, seq=9, name="test.note", arguments={"text": "x"}, tier=1)


def _read(run: Run, order: str, status: str, **fields: Any) -> None:
    made = factories.step(run, **fields)
    given = {"input": {"arguments": {"order": order}}, "output": {"status": status}}
    StepPayload.objects.create(run_id=run.pk, seq=made.seq, **given)


def test_nothing_is_looked_up_that_no_rule_asks_for(note: Action) -> None:
    enforce(RULES.replace("principal.frozen", "false"))
    PolicyGate().ask(note)
    with CaptureQueriesContext(connection) as asked:
        assert PolicyGate().ask(note).stance == Stance.ALLOW
    assert len(asked) == 0


def test_reads_that_contradict_each_other_ask_a_person(run: Run, note: Action) -> None:
    enforce(RULES + ASKS)
    _read(run, "1", "paid")
    _read(run, "2", "open")
    _read(run, "1", "paid")
    assert PolicyGate().ask(note).stance == Stance.ALLOW
    _read(run, "2", "paid")
    held = PolicyGate().ask(note)
    assert (held.stance, held.detail["rule"]) == (Stance.HOLD, "contradiction")


def test_a_step_that_took_much_longer_than_usual_asks_a_person(run: Run, note: Action) -> None:
    enforce(RULES + ASKS)
    now = timezone.now()
    factories.step(run, started_at=now - timedelta(seconds=8), finished_at=now)
    assert PolicyGate().ask(note).stance == Stance.ALLOW, "nobody knows what is usual"
    seconds = [0] * (len(RUN_BOUNDS) + 1)
    seconds[RUN_BOUNDS.index(5)] = 200
    AgentMinute.objects.create(agent_id=run.agent_id, minute=now, step_seconds=seconds)
    circumstances._usual.cache_clear()
    held = PolicyGate().ask(note)
    assert (held.stance, held.detail["rule"]) == (Stance.HOLD, "slow")
    AgentMinute.objects.update(step_seconds=[*seconds[:-1], 100])
    circumstances._usual.cache_clear()
    assert PolicyGate().ask(note).stance == Stance.ALLOW, "a third of its steps take longer than an hour"


def test_the_segment_of_a_customer_is_what_the_run_was_given(run: Run, note: Action) -> None:
    enforce(RULES + ASKS)
    Run.objects.filter(pk=run.pk).update(input={"customer_segment": ["gold"]})
    assert PolicyGate().ask(note).stance == Stance.ALLOW
    Run.objects.filter(pk=run.pk).update(input={"customer_segment": "gold"})
    assert PolicyGate().ask(note).stance == Stance.DENY
    assert "customer_segment" not in note.facts, "what the engine was given stays as it was"


def test_a_set_knows_what_its_rules_ask_for() -> None:
    assert circumstances.wanted(rulebook.engine()) == ("frozen",)
    assert circumstances.wanted(rulebook.engine('@id("all") permit(principal, action, resource);')) == ()
    assert circumstances.wanted(rulebook.engine(RULES + ASKS)) == circumstances.NAMES


def test_an_agent_that_people_have_frozen_is_frozen_before_an_act_and_when_it_is_to_happen(note: Action) -> None:
    enforce()
    PolicyGate().admit(note)
    assert PolicyGate().ask(note).stance == Stance.ALLOW
    Agent.objects.filter(pk=note.agent_id).update(frozen_at=timezone.now())
    circumstances._frozen.cache_clear()
    refused = PolicyGate().ask(note)
    assert (refused.stance, refused.detail["rule"]) == (Stance.DENY, "forbid-frozen")
    with pytest.raises(errors.Forbidden, match="forbid-frozen"):
        PolicyGate().admit(note)
    Agent.objects.filter(pk=note.agent_id).update(frozen_at=None)
    circumstances._frozen.cache_clear()
    assert PolicyGate().ask(note).stance == Stance.ALLOW
