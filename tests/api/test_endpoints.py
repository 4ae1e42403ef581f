"""Endpoints through the API: who may add one, what comes back, and the secret that is told once."""

import pytest
from uuid_utils.compat import uuid7

from agents.models import AuditEntry, Team
from approvals.notify.models import Endpoint, Notification
from tests.api import stage
from tests.api.stage import Caller

WANTED = {"team": "service", "name": "Desk", "kind": "webhook", "address": "https://desk.example.com/hook"}


@pytest.fixture
def keeper(team: Team) -> Caller:
    """May look after the endpoints of the team."""
    return stage.token("integrations", "governance", of=team)


def test_one_is_added_and_its_secret_is_told_once(keeper: Caller) -> None:
    made = keeper.post("/endpoints", WANTED)
    assert made["secret"].startswith("whsec_")
    assert (made["facts"][0], made["failures"], made["off_at"]) == ("opened", 0, None)
    assert keeper.get(f"/endpoints/{made['id']}") == {**made, "secret": None}
    assert keeper.get("/endpoints")["items"] == [{**made, "secret": None}]


def test_a_test_is_one_delivery_per_request_id(keeper: Caller) -> None:
    path = f"/endpoints/{keeper.post('/endpoints', WANTED)['id']}"
    asked = {"request_id": str(uuid7())}
    sent = keeper.post(f"{path}/test", asked)
    assert keeper.post(f"{path}/test", asked) == sent
    assert (sent["about"], sent["state"], sent["attempts"]) == ("test", "waiting", 0)
    assert keeper.get(f"{path}/deliveries")["items"] == [sent]
    other = keeper.post("/endpoints", WANTED | {"name": "Other"})["id"]
    keeper.refused("POST", f"/endpoints/{other}/test", asked, status=409, code="conflict")


def test_removing_it_deletes_its_secret_and_keeps_its_log(keeper: Caller) -> None:
    path = f"/endpoints/{keeper.post('/endpoints', WANTED)['id']}"
    keeper.post(f"{path}/test", {})
    removed = keeper.delete(path, {"reason": "It has moved."})
    assert removed["removed_at"]
    assert keeper.delete(path)["removed_at"] == removed["removed_at"]
    assert keeper.get("/endpoints")["items"] == []
    assert [one["state"] for one in keeper.get(f"{path}/deliveries")["items"]] == ["dropped"]
    assert Endpoint.objects.get().secret == ""
    assert AuditEntry.objects.get(verb="endpoint.removed").reason == "It has moved."
    keeper.refused("POST", f"{path}/activation", {}, status=409, code="conflict")
    assert keeper.post("/endpoints", WANTED)["name"] == "Desk", "its name is free again"


def test_who_may_not_is_refused_and_it_is_kept(operator: Caller, outsider: Caller, keeper: Caller) -> None:
    operator.refused("POST", "/endpoints", WANTED, status=403, code="forbidden")
    entry = AuditEntry.objects.get(verb="endpoint.added")
    assert (entry.outcome, entry.by_name) == ("denied", "night-watch")
    assert outsider.refused("POST", "/endpoints", WANTED, status=422, code="invalid")["field"] == "team"
    path = f"/endpoints/{keeper.post('/endpoints', WANTED)['id']}"
    for caller in (operator, outsider):
        assert caller.get("/endpoints")["items"] == []
        caller.refused("GET", path, status=404, code="not_found")
        caller.refused("POST", f"{path}/test", {}, status=404, code="not_found")
    assert not Notification.objects.exists()
