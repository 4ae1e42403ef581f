"""Agents and the fleet through the API."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.utils import timezone

from agents.models import RUN_BOUNDS, Agent, Control, Run, Team, Tool, ToolGrant, User, Worker
from tests import factories
from tests.api import stage
from tests.api.stage import Caller
from tests.approvals import questions


def test_an_agent_says_what_it_is_and_what_it_may_use(viewer: Caller, agent: Agent, olga: User) -> None:
    read, refund, gone = (
        Tool.objects.create(name=name, description="", schema={}, writes=writes, tier=tier)
        for name, writes, tier in (("orders.read", False, 1), ("payments.refund", True, 3), ("mail.send", True, 2))
    )
    ToolGrant.objects.create(agent=agent, tool=read)
    ToolGrant.objects.create(agent=agent, tool=refund, tier=4)
    ToolGrant.objects.create(agent=agent, tool=gone, expires_at=timezone.now())
    Agent.objects.filter(pk=agent.pk).update(owner=olga, purpose="Answers tickets.")
    item = viewer.get("/agents")["items"][0]
    assert (item["slug"], item["team"], item["owner"], item["simulated"]) == ("desk", "service", "olga", True)
    assert item["release"]["version"] == agent.release.version  # type: ignore[union-attr]
    assert item["frozen"] is None
    whole = viewer.get("/agents/desk")
    assert {name: whole[name] for name in item} == item
    assert whole["models"] == [{"provider": "simulated", "model": "sim-small"}]
    assert whole["limits"] == {"steps": 20}
    assert whole["tools"] == [
        {"name": "orders.read", "tier": 1, "writes": False},
        {"name": "payments.refund", "tier": 4, "writes": True},
    ]


def test_an_agent_without_a_release_has_none(viewer: Caller, agent: Agent) -> None:
    Agent.objects.update(release=None)
    whole = viewer.get("/agents/desk")
    assert (whole["release"], whole["simulated"], whole["models"], whole["limits"]) == (None, False, [], {})


def test_filters_and_pages_of_agents(viewer: Caller, team: Team, django_assert_num_queries: Any) -> None:
    for slug in ("buyer", "desk", "dunning"):
        factories.agent(slug, of=team)
    factories.agent("trial", of=team, environment="sandbox", frozen_at=timezone.now(), frozen_reason="Not yet.")

    def found(query: str) -> list[str]:
        return [item["slug"] for item in viewer.get(f"/agents?{query}")["items"]]

    assert [item["slug"] for item in viewer.all("/agents", limit=3)] == ["buyer", "desk", "dunning", "trial"]
    assert found("environment=sandbox") == found("frozen=true") == ["trial"]
    assert found("frozen=false&team=service") == ["buyer", "desk", "dunning"]
    assert viewer.refused("GET", "/agents?team=roastery", status=422, code="invalid")["field"] == "team"
    assert viewer.refused("GET", "/agents?frozen=perhaps", status=422, code="invalid")["field"] == "frozen"
    with django_assert_num_queries(3):  # the token, its memberships, the agents
        viewer.get("/agents")


def test_a_bundle_is_not_read_for_a_list(viewer: Caller, agent: Agent, django_assert_max_num_queries: Any) -> None:
    with django_assert_max_num_queries(4) as counted:
        viewer.get("/agents")
    assert not any('"agents_release"."bundle",' in query["sql"] for query in counted.captured_queries)


def test_freeze_and_thaw(operator: Caller, agent: Agent) -> None:
    frozen = operator.post("/agents/desk/freeze", {"reason": "Refunds twice."})
    assert (frozen["verb"], frozen["agent"], frozen["run"], frozen["state"]) == ("freeze", "desk", None, None)
    shown = operator.get("/agents/desk")["frozen"]
    assert (shown["by"], shown["reason"]) == ("night-watch", "Refunds twice.")
    again = operator.refused("POST", "/agents/desk/freeze", {"reason": "Again."}, status=409, code="conflict")
    assert "frozen already" in again["message"]
    assert operator.delete("/agents/desk/freeze")["verb"] == "thaw"
    assert operator.get("/agents/desk")["frozen"] is None
    assert "not frozen" in operator.refused("DELETE", "/agents/desk/freeze", status=409, code="conflict")["message"]


def test_freezing_needs_a_reason(operator: Caller, agent: Agent) -> None:
    error = operator.refused("POST", "/agents/desk/freeze", {"reason": ""}, status=422, code="invalid")
    assert error["field"] == "reason"
    assert not Control.objects.exists()


# --- the fleet --------------------------------------------------------------------------------------------------------
def _seconds(*places: int) -> list[int]:
    """A histogram with one run in each of these buckets."""
    return [places.count(place) for place in range(len(RUN_BOUNDS) + 1)]


@pytest.fixture
def fleet(team: Team, agent: Agent) -> Agent:
    """Two agents at work, one more that rests; a worker, and one that has died."""
    other = factories.agent("dispatch", of=team, frozen_at=timezone.now())
    factories.agent("scout", of=team)
    for state in ("queued", "running", "running"):
        Run.objects.filter(pk=factories.run(agent).pk).update(state=state)
    Run.objects.filter(pk=factories.run(other).pk).update(state="paused")
    stage.ended(factories.run(other), "failed")
    told: dict[str, Any] = {"model_calls": 3, "tokens_in": 100, "tokens_out": 10, "cost": Decimal("0.012")}
    stage.minute(
        agent, runs_completed=2, steps=5, confidence_sum=1.5, confidence_count=2, **told, run_seconds=_seconds(3, 5)
    )
    stage.minute(agent, ago=timedelta(minutes=3), runs_completed=1, run_seconds=_seconds(4), **told)
    stage.minute(agent, ago=timedelta(hours=2), runs_failed=1, run_seconds=_seconds(13))
    stage.minute(other, runs_failed=1, model_calls=1, unpriced=1, run_seconds=_seconds(13))
    now = timezone.now()
    for name, age in (("model@here", 1), ("tick@here", 30), ("long-gone", 3600)):
        Worker.objects.create(name=name, kind="worker", host="here", pid=1, seen_at=now - timedelta(seconds=age))
    questions.held(factories.run(agent))
    return agent


def test_the_fleet_at_a_glance(viewer: Caller, fleet: Agent, outsider: Caller) -> None:
    answer = viewer.get("/fleet")
    assert answer["runs"] == {"queued": 2, "running": 2, "waiting": 0, "paused": 1, "compensating": 0}
    assert answer["waiting_on_people"] == 1
    recent = answer["recent"]
    assert (recent["runs_completed"], recent["runs_failed"], recent["steps"]) == (3, 1, 5)
    assert (recent["tokens_in"], recent["cost"], recent["unpriced"]) == (200, "0.024", 1)
    assert recent["confidence"] == 0.75
    assert (recent["run_p50_s"], recent["run_p95_s"]) == (2, None)
    assert [(one["name"], one["alive"]) for one in answer["workers"]] == [("model@here", True), ("tick@here", False)]
    desk, dispatch, scout = sorted(answer["items"], key=lambda row: str(row["agent"]))
    assert (desk["agent"], desk["runs"]["running"], desk["recent"]["run_p95_s"]) == ("desk", 2, 5)
    assert (dispatch["frozen"], dispatch["recent"]["cost"], dispatch["recent"]["tokens_in"]) == (True, None, None)
    assert (scout["recent"]["cost"], scout["recent"]["tokens_in"], scout["recent"]["confidence"]) == ("0.00", 0, None)
    nothing = outsider.get("/fleet")
    assert (nothing["items"], nothing["waiting_on_people"], sum(nothing["runs"].values())) == ([], 0, 0)
    assert nothing["recent"]["runs_completed"] == 0


def test_how_far_the_fleet_looks_back(viewer: Caller, fleet: Agent) -> None:
    answer = viewer.get("/fleet?minutes=180")
    assert answer["recent"]["runs_failed"] == 2
    since, at = (datetime.fromisoformat(answer[name]) for name in ("since", "at"))
    assert timedelta(minutes=180) <= at.astimezone(UTC) - since < timedelta(minutes=181)
    error = viewer.refused("GET", "/fleet?minutes=1441", status=422, code="invalid")
    assert (error["field"], error["message"]) == ("minutes", '`minutes` must be 1440 or less, not "1441".')


def test_the_fleet_costs_the_same_however_many_agents(
    viewer: Caller, fleet: Agent, team: Team, django_assert_num_queries: Any
) -> None:
    viewer.get("/fleet")
    with django_assert_num_queries(7):  # token, memberships, runs, rollups, agents, approvals, workers
        viewer.get("/fleet")
    for number in range(9):
        stage.minute(factories.agent(f"more-{number}", of=team), runs_completed=1)
    with django_assert_num_queries(7):
        answer = viewer.get("/fleet?limit=5")
    assert (len(answer["items"]), answer["recent"]["runs_completed"]) == (5, 12)
    assert len(viewer.all("/fleet", limit=5)) == 12
