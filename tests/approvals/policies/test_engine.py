"""One question, one answer: allow, hold or deny; and whatever goes wrong in the judge, nothing goes through."""

import json
import logging
from decimal import Decimal
from typing import Any

import cedarpy
import pytest

from agents import errors
from agents.contracts import Confidence, Risk, Source, Stance
from approvals.policies import requests, surface
from approvals.policies.engine import PolicyEngine
from approvals.policies.requests import Who
from tests.approvals.policies import rulebook
from tests.approvals.policies.rulebook import judge

PERMIT = '@id("allow") permit(principal, action, resource);\n'


def test_a_soft_forbid_asks_for_a_person_and_says_what_it_takes() -> None:
    found = judge()
    assert (found.stance, found.rules, found.zone) == (Stance.HOLD, ("ask-red",), "yellow")
    assert (found.level, found.votes, found.sla_minutes) == (1, 1, 30)
    assert found.reason == "ask-red: Money moves"


def test_of_several_soft_forbids_everything_they_demand_holds() -> None:
    found = judge(arguments={"order": "1", "amount": "700"})
    assert (found.stance, found.level, found.votes, found.sla_minutes) == (Stance.HOLD, 2, 2, 30)
    assert found.rules == ("ask-red", "ask-twice-over-500")


def test_an_approval_is_a_fact_and_no_way_past_the_rules() -> None:
    dear = {"order": "1", "amount": "700"}
    assert judge(level=1).stance == Stance.ALLOW
    assert judge(level=1, arguments=dear).stance == Stance.HOLD
    assert judge(level=2, arguments=dear).stance == Stance.ALLOW
    assert judge(level=4, arguments={"order": "1", "amount": "1000.01"}).stance == Stance.DENY


def test_nobody_is_asked_about_what_no_policy_permits() -> None:
    soft = rulebook.RULES.replace('@id("allow-all") permit(principal, action, resource);', "")
    found = judge(soft)
    assert (found.stance, found.rules) == (Stance.DENY, ())
    assert found.reason == "no policy permits test.refund here"


@pytest.mark.parametrize(("amount", "minor"), [("184.00", 18400), (184, 18400), ("0.001", 1), (Decimal("9.99"), 999)])
def test_money_is_whole_hundredths_and_never_less_than_it_is(amount: Any, minor: int) -> None:
    assert surface.minor(amount) == minor


def test_what_is_not_known_is_absent() -> None:
    known = requests.facts(rulebook.action(confidence=Confidence(), facts={"customer_segment": "gold"}))
    assert "confidence_bp" not in known
    assert known["confidence_source"] == "unknown"
    assert known["customer_segment"] == "gold"
    assert not {"conflicting_results", "abnormal_latency", "data_class"} & known.keys()
    assert requests.facts(rulebook.action(confidence=Confidence(0.8549, Source.VERIFIER)))["confidence_bp"] == 8549


def test_what_an_agent_elsewhere_says_counts_where_the_engine_says_nothing() -> None:
    around = {"customer_segment": "gold", "abnormal_latency": "yes", "data_class": "public", "approval_level": 4}
    known = requests.facts(rulebook.action(facts={"context": around, "data_class": "personal"}))
    assert (known["customer_segment"], known["data_class"], known["approval_level"]) == ("gold", "personal", 0)
    assert "abnormal_latency" not in known, "it is not a truth value"


def test_everything_the_schema_speaks_of_is_told_where_it_is_known() -> None:
    engines = {
        "conflicting_results": True,
        "abnormal_latency": False,
        "customer_segment": "gold",
        "data_class": "personal",
        "estimated_cost_usd": Decimal("0.0000001"),
    }
    money = {"order": "1", "amount": "2", "currency": "EUR"}
    known = requests.facts(rulebook.action(arguments=money, facts=engines))
    assert known.keys() == {name.rstrip("?") for name in surface.FACTS}
    assert known["cost_micros"] == 1


def test_every_model_of_a_chain_has_to_be_allowed() -> None:
    near, far = {"provider": "a", "model": "m1", "region": "eu"}, {"provider": "b", "model": "m2"}
    cached = {"provider": "cached"}
    facts = {"data_class": "personal"}

    def call(*chain: dict[str, str]) -> Stance:
        return judge(name="m1", kind="model", arguments={"chain": chain}, facts=facts, tier=1, writes=False).stance

    assert call(near, cached) == Stance.ALLOW
    assert call(near, far) == Stance.DENY


@pytest.mark.parametrize(
    ("writes", "risk", "zone"), [(False, None, "green"), (True, None, "yellow"), (True, Risk.HIGH, "red")]
)
def test_a_tool_that_no_list_knows_is_judged_by_its_zone(writes: bool, risk: Risk | None, zone: str) -> None:
    found = judge(name="elsewhere.act", writes=writes, risk=risk)
    assert found.zone == zone
    assert (found.stance == Stance.HOLD) is (zone == "red")


# --- the four ways Cedar fails open ---------------------------------------------------------------------------------
def test_a_forbid_that_errs_is_a_refusal_and_an_alarm(caplog: pytest.LogCaptureFixture) -> None:
    text = (
        PERMIT + '@id("overflows") forbid(principal, action, resource) when { context.tier * 9223372036854775807 > 1 };'
    )
    with caplog.at_level(logging.ERROR):
        found = judge(text)
    assert found.stance == Stance.DENY
    assert "overflow" in found.errors[0]
    assert "policy alarm: test.refund of refunds could not be judged" in caplog.text


def test_somebody_unknown_is_refused_before_anybody_is_asked() -> None:
    found = judge(PERMIT, agent="")
    assert found.stance == Stance.DENY
    assert found.errors


class WithoutSchema(PolicyEngine):
    """Reads its entities as one would who had not been told: the groups of actions are missing."""

    def _parsed(self, who: Who) -> cedarpy.Entities:
        whole = json.loads(str(super()._parsed(who)))
        return cedarpy.Entities.from_json_str(json.dumps([one for one in whole if "Action" not in one["uid"]["type"]]))


def test_an_engine_without_groups_of_actions_is_not_used() -> None:
    rulebook.engine(PERMIT)
    with pytest.raises(errors.Conflict, match="does not refuse a group of actions"):
        rulebook.engine(PERMIT, WithoutSchema)


@pytest.mark.parametrize("arguments", [{}, {"order": 5, "amount": "1"}, {"order": "1", "amount": "1e400000000"}])
def test_a_question_that_does_not_fit_is_a_refusal(arguments: dict[str, Any]) -> None:
    assert judge(PERMIT).stance == Stance.ALLOW
    found = judge(PERMIT, arguments=arguments)
    assert found.stance == Stance.DENY
    assert found.errors


def test_a_tool_named_like_something_of_ours_is_refused() -> None:
    declared = {"model.call": rulebook.declarations.find("test.echo")}
    with pytest.raises(errors.Invalid, match=r"may not be called model\.call"):
        surface.of(declared)
