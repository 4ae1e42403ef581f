"""Costs and the audit log through the API."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.utils import timezone
from uuid_utils.compat import uuid7

from agents.audit import log
from agents.contracts import BilledCall, Price, Usage
from agents.models import Agent, AuditEntry, Run, Team, User
from finops import ledger
from tests import factories
from tests.api.stage import Caller

NOON = datetime(2025, 11, 20, 12, 0, tzinfo=UTC)


def _bill(run: Run, seq: int, amount: str | None, *, at: datetime | None = None, model: str = "sim-small") -> None:
    kind = "priced" if amount else "unpriced"
    ledger.book(
        BilledCall(
            run_id=run.pk,
            seq=seq,
            attempt=1,
            agent_id=run.agent_id,
            team_id=run.team_id,
            release_id=run.release_id,
            use_case="service",
            provider="simulated",
            model=model,
            usage=Usage(100, 10),
            price=Price(Decimal(amount) if amount else None, kind),
            at=at or timezone.now(),
        )
    )


def test_costs_by_group_sum_to_the_total_and_unpriced_is_not_free(viewer: Caller, run: Run, team: Team) -> None:
    other = factories.run(factories.agent("buyer", of=team))
    for seq, amount in enumerate(["0.0123", "1", None]):
        _bill(run, seq, amount)
    _bill(other, 1, None, model="new-model")
    answer = viewer.get("/costs?group_by=agent")
    assert answer["next_cursor"] is None
    desk, buyer = answer["items"]
    assert (desk["group"], desk["amount"], desk["calls"], desk["unpriced_calls"]) == ("desk", "1.0123", 3, 1)
    assert (buyer["group"], buyer["amount"], buyer["calls"], buyer["tokens_in"]) == ("buyer", None, 1, 100)
    assert (answer["total"]["amount"], answer["total"]["calls"]) == ("1.0123", 4)
    assert [item["group"] for item in viewer.get("/costs?group_by=model")["items"]] == ["sim-small", "new-model"]
    assert viewer.get("/costs?agent=buyer")["total"]["calls"] == 1


def test_costs_of_a_stretch_of_time_in_days_of_utc(viewer: Caller, run: Run) -> None:
    for seq, hours in enumerate((0, 11.9, 12, 48)):
        _bill(run, seq, "1", at=NOON + timedelta(hours=hours))
    answer = viewer.get("/costs?group_by=day&since=2025-11-20T12:00:00Z&until=2025-11-22T12:00:00Z")
    assert [(item["group"], item["amount"]) for item in answer["items"]] == [
        ("2025-11-21", "1.00"),
        ("2025-11-20", "2.00"),
    ]
    assert (answer["since"], answer["until"]) == ("2025-11-20T12:00:00.000Z", "2025-11-22T12:00:00.000Z")


def test_costs_of_the_last_thirty_days_unless_said(viewer: Caller, run: Run) -> None:
    _bill(run, 1, "1", at=timezone.now() - timedelta(days=29))
    _bill(run, 2, "1", at=timezone.now() - timedelta(days=32))
    assert viewer.get("/costs")["total"]["amount"] == "1.00"


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("group_by=mood", "group_by"),
        ("since=2025-11-21T00:00:00Z&until=2025-11-20T00:00:00Z", "since"),
        ("since=yesterday", "since"),
        ("customer=4711", "customer"),
    ],
)
def test_a_report_that_cannot_be_made_says_why(viewer: Caller, query: str, field: str) -> None:
    assert viewer.refused("GET", f"/costs?{query}", status=422, code="invalid")["field"] == field


def test_a_stranger_pays_for_nothing_of_ours(outsider: Caller, run: Run) -> None:
    _bill(run, 1, "1")
    answer = outsider.get("/costs")
    assert (answer["items"], answer["total"]["amount"], answer["total"]["calls"]) == ([], None, 0)


# --- the audit log ----------------------------------------------------------------------------------------------------
def test_an_entry_says_who_did_what_to_what_and_why(viewer: Caller, run: Run, olga: User) -> None:
    asked = uuid7()
    log.record("run.pause", about=run, by=olga, reason="Noisy.", request_id=asked, shift="night")
    entry = viewer.get("/audit")["items"][0]
    assert (entry["by"], entry["verb"], entry["outcome"], entry["team"]) == ("olga", "run.pause", "done", "service")
    assert entry["subject"] == {"kind": "run", "id": str(run.pk), "name": str(run)}
    assert (entry["reason"], entry["request_id"], entry["detail"]) == ("Noisy.", str(asked), {"shift": "night"})


def test_filters_and_pages_of_the_log(viewer: Caller, run: Run, olga: User, django_assert_num_queries: Any) -> None:
    AuditEntry.objects.filter(by=olga).exists()
    for number in range(4):
        log.record("run.pause", about=run, by=olga if number % 2 else None, outcome="denied" if number == 3 else "done")
    log.record("agent.freeze", about=run.agent, by=olga)

    def found(query: str) -> list[str]:
        return [entry["verb"] for entry in viewer.get(f"/audit?{query}")["items"]]

    assert found("verb=agent.freeze") == ["agent.freeze"]
    assert found("outcome=denied,failed") == ["run.pause"]
    assert found(f"subject=run:{run.pk}&by=cockpit") == ["run.pause"] * 2
    assert found("by=OLGA&verb=run.pause") == ["run.pause"] * 2
    numbers = [entry["id"] for entry in viewer.all("/audit", limit=2)]
    assert numbers == sorted(numbers, reverse=True)
    assert len(numbers) >= 6
    assert viewer.refused("GET", "/audit?subject=4711", status=422, code="invalid")["field"] == "subject"
    assert viewer.refused("GET", "/audit?outcome=maybe", status=422, code="invalid")["field"] == "outcome"
    with django_assert_num_queries(3):  # the token, its memberships, the entries
        viewer.get("/audit")


def test_entries_of_other_teams_are_not_shown(outsider: Caller, run: Run, agent: Agent) -> None:
    assert [entry for entry in outsider.get("/audit")["items"] if entry["team"] == "service"] == []
