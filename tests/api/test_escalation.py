"""Escalation policies and calendars through the API: what holds, the next version, and what is wrong with one."""

import pytest
from uuid_utils.compat import uuid7

from agents.models import AuditEntry, Team
from approvals.models import EscalationPolicy
from tests.api import stage
from tests.api.stage import Caller

LEVEL = {"level": "L1", "targets": ["role:reviewer"], "minutes": 15, "when": "not_acknowledged"}
POLICY = {"team": "service", "levels": [LEVEL]}


@pytest.fixture
def keeper(team: Team) -> Caller:
    """Governs the team."""
    return stage.token("desk-rules", "governance", of=team)


def test_the_next_version_takes_the_place_of_what_is_built_in(keeper: Caller, viewer: Caller, outsider: Caller) -> None:
    built_in = viewer.get("/escalation-policies/service")
    assert (built_in["version"], len(built_in["content"]["levels"])) == (None, 4)
    once = {**POLICY, "request_id": str(uuid7())}
    made = keeper.post("/escalation-policies", once)
    assert (made["team"], made["version"], made["published_by"]) == ("service", 1, "desk-rules")
    assert made["content"]["levels"][0] == {**LEVEL, "level": 1, "repeat": 0, "channels": []}
    assert viewer.get("/escalation-policies/service") == made
    assert viewer.get("/escalation-policies")["items"] == [made]
    other = {**POLICY, "levels": [{**LEVEL, "minutes": 20}]}
    assert keeper.post("/escalation-policies", other)["version"] == 2
    assert keeper.post("/escalation-policies", once)["version"] == 1, "the same request has made the first"
    keeper.refused(
        "POST", "/escalation-policies", {**other, "request_id": once["request_id"]}, status=409, code="conflict"
    )
    assert EscalationPolicy.objects.count() == 2
    assert outsider.get("/escalation-policies")["items"] == []
    outsider.refused("GET", "/escalation-policies/service", status=404, code="not_found")


@pytest.mark.parametrize(
    ("change", "field", "said"),
    [
        (
            {"levels": [{**LEVEL, "minutes": 0}]},
            "levels.minutes",
            "[[levels]] number 1, minutes is 0; it should be greater",
        ),
        ({"levels": [{**LEVEL, "minuets": 5}]}, "levels.minuets", "Did you mean minutes?"),
        ({"levels": [{**LEVEL, "targets": ["nobody-here"]}]}, "targets", "no active account called 'nobody-here'"),
        ({"levels": []}, "levels", "levels is []"),
        ({"after_last": "approve"}, "after_last", "after_last is 'approve'"),
        ({"team": "elsewhere"}, "team", "the slug of one of your teams"),
        ({"clock": 5}, "clock", "`clock` must be a text, not 5."),
        ({"levles": []}, "levles", "is not known here"),
    ],
)
def test_what_is_wrong_is_named_by_table_and_key(
    keeper: Caller, outsider: Caller, change: dict[str, object], field: str, said: str
) -> None:
    error = keeper.refused("POST", "/escalation-policies", {**POLICY, **change}, status=422, code="invalid")
    assert error["field"] == field
    assert said in error["message"]
    assert not EscalationPolicy.objects.exists()


def test_hours_are_published_and_read_by_those_of_the_team(keeper: Caller, viewer: Caller) -> None:
    assert viewer.get("/calendars/service")["content"] is None
    given = {"team": "service", "zone": "Europe/Berlin", "hours": {"monday": "08:00-12:00, 13:00-17:00"}}
    made = keeper.post("/calendars", {**given, "holidays": {"2026-12-25": "Christmas"}})
    assert made["content"] == {
        "zone": "Europe/Berlin",
        "hours": {"monday": ["08:00-12:00", "13:00-17:00"]},
        "holidays": {"2026-12-25": "Christmas"},
    }
    assert viewer.get("/calendars/service") == viewer.get("/calendars")["items"][0] == made
    error = keeper.refused(
        "POST", "/calendars", {**given, "hours": {"mondy": "08:00-12:00"}}, status=422, code="invalid"
    )
    assert "the days are monday" in error["message"]


def test_it_takes_the_role_in_the_team_or_everywhere(keeper: Caller, viewer: Caller) -> None:
    for caller, body in ((viewer, POLICY), (keeper, {"levels": [LEVEL]})):
        caller.refused("POST", "/escalation-policies", body, status=403, code="forbidden")
    everywhere = stage.token("all-rules", "governance")
    assert everywhere.post("/escalation-policies", {"levels": [LEVEL]})["team"] is None
    assert viewer.get("/escalation-policies/service")["version"] == 1, (
        "that of every team holds where there is no other"
    )
    assert AuditEntry.objects.filter(verb="escalation.published", outcome="denied").count() == 2
