"""Risk: what high risk means wherever it counts, and that the zone of an act is its risk and nothing else."""

from typing import Any

import pytest
from django.db import transaction
from django.test import Client
from uuid_utils.compat import uuid7

from agents import errors, signals
from agents.contracts import Risk, Stance
from agents.models import Agent, Role, Step, Team, User
from agents.registry import declarations, earning, publishing
from agents.runs import gates, runner, starting
from agents.tools.catalogue import tool
from approvals.bulk import fitness
from approvals.gates import TierGate
from approvals.learning import evidence
from approvals.models import Approval
from approvals.policies import escalating, permissions, supposing, surface
from approvals.run_grants import bounds, grants
from tests import factories
from tests.approvals import questions
from tests.approvals.outside import elsewhere

WIPE, RISKY = "test.wipe", {"name": "test.wipe", "risk": Risk.HIGH, "tier": 1, "arguments": {"name": "Ida"}}


@tool(WIPE, tier=1, writes=True, risk="high", says=lambda name: f"Wipe {name}", touches=list)
def wipe(name: str) -> dict[str, Any]:
    """Delete everything that is known of a customer."""
    return {"wiped": name}


@pytest.fixture
def wiper(team: Team) -> Agent:
    """An agent that may use it at tier 1."""
    return publishing.publish(
        {
            "version": "1",
            "program": "pipeline",
            "agent": {
                "slug": "wiper",
                "team": team.slug,
                "owner": factories.person("otto", Role.GOVERNANCE, of=team).username,
            },
            "tools": [WIPE, "test.note"],
            "pipeline": [{"tool": WIPE, "arguments": {"name": "Ida"}}],
        },
        by=None,
    ).agent


@pytest.fixture
def asked(wiper: Agent) -> Approval:
    """May it, at tier 1?"""
    act = questions.action(questions.run(wiper), **RISKY)
    with transaction.atomic():
        questions.store(act)
        signals.step_held.send(Step, action=act, verdict=gates.judge(act))
    return questions.latest(act)


def test_what_nobody_says_of_a_tool_follows_from_whether_it_writes() -> None:
    found = {name: declarations.find(name) for name in (WIPE, "test.note", "test.echo", "test.letter")}
    assert {name: one.risk.value for name, one in found.items()} == {
        WIPE: "high", "test.note": "medium", "test.echo": "low", "test.letter": "medium",
    }  # fmt: skip
    zones = {name: one["zone"] for name, one in surface.of(found)["tools"].items()}
    assert zones == {WIPE: "red", "test.note": "yellow", "test.echo": "green", "test.letter": "yellow"}
    assert "risk" not in found["test.note"].published, "digests stay what they are"
    assert found[WIPE].published["risk"] == "high"
    with pytest.raises(ValueError, match="risk is 'severe'; it can be low, medium, high"):
        tool("test.odd", tier=1, risk="severe")


@pytest.mark.django_db
@pytest.mark.parametrize("tier", [1, 2, 3])
def test_high_risk_asks_at_any_tier_and_says_so(tier: int) -> None:
    act = questions.action(**{**RISKY, "tier": tier})
    told = TierGate().ask(act)
    assert (told.stance, told.gate, told.detail) == (Stance.HOLD, "risk", {"zone": "red"})
    assert told.reason == "test.wipe is high risk: a person approves it each time, at any tier."
    with pytest.raises(errors.Forbidden, match="no person has been asked"), transaction.atomic():
        TierGate().admit(act)
    assert TierGate().ask(questions.action(**RISKY, compensates=1)).stance == Stance.HOLD, "nor to take something back"
    assert TierGate().ask(questions.action(**RISKY, environment="sandbox")).stance == Stance.ALLOW


def test_its_question_is_red_and_is_answered_by_itself_each_time(asked: Approval) -> None:
    assert (asked.zone, asked.tier, asked.reasons[0]["gate"]) == ("red", 1, "risk")
    assert "high risk is never decided in bulk" in fitness.unfit(asked)
    assert not Approval.objects.filter(pk=asked.pk, zone__in=["green", "yellow"]).exists()
    assert "red zone is asked each time" in bounds.refusal(asked)
    act = questions.action(asked.run, **RISKY)
    assert not grants.waives(act, TierGate().ask(act))


def test_it_never_graduates(wiper: Agent, team: Team) -> None:
    seen = evidence.of(wiper, WIPE, tier=3, since=evidence.EVER)
    assert "is high risk" in evidence.floored(seen, mildest=1, never=())
    governor = factories.person("gwen", Role.GOVERNANCE, of=team)
    wiper.release.bundle["tiers"] = {WIPE: 3}
    with pytest.raises(errors.Conflict, match="high risk: a person is asked each time"):
        earning.grant(wiper, tool=WIPE, to=2, by=governor, reason="It was good.", request_id=uuid7())


def test_every_page_says_the_same_of_it(wiper: Agent) -> None:
    (row,) = [one for one in permissions.matrix([wiper]) if one.name == WIPE]
    assert (row.stance, "high risk" in row.why) == (Stance.HOLD, True)
    supposed = supposing.answer(wiper, supposing.tools(wiper)[WIPE], {"arguments": {"name": "Ida"}}, None)
    assert (supposed.stance, supposed.tier.detail["zone"]) == (Stance.HOLD, "red")
    assert escalating.sentence(wiper) == (
        "A person approves every test.wipe (high risk); everything else it does alone."
    )


@pytest.mark.django_db(transaction=True)
def test_the_engine_asks_before_it_happens(wiper: Agent, olga: User) -> None:
    run = starting.start(wiper, objective="Forget Ida.", by=olga)
    runner.drive(run.pk)
    step = run.steps.get(name=WIPE)
    assert (step.state, step.tier, step.gate) == ("held", 1, "risk")


def test_an_agent_elsewhere_says_risk_or_the_zone_that_follows_from_it(team: Team) -> None:
    tools = {"wipe": {"tier": 1, "zone": "red"}, "erase": {"tier": 1, "risk": "high"}, "label": {"tier": 1}}
    elsewhere.published(team, outside=tools)
    key = elsewhere.key(team)[0]
    for name in ("wipe", "erase"):
        held = elsewhere.held(key, name, {})
        assert (held.zone, held.reasons[0]["gate"], held.tier) == ("red", "risk", 1)
    assert elsewhere.ask(key, "label", {}).verdict == "allow"


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("told", "wrong"),
    [
        ({"tier": 1, "risk": "high", "zone": "yellow"}, "risk high is zone red, not yellow"),
        ({"tier": 1, "risk": "high", "fail_open": True}, "high risk always asks a person, so it cannot go on"),
        ({"tier": 1, "zone": "red", "fail_open": True}, "high risk always asks a person, so it cannot go on"),
        ({"tier": 1, "risk": "severe"}, "risk"),
    ],
)
def test_what_does_not_go_together_is_refused(team: Team, told: dict[str, Any], wrong: str) -> None:
    with pytest.raises(errors.Invalid, match=wrong):
        elsewhere.published(team, outside={"wipe": told})


def test_a_person_lets_it_through_once(asked: Approval, rhea: User) -> None:
    questions.settle(asked, by=rhea)
    act = questions.as_dispatched(asked, **RISKY)
    with transaction.atomic():
        TierGate().admit(act)
    signals.act_performed.send(Step, run_id=act.run_id, seq=act.seq, state="done")
    with pytest.raises(errors.Conflict, match="one approval is for one act"), transaction.atomic():
        TierGate().admit(act)


@pytest.mark.parametrize(("zone", "shown"), [("green", False), ("yellow", True), ("red", True)])
def test_queue_question_and_programs_tell_the_zone_and_programs_the_rule(
    approval: Approval, client: Client, rhea: User, zone: str, shown: bool
) -> None:
    by_rule = {"gate": "policy", "reason": "Policy 3 asks.", "rule": "money-asks"}
    Approval.objects.filter(pk=approval.pk).update(zone=zone, reasons=[*approval.reasons, by_rule])
    client.force_login(rhea)
    for page in ("/approvals/", f"/approvals/{approval.pk}/"):
        assert (f"{zone} zone" in client.get(page).content.decode()) is shown
    told = client.get(f"/api/v1/approvals/{approval.pk}").json()
    assert (told["zone"], [one["rule"] for one in told["reasons"]]) == (zone, [None, "money-asks"])
