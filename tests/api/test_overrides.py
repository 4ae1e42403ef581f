"""Overrides through the API: made, listed and taken back by programs, of runs and of agents."""

from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest
from django.utils import timezone
from django.utils.dateparse import parse_datetime

from agents.models import Agent, Override, Run
from tests.api.stage import Caller

pytestmark = pytest.mark.django_db


def ask(value: Any = 5, **more: Any) -> dict[str, Any]:
    """A body that changes the limit of steps."""
    return {"parameter": "limits.steps", "value": value, "reason": "It goes in circles.", **more}


@pytest.fixture(params=["run", "agent"])
def path(request: pytest.FixtureRequest, run: Run, agent: Agent) -> str:
    """The door of a run's overrides, and that of its agent's."""
    return f"/runs/{run.pk}/overrides" if request.param == "run" else f"/agents/{agent.slug}/overrides"


def test_a_parameter_is_changed_listed_and_taken_back(operator: Caller, path: str) -> None:
    made = operator.post(path, ask(), status=201)
    assert (made["parameter"], made["before"], made["value"], made["by"]) == ("limits.steps", 20, 5, "night-watch")
    until = parse_datetime(made["expires_at"])
    assert until is not None
    assert timedelta(minutes=59) < until - timezone.now() <= timedelta(hours=1)
    assert operator.get(path)["items"] == [made]
    back = operator.delete(path, {"parameter": "limits.steps", "reason": "It found its way."})
    assert (back["id"], back["ended_by"], back["ended_because"]) == (made["id"], "night-watch", "It found its way.")
    assert operator.delete(path, {"parameter": "limits.steps"}) == back
    operator.refused("DELETE", path, {"parameter": "limits.tokens"}, status=409, code="conflict")


def test_asking_twice_is_one_act(operator: Caller, path: str) -> None:
    body = ask(request_id=str(uuid4()))
    assert operator.post(path, body, status=201) == operator.post(path, body, status=201)
    assert Override.objects.count() == 1
    operator.refused("POST", path, {**body, "value": 6}, status=409, code="conflict")


def test_until_the_run_ends_is_for_runs_only(operator: Caller, run: Run, agent: Agent) -> None:
    made = operator.post(f"/runs/{run.pk}/overrides", ask(expires_at=None), status=201)
    assert made["expires_at"] is None
    error = operator.refused(
        "POST", f"/agents/{agent.slug}/overrides", ask(expires_at=None), status=422, code="invalid"
    )
    assert error["field"] == "expires_at"


@pytest.mark.parametrize(
    ("body", "field"),
    [
        (ask("many"), "value"),
        (ask(parameter="limits.stesp"), "parameter"),
        (ask(reason=" "), "reason"),
        (ask(expires_at="2025-01-01T00:00:00Z"), "expires_at"),
        (ask(expires_at="tomorrow"), "expires_at"),
        (ask({"a": [1]}), "value"),
        (ask(None), "value"),
        (ask(parameter="models", value=7), "value"),
    ],
)
def test_what_does_not_fit_is_refused_by_its_name(
    operator: Caller, path: str, body: dict[str, Any], field: str
) -> None:
    assert operator.refused("POST", path, body, status=422, code="invalid")["field"] == field
    assert not Override.objects.exists()


def test_a_run_shows_what_holds_for_its_agent_and_no_other_runs(operator: Caller, run: Run, agent: Agent) -> None:
    operator.post(f"/agents/{agent.slug}/overrides", ask(7), status=201)
    operator.post(f"/runs/{run.pk}/overrides", ask(5), status=201)
    assert [one["value"] for one in operator.get(f"/runs/{run.pk}/overrides")["items"]] == [5, 7]
    assert [one["value"] for one in operator.get(f"/agents/{agent.slug}/overrides")["items"]] == [7]


def test_who_may_not_is_told_and_who_may_not_see_finds_nothing(
    viewer: Caller, reviewer: Caller, outsider: Caller, path: str
) -> None:
    for caller in (viewer, reviewer):
        caller.refused("POST", path, ask(), status=403, code="forbidden")
    for method in ("GET", "POST", "DELETE"):
        body = None if method == "GET" else ask() if method == "POST" else {"parameter": "limits.steps"}
        outsider.refused(method, path, body, status=404, code="not_found")
