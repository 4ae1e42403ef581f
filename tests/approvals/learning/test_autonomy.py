"""Autonomy is earned on evidence, put in force by governance alone, used by drivers, and lost at once."""

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings as configured
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from hypothesis import given, settings
from hypothesis import strategies as st
from uuid_utils.compat import uuid7

from agents import errors
from agents.models import Agent, AuditEntry, Autonomy, Role, Step, Team, User, Watermark
from agents.registry import earning, parameters
from agents.runs import runner, starting
from agents.tools.catalogue import tool
from approvals.learning import autonomy, criteria, evidence, watching
from approvals.learning.criteria import Drifting, Earning
from approvals.learning.evidence import Evidence
from approvals.learning.models import Proposal
from approvals.learning.statistics import Share
from approvals.models import Approval, Decision
from cockpit.ticking import JOBS
from tests import factories, showing
from tests.api import stage
from tests.approvals import questions
from tests.approvals.learning import decided

GIFT = "test.gift"
RIGHT, WRONG = (0.95, "approved"), (0.95, "rejected")
LONG = timedelta(days=40)


@tool(GIFT, tier=3, floor=1, writes=True, idempotent=True, says=lambda name: f"Send {name} a gift", touches=list)
def gift(name: str) -> dict[str, Any]:
    """Send a customer a gift."""
    return {"sent": name}


@pytest.fixture
def giver(team: Team, olga: User, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Agent:
    """An agent of olga's that gives at tier 3, where 100 right acts in 20 runs over 30 days are enough."""
    monkeypatch.setattr(configured, "WORKSPACE", tmp_path)
    (tmp_path / criteria.FILE).write_text("[supervised]\nruns = 20\n[auto]\nruns = 20\n[drift]\nenough = 10\n")
    made: Agent = factories.agent("giver", owner=olga)
    made.release = factories.release(
        made,
        program="pipeline",
        tools=[GIFT],
        tiers={GIFT: 3},
        pipeline=[{"tool": GIFT, "arguments": {"name": "Ida"}}],
    )
    made.save(update_fields=["release"])
    return made


def shown(agent: Agent, by: User, *, right: int = 100, wrong: int = 0, **how: Any) -> None:
    decided.judged(agent, [RIGHT] * right + [WRONG] * wrong, by=by, tool=GIFT, **{"ago": LONG, "runs": 20, **how})


def answer(proposal: Proposal, by: User, given: str = "ratify", **more: Any) -> Proposal:
    return autonomy.decide(
        proposal, answer=given, by=by, **{"reason": "It has shown it.", "request_id": uuid7(), **more}
    )


@pytest.fixture
def earned(giver: Agent, rhea: User, governor: User) -> Autonomy:
    """Tier 2, ratified."""
    shown(giver, rhea)
    autonomy.consider()
    made = answer(Proposal.objects.get(), governor).autonomy
    assert made is not None
    return made


seen = st.builds(
    Evidence,
    tool=st.just(GIFT),
    tier=st.integers(2, 3),
    runs=st.integers(0, 20_000),
    judged=st.integers(0, 5000).flatmap(lambda of: st.integers(0, of).map(lambda right: Share(right, of))),
    violations=st.integers(0, 2),
    red=st.integers(0, 2),
    days=st.floats(0, 100),
    error=st.one_of(st.none(), st.floats(0, 1)),
    said=st.integers(0, 5000),
)


@settings(max_examples=60, deadline=None)
@given(seen, st.integers(1, 10_000), st.floats(0.9, 1))
def test_more_of_what_is_right_never_speaks_against_an_agent(one: Evidence, runs: int, right: float) -> None:
    wanted = Earning(runs=runs, right=right)
    met = [each.is_met for each in evidence.requirements(one, wanted)]
    share = one.judged.value
    assert met == [
        one.runs >= runs,
        share is not None and share >= right,
        one.violations == 0,
        one.days >= wanted.days,
    ]
    better = Share(one.judged.right + 1, one.judged.of + 1)
    improved = Evidence(one.tool, one.tier, one.runs + 1, better, 0, one.red, one.days + 1, one.error, one.said)
    assert all(
        after or not before
        for before, after in zip(met, [e.is_met for e in evidence.requirements(improved, wanted)], strict=True)
    )


@settings(max_examples=60, deadline=None)
@given(seen)
def test_what_is_lost_has_a_reason_and_what_is_clean_is_kept(one: Evidence) -> None:
    allowed = Drifting(enough=50)
    why = evidence.drifted(one, allowed)
    wrong = one.judged.of >= 50 and (one.judged.value or 0) < allowed.right
    off = one.said >= 50 and (one.error or 0) > allowed.calibration_error
    assert bool(why) == bool(one.violations or wrong or off)


def test_some_acts_never_graduate() -> None:
    one = Evidence(GIFT, 3, 10**6, Share(10**6, 10**6), 0, 0, 900, 0.0, 10**6)
    assert evidence.floored(one, mildest=1, never=()) == ""
    assert "learning.toml" in evidence.floored(one, mildest=1, never=(GIFT,))
    assert "floor=3" in evidence.floored(one, mildest=3, never=())
    red = Evidence(GIFT, 3, 1, Share(1, 1), 0, 1, 9, 0.0, 1)
    assert "red zone" in evidence.floored(red, mildest=1, never=())
    manual = Evidence(GIFT, 4, 1, Share(1, 1), 0, 0, 9, 0.0, 1)
    assert "manual" in evidence.floored(manual, mildest=1, never=())
    least = Evidence(GIFT, 1, 1, Share(1, 1), 0, 0, 9, 0.0, 1)
    assert evidence.floored(least, mildest=1, never=())


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 4), st.integers(1, 4), st.integers(1, 4))
def test_what_was_earned_counts_only_against_the_tier_it_was_earned_against(said: int, was: int, tier: int) -> None:
    bundle = {"tools": [GIFT], "tiers": {GIFT: said}}
    grown = parameters.earned(bundle, {GIFT: (was, tier), "test.other": (3, 1)})
    assert parameters.value(grown, f"tiers.{GIFT}") == (tier if said == was and tier < was else said)
    assert "test.other" not in grown["tiers"]
    assert parameters.value(parameters.applied(grown, {f"tiers.{GIFT}": 4}), f"tiers.{GIFT}") == 4


def test_the_tick_proposes_what_was_shown_once(giver: Agent, rhea: User) -> None:
    shown(giver, rhea, right=99, wrong=1)  # 99 %
    assert autonomy.consider() == 0
    shown(giver, rhea, right=100)  # 99.5 %
    assert (autonomy.consider(), autonomy.consider()) == (1, 0)
    made = Proposal.objects.get()
    assert (made.before, made.after, made.evidence["judged"], made.evidence["right"]) == (3, 2, 200, 199)
    assert AuditEntry.objects.filter(verb="autonomy.proposed", by=None).count() == 1
    shown(giver, rhea, right=0, wrong=5)
    assert autonomy.consider() == 1
    made.refresh_from_db()
    assert (made.state, made.closed_by) == (Proposal.State.WITHDRAWN, None)


@pytest.mark.parametrize(
    "missing", [{"runs": 10}, {"ago": timedelta(days=3)}, {"zone": Approval.Zone.RED}, {"tier": 2}]
)
def test_nothing_is_proposed_while_something_is_missing(giver: Agent, rhea: User, missing: dict[str, Any]) -> None:
    shown(giver, rhea, **missing)
    assert autonomy.consider() == 0


def test_a_violation_speaks_against_it(giver: Agent, rhea: User) -> None:
    shown(giver, rhea, right=400)
    run = factories.run(giver)
    factories.step(run, name=GIFT, state=Step.State.REFUSED, gate="policy")
    assert autonomy.consider() == 0


def test_governance_ratifies_and_nobody_who_owns_the_agent(
    giver: Agent, rhea: User, olga: User, governor: User, team: Team
) -> None:
    shown(giver, rhea)
    autonomy.consider()
    proposal = Proposal.objects.get()
    with pytest.raises(errors.Forbidden, match="takes the role governance"):
        answer(proposal, rhea)
    giver.owner = governor
    giver.save(update_fields=["owner"])
    proposal = Proposal.objects.get()
    with pytest.raises(errors.Forbidden, match="You own giver"):
        answer(proposal, governor)
    assert AuditEntry.objects.filter(verb="autonomy.ratify", outcome="denied").count() == 2
    other, request_id = factories.person("gil", Role.GOVERNANCE, of=team), uuid7()
    made = answer(proposal, other, request_id=request_id)
    assert answer(proposal, other, request_id=request_id).pk == made.pk
    assert earning.tier(giver, GIFT) == 2
    with pytest.raises(errors.Conflict, match="ratified by gil already"):
        answer(proposal, other, "decline")


def test_declined_nobody_is_asked_again_for_a_while(giver: Agent, rhea: User, governor: User) -> None:
    shown(giver, rhea)
    autonomy.consider()
    answer(Proposal.objects.get(), governor, "decline")
    assert earning.tier(giver, GIFT) == 3
    assert autonomy.consider() == 0


def test_evidence_that_moved_is_looked_at_again_when_it_is_ratified(giver: Agent, rhea: User, governor: User) -> None:
    shown(giver, rhea)
    autonomy.consider()
    shown(giver, rhea, right=0, wrong=9)
    with pytest.raises(errors.Conflict, match="no longer meets"):
        answer(Proposal.objects.get(), governor)
    assert not Autonomy.objects.exists()


def test_what_was_shown_at_one_tier_earns_the_next_one_only_once(earned: Autonomy, rhea: User) -> None:
    assert autonomy.consider() == 0
    seen = evidence.gather(earned.agent, GIFT)
    assert seen is not None
    assert (seen.tier, seen.judged.of) == (2, 0)


def test_a_rejection_as_not_allowed_ends_it_with_the_next_tick(earned: Autonomy, rhea: User) -> None:
    assert watching.watch() == 0
    run = questions.run(by=earned.agent)
    asked = questions.held(run, name=GIFT, arguments={"name": "Ida"})
    with CaptureQueriesContext(connection) as deciding:
        questions.settle(asked, by=rhea, answer="reject", code=Decision.Code.NOT_ALLOWED)
    assert not [one for one in deciding if "agents_autonomy" in one["sql"]], "the decision carries none of it"
    assert (watching.watch(), watching.watch()) == (1, 0)
    earned.refresh_from_db()
    assert (earned.ended_by, earned.ended_because) == (None, "1 violation since it was earned.")
    assert earning.tier(earned.agent, GIFT) == 3
    entry = AuditEntry.objects.get(verb="autonomy.withdrawn")
    assert (entry.by, entry.subject_name) == (None, "giver")


def test_what_a_policy_refuses_ends_it_with_the_next_tick(earned: Autonomy) -> None:
    assert watching.watch() == 0
    factories.step(factories.run(earned.agent), name=GIFT, state=Step.State.REFUSED, gate="policy")
    assert watching.watch() == 1


def test_nothing_is_counted_where_nothing_happened_until_all_is_looked_at(earned: Autonomy) -> None:
    watching.watch()
    with CaptureQueriesContext(connection) as looking:
        assert watching.watch() == 0
    assert len(looking) == 3, "where it stands, which grants moved, and how far it has looked"
    long_ago = timezone.now() - watching.FULL
    Watermark.objects.filter(name=watching.ALL).update(moved_at=long_ago)
    with CaptureQueriesContext(connection) as looking:
        watching.watch()
    assert len(looking) > 3


def test_the_tick_watches_apart_from_its_other_jobs() -> None:
    [job] = [one for one in JOBS if one.work == watching.watch]
    assert (job.alone, job.every <= 5) == (True, True)


def test_drift_ends_it_at_the_next_tick(earned: Autonomy, rhea: User) -> None:
    shown(earned.agent, rhea, right=9, wrong=0, ago=timedelta(0), tier=2)
    assert watching.watch() == 0
    decided.judged(earned.agent, [(0.95, "edited")] * 3, by=rhea, tool=GIFT, ago=timedelta(0), tier=2)
    assert (watching.watch(), watching.watch()) == (1, 0)
    earned.refresh_from_db()
    assert earned.ended_because.startswith("Right in 75.00\N{NO-BREAK SPACE}% of 12 acts")


def test_people_take_it_away_and_say_why(earned: Autonomy, olga: User, max_: User, client: Client) -> None:
    client.force_login(max_)
    address = f"/approvals/autonomy/grants/{earned.pk}/end/"
    given = {"reason": "We saw odd gifts.", "request_id": str(uuid7())}
    assert client.post(address, given).status_code == 403
    client.force_login(olga)
    assert client.post(address, given).status_code == 302
    earned.refresh_from_db()
    assert (earned.ended_by, earned.ended_because) == (olga, "We saw odd gifts.")
    assert client.post(address, given | {"request_id": str(uuid7())}).status_code == 409


def test_the_pages_show_the_evidence_and_take_the_answer(
    giver: Agent, rhea: User, olga: User, governor: User, client: Client
) -> None:
    shown(giver, rhea)
    autonomy.consider()
    client.force_login(olga)
    page = client.get("/approvals/autonomy/giver/").content.decode()
    assert "at least 20" in page
    assert "takes the role governance" in page
    client.force_login(governor)
    assert "100 of 100 right in 20 runs" in client.get("/approvals/autonomy/").content.decode()
    given = {"reason": "It has shown it.", "request_id": str(uuid7())}
    address = f"/approvals/autonomy/proposals/{Proposal.objects.get().pk}"
    assert "you have none yet" in client.get("/approvals/autonomy/giver/").content.decode()
    assert client.post(f"{address}/ratification/", given).status_code == 403
    showing.app_of(governor)
    assert 'name="factor_code"' in client.get("/approvals/autonomy/giver/").content.decode()
    dialog = {"HX-Request": "true"}
    wrong = client.post(f"{address}/ratification/", given | {"factor_code": "1"}, headers=dialog)
    assert (wrong.status_code, wrong["HX-Retarget"]) == (422, "#toasts"), "the dialog stays and says why"
    given["factor_code"] = showing.code()
    assert client.post(f"{address}/ratification/", given, headers=dialog)["HX-Redirect"].endswith("?tool=test.gift")
    assert client.post(f"{address}/ratification/", given).status_code == 302
    assert client.post(f"{address}/refusal/", {**given, "request_id": str(uuid7())}).status_code == 409
    page = client.get("/approvals/autonomy/giver/").content.decode()
    assert "which it earned; its release says 3" in page
    assert "3 → 2" in client.get("/approvals/autonomy/?state=ratified").content.decode()
    refused = client.get("/approvals/autonomy/?state=rejected")
    assert (refused.status_code, "it can be open, ratified" in refused.content.decode()) == (422, True)


@pytest.mark.django_db(transaction=True)
def test_a_driver_uses_what_was_earned_and_asks_again_once_it_is_lost(
    giver: Agent, rhea: User, governor: User, olga: User
) -> None:
    shown(giver, rhea)
    autonomy.consider()
    held = answer(Proposal.objects.get(), governor).autonomy
    assert held is not None
    alone = starting.start(giver, objective="Thank Ida.", by=olga)
    runner.drive(alone.pk)
    step = alone.steps.get(name=GIFT)
    assert (step.state, step.tier) == ("done", 2)
    assert step.in_force["overrides"][0] == {"id": str(held.pk), "parameter": f"tiers.{GIFT}", "value": 2}
    autonomy.demote(held, by=olga, reason="Odd gifts.", request_id=uuid7())
    asking = starting.start(giver, objective="Thank Ida.", by=olga)
    runner.drive(asking.pk)
    step = asking.steps.get(name=GIFT)
    assert (step.state, step.tier) == ("held", 3)


# --- through the API -------------------------------------------------------------------------------------------------
def test_programs_read_the_evidence_and_take_it_away_once_but_a_person_ratifies(
    giver: Agent, rhea: User, team: Team, olga: User, governor: User
) -> None:
    shown(giver, rhea)
    autonomy.consider()
    keeper, own = stage.token("keeper", "governance"), stage.token("own", "governance", owner=olga)
    (told,) = keeper.get("/agents/giver/autonomy")["items"]
    assert (told["tool"], told["tier"], told["milder"], told["judged"], told["right"]) == (GIFT, 3, 2, 100, 100)
    assert all(one["is_met"] for one in told["requirements"])
    proposal = keeper.get("/proposals?state=open&agent=giver")["items"][0]
    assert proposal["id"] == told["proposal"] == keeper.get(f"/proposals/{proposal['id']}")["id"]
    path, said = f"/proposals/{proposal['id']}/ratification", {"reason": "I read them.", "request_id": str(uuid7())}
    assert "stand behind" in own.refused("POST", path, said, status=403, code="forbidden")["message"]
    assert "in the browser" in keeper.refused("POST", path, said, status=403, code="forbidden")["message"]
    assert AuditEntry.objects.filter(verb="autonomy.ratify", outcome="denied").count() == 2
    answer(Proposal.objects.get(), governor)
    ratified = keeper.get(f"/proposals/{proposal['id']}")
    assert (ratified["state"], ratified["closed_by"]) == ("ratified", governor.username)
    other = path.replace("ratification", "refusal")
    assert (
        f"ratified by {governor.name} already"
        in keeper.refused("POST", other, {"reason": "x"}, status=409, code="conflict")["message"]
    )
    (held,) = keeper.get("/autonomy?in_force=true")["items"]
    assert (held["id"], held["tier"], held["granted_by"]) == (ratified["autonomy"], 2, governor.username)
    lost = keeper.delete(f"/autonomy/{held['id']}", {"reason": "Enough."})
    assert (lost["ended_by"], lost["ended_because"]) == ("keeper", "Enough.")
    keeper.refused("DELETE", f"/autonomy/{held['id']}", {"reason": "x"}, status=409, code="conflict")
    assert keeper.get("/autonomy?in_force=true&agent=giver")["items"] == []
    assert stage.token("watch", "viewer", of=factories.team("far")).get("/autonomy")["items"] == []


def test_taking_it_away_twice_with_one_request_id_is_one_act(earned: Autonomy) -> None:
    steer, once = stage.token("steer", "operator"), {"reason": "Two wrong ones.", "request_id": str(uuid7())}
    assert steer.delete(f"/autonomy/{earned.pk}", once) == steer.delete(f"/autonomy/{earned.pk}", once)
    assert AuditEntry.objects.filter(verb="autonomy.withdrawn").count() == 1


def test_programs_read_how_right_an_agent_is(giver: Agent, rhea: User) -> None:
    shown(giver, rhea, right=90, wrong=10, ago=timedelta(days=1))
    viewer = stage.token("watch", "viewer")
    told = viewer.get("/agents/giver/calibration")
    assert (told["tool"], told["tools"], told["threshold"]) == (None, [GIFT], None)
    assert (told["judged"]["right"], told["said"]["of"], told["bins"][0]["share"]["of"]) == (90, 100, 100)
    assert told["error"] == pytest.approx(0.05)
    assert viewer.get(f"/agents/giver/calibration?tool={GIFT}")["judged"] == told["judged"]
    nothing = viewer.get("/agents/giver/calibration?tool=never.used")
    assert (nothing["error"], nothing["bins"], nothing["judged"]["of"]) == (None, [], 0)
