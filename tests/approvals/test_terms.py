"""What it takes to let an act through, when several gates ask for a person at once."""

from datetime import timedelta

import pytest

from agents.contracts import Stance, Verdict
from approvals import terms
from approvals.models import SLO, Approval
from tests.approvals import questions


def hold(gate: str, **detail: object) -> Verdict:
    return Verdict(Stance.HOLD, gate, f"{gate} asks", detail)


def test_a_gate_that_demands_nothing_asks_one_person_within_the_usual_time() -> None:
    asked = terms.of(hold("tier"))
    assert (asked.level, asked.votes, asked.zone, asked.within) == (1, 1, Approval.Zone.YELLOW, SLO)
    assert asked.reasons == [{"gate": "tier", "reason": "tier asks"}]


def test_of_several_gates_the_strictest_of_each_demand_holds() -> None:
    parts = (
        hold("tier", zone="red", sla_minutes=30),
        hold("policy", level=2, votes=1, zone="yellow", sla_minutes=5, rule="approve-red"),
        hold("budget", level=1, votes=2),
    )
    asked = terms.of(Verdict(Stance.HOLD, "tier", "all of them", parts[0].detail, parts))
    assert (asked.level, asked.votes, asked.zone) == (2, 2, Approval.Zone.RED)
    assert asked.within == timedelta(minutes=5)
    assert [one["gate"] for one in asked.reasons] == ["tier", "policy", "budget"]
    assert asked.reasons[1]["rule"] == "approve-red"


def test_there_is_no_level_above_the_fourth() -> None:
    assert terms.of(hold("policy", level=9)).level == 4


@pytest.mark.django_db
def test_alike_are_requests_of_one_agent_for_one_tool_whatever_the_arguments() -> None:
    run = questions.run()
    first = questions.held(run, seq=2, arguments={"order": "4711", "amount": "1.00"})
    second = questions.held(run, seq=3, arguments={"order": "4712", "amount": "2.00"})
    manual = questions.held(run, seq=4, tier=4)
    assert first.alike == second.alike != manual.alike
