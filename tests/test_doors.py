"""Every address of the product, taken from the resolver, so that a new one is tried without being named here.

Nobody comes in without signing in; the stranger, who may do everything in another team, finds nothing of ours; a
viewer changes nothing; and the number of queries of a list does not grow with what it lists.
"""

import json
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from asgiref.sync import async_to_sync
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import URLResolver, get_resolver
from django.utils import timezone
from uuid_utils.compat import uuid7

from agents.models import Agent, Role, Run, Team, User
from approvals.bulk.models import BulkDecision
from approvals.models import Approval, Endpoint, SampleCount
from approvals.notify import links, telling
from tests import factories, showing, standing
from tests.api import stage
from tests.approvals import questions
from tests.finops import books

API = "api/v1/"
METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE")
# Doors that anybody may open, and why.
OPEN = {
    "login": "where one signs in",
    "healthz": "asked by load balancers; says nothing but ok",
    "readyz": "asked by supervisors; says the age of signs of life and nothing else",
    "second-factor": "where one shows it, after the password and before one is signed in",
    "passkey-challenge": "what a browser needs to show a passkey, of whose password was right",
    "theme": "light or dark on the sign-in page too; kept in the browser",
    "clock": "UTC or local on the sign-in page too; kept in the browser",
    "api:openapi-json": "what the doors are, which docs/api.md says as well",
    "api:api-root": "a name that ninja gives, behind which nothing stands",
    "api:nowhere": "what no door stands behind is 404 for everybody",
}
# Doors where everybody changes what is theirs alone.
OWN = {
    *("me", "password", "logout", "notify:settings", "notify:seen"),
    *("security", "security-app", "security-passkey", "passkey-options", "recovery-codes", "factor-removal"),
}
# Doors that show every team at once, and so take a role in every team; their own tests let such a one in.
WHOLE = {"metrics", "policies:roll-back"}
# Doors to what holds for every team: everybody may read it, and changing it takes a role in every team.
SHARED = {
    *("policies:trial", "policies:enforcement", "policies:publication"),
    *("api:list_policies", "api:publish_policies", "api:get_policies", "api:diff_policies", "api:preview_policies"),
    *("api:list_differences", "api:try_policies", "api:enforce_policies", "api:restore_policies"),
}
WORDS = {  # what every change may need; a door takes what it knows
    "reason": "To see what happens.",
    "answer": "approve",
    "objective": "Look at the ticket.",
    "agent": "till",
    "parameter": "limits.steps",
    "note": "You know this customer.",
    "tool": "test.refund",
    "percent": "12",
    "value": "5",
    "to": "old",
    "all": "1",
    "threshold": "0.5",
    "name": "Night desk",
    "kind": "email",
    "address": "night@example.com",
    "targets1": "role:reviewer",
    "open": "always",
    "zone": "UTC",
    "until": "2999-01-01T00:00:00Z",
}
BODIES = {  # the API refuses what it does not know, and says so before it looks for anything
    "api/v1/runs": {"agent": "till", "objective": "Look at the ticket."},
    "api/v1/runs/<run_id>/pin": {"to": "old", "reason": "The change is harmless."},
    "api/v1/runs/<run_id>/overrides": {"parameter": "limits.steps", "value": 5, "reason": "It goes in circles."},
    "api/v1/agents/<slug>/overrides": {"parameter": "limits.steps", "value": 5, "reason": "They go in circles."},
    "api/v1/agents/<slug>/thresholds": {"value": 0.9, "reason": "It was right above it."},
    "DELETE api/v1/runs/<run_id>/overrides": {"parameter": "limits.steps"},
    "DELETE api/v1/agents/<slug>/overrides": {"parameter": "limits.steps"},
    "api/v1/endpoints": {"team": "service", "name": "Day desk", "kind": "email", "address": "day@example.com"},
    "api/v1/endpoints/<endpoint_id>/test": {},
    "api/v1/escalation-policies": {"team": "service", "levels": [{"level": "L1", "targets": ["role:reviewer"]}]},
    "api/v1/calendars": {"team": "service", "zone": "Europe/Berlin"},
    "api/v1/policies": {"policies": {"a.cedar": ""}, "cases": []},
    "api/v1/gate": {"agent": "till", "tool": "refund"},
    "api/v1/approvals/<approval_id>/plant": {"arguments": {"order": "9", "amount": "9.00"}, "wrong": "No such order."},
    "api/v1/approvals/<approval_id>/acknowledgement": {},
    "api/v1/approvals/bulk": {"answer": "approve", "reason": "The photos show it.", "filter": {}},
    "api/v1/approvals/<approval_id>/delegation": {"to": "olga", "note": "You know this customer."},
    "api/v1/approvals/<approval_id>/decision": {"answer": "approve", "reason": "The photo shows it."},
}


@dataclass(frozen=True)
class Door:
    """An address and the names of what it takes."""

    name: str
    route: str
    takes: frozenset[str]

    def path(self, samples: dict[str, Any]) -> str:
        """The address of the samples. A parameter nobody has a sample of is a gap in this test."""
        unknown = self.takes - samples.keys()
        assert not unknown, f"{self.name} takes {sorted(unknown)}: add a sample of it to `samples`."
        return "/" + re.sub(r"<(?:\w+:)?(\w+)>", lambda match: str(samples[match[1]]), self.route)

    def call(self, client: Client, method: str, samples: dict[str, Any]) -> Any:
        """The answer to a request that lacks nothing but, perhaps, the right to make it."""
        if not self.route.startswith(API):
            return client.generic(method, self.path(samples), _form(), content_type="application/x-www-form-urlencoded")
        changes = method != "GET"
        usual = BODIES.get(self.route, {"reason": WORDS["reason"]})
        body = json.dumps(BODIES.get(f"{method} {self.route}", usual)) if changes else ""
        return client.generic(method, self.path(samples), body, content_type="application/json")


def _form() -> str:
    return "&".join(f"{name}={value}" for name, value in {**WORDS, "request_id": uuid7()}.items())


def _doors(resolver: Any, route: str = "", spaces: tuple[str, ...] = ()) -> Iterator[Door]:
    for one in resolver.url_patterns:
        if isinstance(one, URLResolver):
            yield from _doors(one, route + str(one.pattern), (*spaces, *([one.namespace] if one.namespace else [])))
        else:
            yield Door(
                ":".join([*spaces, one.name or "?"]), route + str(one.pattern), frozenset(one.pattern.converters)
            )


DOORS = sorted({door.route: door for door in _doors(get_resolver())}.values(), key=lambda door: door.route)
CLOSED = [door for door in DOORS if door.name not in OPEN]
each_closed = pytest.mark.parametrize("door", CLOSED, ids=lambda door: door.route or "/")


@pytest.fixture
def till(team: Team) -> Agent:
    """An agent with a name that no page has by chance."""
    return factories.agent("till", of=team, name="Zettelkasten")


@pytest.fixture
def samples(till: Agent, olga: User) -> dict[str, Any]:
    """What addresses name: a run that somebody else started, and a question about it."""
    run = questions.run(by=till, started_by=olga, objective="Zettelkasten wants to know.")
    approval: Approval = questions.held(run)
    SampleCount.objects.create(agent=till, tool=WORDS["tool"], stratum="unknown")
    factories.person(WORDS["to"], Role.VIEWER, of=till.team)
    names = {"run_id": run.pk, "slug": till.slug, "seq": approval.seq, "approval_id": approval.pk, "rest": "nowhere"}
    hook = Endpoint.objects.create(
        team=till.team, name="Zettelkasten", kind="email", address="till@example.com", facts=["opened"]
    )
    link = links.to(approval.pk, at=timezone.now())
    given = {"by": olga, "team": till.team, "answer": "approve", "reason": "Fine.", "chosen": "Zettelkasten"}
    bulk = BulkDecision.objects.create(**given, request_id=uuid7(), state="done", total=0)
    return {
        **names,
        "team": till.team.slug,
        "bulk_id": bulk.pk,
        "factor_id": showing.app_of(olga),
        "endpoint_id": hook.pk,
        "token": link.removesuffix("/").rpartition("/")[2],
        **standing.autonomy(till, olga),
        "grant_id": standing.grant(run, olga),
        "number": standing.policies(olga),
    }


def _as(user: User) -> Client:
    client = Client(raise_request_exception=True)
    client.force_login(user)
    return client


def test_the_resolver_is_read_whole() -> None:
    names = {door.name for door in DOORS}
    assert {"fleet", "agents:run-pause", "approvals:decision", "finops:costs", "api:openapi-json"} <= names
    assert {door.name for door in DOORS if not re.match(r"^[\w:-]+$", door.name)} == set(), "every door has a name"
    assert names >= OPEN.keys() | OWN | WHOLE


@each_closed
def test_nobody_comes_in_without_signing_in(door: Door, samples: dict[str, Any]) -> None:
    client, answers = Client(), {}
    for method in METHODS:
        response = door.call(client, method, samples)
        to_login = response.status_code == 302 and response["Location"].startswith("/login/")
        answers[method] = 401 if to_login else response.status_code
    assert set(answers.values()) <= {401, 403, 405}, answers
    assert set(answers.values()) != {405}, "none of the methods tried is known to it"
    assert not Run.objects.exclude(pk=samples["run_id"]).exists()


@pytest.mark.parametrize(
    "door", [door for door in CLOSED if door.takes and door.name not in SHARED], ids=lambda door: door.route
)
def test_what_belongs_to_a_team_does_not_exist_for_the_stranger(
    door: Door, samples: dict[str, Any], stranger: User
) -> None:
    client = _as(stranger)
    answers = {method: door.call(client, method, samples).status_code for method in METHODS}
    assert set(answers.values()) <= {404, 405}, answers
    assert 404 in answers.values()


@pytest.mark.parametrize(
    "door", [d for d in CLOSED if not d.takes and d.name != "events"], ids=lambda d: d.route or "/"
)
def test_no_page_tells_the_stranger_about_others(door: Door, samples: dict[str, Any], stranger: User) -> None:
    response = door.call(_as(stranger), "GET", samples)
    assert response.status_code in ({403} if door.name in WHOLE else {200, 405})
    assert "Zettelkasten" not in _text(response)
    assert "till" not in re.findall(r"\w+", _text(response))


def test_the_owner_of_the_name_reads_it(samples: dict[str, Any], olga: User) -> None:
    """Otherwise the test above could not fail."""
    for path in ("/", "/runs/", "/agents/", "/api/v1/runs", "/api/v1/agents"):
        assert {"till"} & set(re.findall(r"\w+", _text(_as(olga).get(path)))), path


def _text(response: Any) -> str:
    async def read() -> bytes:
        return b"".join([part async for part in response.streaming_content])

    return (async_to_sync(read)() if response.streaming else response.content).decode()


@pytest.mark.parametrize("door", [door for door in CLOSED if door.name not in OWN], ids=lambda door: door.route or "/")
def test_a_viewer_changes_nothing(door: Door, samples: dict[str, Any], team: Team) -> None:
    client = _as(factories.person("vera", Role.VIEWER, of=team))
    before = _state(samples)
    answers = {method: door.call(client, method, samples).status_code for method in METHODS if method != "GET"}
    assert set(answers.values()) <= {403, 404, 405}, answers
    assert _state(samples) == before


def _state(samples: dict[str, Any]) -> list[Any]:
    return [
        list(Run.objects.order_by("pk").values_list("pk", "state", "asked")),
        list(Agent.objects.values_list("pk", "frozen_at")),
        list(Approval.objects.values_list("pk", "state")),
        list(Endpoint.objects.values_list("pk", "name", "off_at", "removed_at")),
    ]


def test_those_who_may_do_come_through(samples: dict[str, Any], team: Team) -> None:
    """The same requests, by somebody with every permission: otherwise a door that refuses everybody would pass."""
    refused = {}
    client = showing.just_now(factories.person("ada", Role.ADMIN, of=team))
    for door in CLOSED:
        if door.name not in OWN | WHOLE | SHARED | {"events"}:
            answers = {method: door.call(client, method, samples).status_code for method in METHODS}
            known = {method: status for method, status in answers.items() if status != 405}
            if not known or not all(status < 400 or status == 409 for status in known.values()):
                refused[door.route] = answers
    assert refused == {}


# --- how many queries a list takes -----------------------------------------------------------------------------------
COUNTS = Path(__file__).with_name("query_counts.json")
LISTS = {
    "fleet": "/",
    "agents": "/agents/",
    "agent": "/agents/till/",
    "runs": "/runs/",
    "run": "/runs/{run_id}/",
    "approvals": "/approvals/",
    "approval": "/approvals/{approval_id}/",
    "escalation": "/approvals/escalation/",
    "labels": "/approvals/labels/",
    "calibration": "/approvals/calibration/",
    "agent calibration": "/approvals/calibration/till/",
    "notifications": "/notifications/",
    "endpoints": "/notifications/endpoints/",
    "endpoint": "/notifications/endpoints/{endpoint_id}/",
    "autonomy": "/approvals/autonomy/",
    "reviewers": "/approvals/reviewers/",
    "policies": "/policies/",
    "permissions": "/policies/permissions/",
    "what if": "/policies/what-if/",
    "costs": "/costs/",
    "audit": "/audit/",
    "api runs": "/api/v1/runs",
    "api steps": "/api/v1/runs/{run_id}/steps",
    "api agents": "/api/v1/agents",
    "api approvals": "/api/v1/approvals",
    "api labels": "/api/v1/labels",
    "api proposals": "/api/v1/proposals",
    "api autonomy": "/api/v1/autonomy",
    "api escalation policies": "/api/v1/escalation-policies",
    "api calendars": "/api/v1/calendars",
    "api policies": "/api/v1/policies",
    "api differences": "/api/v1/policies/{number}/differences",
    "enforcement": "/policies/{number}/enforcement/",
    "api endpoints": "/api/v1/endpoints",
    "api deliveries": "/api/v1/endpoints/{endpoint_id}/deliveries",
    "api costs": "/api/v1/costs",
    "api audit": "/api/v1/audit",
    "api fleet": "/api/v1/fleet",
}


def _fill(samples: dict[str, Any]) -> None:
    """One of everything: a list that shows nothing asks less."""
    agent = Agent.objects.get(slug=samples["slug"])
    books.spend(agent, run_id=samples["run_id"], at=timezone.now())
    stage.minute(agent)
    _decide(agent, "first")
    telling.tell()


def _decide(agent: Agent, name: str) -> None:
    """A decision, by somebody of that agent's team."""
    judge = factories.person(name, Role.REVIEWER, of=agent.team)
    questions.settle(questions.held(questions.run(by=agent, state=Run.State.PAUSED)), by=judge)


def _more(samples: dict[str, Any], olga: User) -> None:
    """Four of everything that a list may show."""
    run = Run.objects.get(pk=samples["run_id"])
    for number in range(4):
        mate = factories.person(f"mate{number}", Role.OPERATOR, of=factories.team(f"crew{number}"))
        other = factories.agent(f"other{number}", of=factories.team(f"crew{number}"), owner=mate)
        asked = questions.held(questions.run(by=other, started_by=mate))
        books.spend(other, run_id=asked.run_id, at=timezone.now())
        stage.minute(other)
        _decide(other, f"judge{number}")
        standing.autonomy(other, mate)
        factories.step(run, seq=10 + number, kind="model", name="sim-small", says="")
    telling.tell()


def _queries(client: Client, path: str) -> int:
    """The fewest of two looks: a process asks once a second which policies are in force, whoever comes by."""
    client.get(path)  # what is only asked once per session or process has been asked
    return min(_queries_once(client, path) for _ in range(2))


def _queries_once(client: Client, path: str) -> int:
    with CaptureQueriesContext(connection) as asked:
        assert client.get(path).status_code == 200, path
    return len(asked)


def test_lists_take_as_many_queries_however_long_they_are(samples: dict[str, Any], olga: User) -> None:
    """`QUERY_COUNTS=write pytest tests/test_doors.py` writes the file anew; a number that rose needs a reason."""
    client = _as(factories.person("ada", Role.ADMIN))
    paths = {name: path.format(**samples) for name, path in LISTS.items()}
    _fill(samples)
    few = {name: _queries(client, path) for name, path in paths.items()}
    _more(samples, olga)
    many = {name: _queries(client, path) for name, path in paths.items()}
    assert {name: (few[name], many[name]) for name in paths if many[name] > few[name]} == {}
    if os.environ.get("QUERY_COUNTS") == "write":
        COUNTS.write_text(json.dumps(many, indent=1) + "\n")
    kept = json.loads(COUNTS.read_text())
    assert kept.keys() == many.keys()
    assert {name: (kept[name], many[name]) for name in kept if many[name] > kept[name]} == {}


# --- nothing leaves the machine --------------------------------------------------------------------------------------
@pytest.mark.parametrize("path", [path for path in LISTS.values() if not path.startswith("/api")])
def test_pages_ask_no_other_host(path: str, samples: dict[str, Any]) -> None:
    text = _text(_as(factories.person("ada", Role.ADMIN)).get(path.format(**samples)))
    assert "<html" in text
    loaded = re.findall(r"""(?:src|srcset|action|hx-\w+|href|data-\w+)=["']((?:https?:)?//[^"']*)""", text)
    assert loaded == []
