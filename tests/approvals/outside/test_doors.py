"""The doors for agents elsewhere: what goes over the wire, and how much their tokens see."""

import asyncio
import json
import time
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest
from asgiref.sync import async_to_sync, sync_to_async
from django.db import connection
from django.test import Client
from django.urls import reverse

from agents.models import Agent, AgentMinute, Team, User
from approvals.models import Approval
from tests import factories
from tests.api.stage import Caller
from tests.approvals import questions
from tests.approvals.outside import elsewhere

SAID = {"session": "t-882", "vip": True}
CALL = {"agent": "triage", "tool": "refund", "arguments": elsewhere.REFUND, "context": SAID}


@pytest.fixture
def program(team: Team, triage: Agent) -> Caller:
    """The agent's own program, with its token."""
    return Caller(elsewhere.key(team)[1])


def test_a_call_is_held_looked_at_edited_and_let_through_once(program: Caller, rhea: User) -> None:
    held = program.post("/gate", CALL)
    assert (held["verdict"], held["gate"], held["arguments"]) == ("hold", "risk", None)
    path, approval = f"/gate/{held['approval']['id']}", Approval.objects.get()
    assert program.get(path) == held
    assert program.get(f"/approvals/{approval.pk}")["says"] == "Refund 184 of order 4711"
    edited = {"order": "4711", "amount": 92}
    questions.settle(approval, by=rhea, answer="edit", arguments=edited)
    ruling = program.get(path)
    assert (ruling["verdict"], ruling["arguments"]) == ("allow", edited)
    again = {**CALL, "approval": held["approval"]["id"], "arguments": ruling["arguments"]}
    assert [program.post("/gate", again)["verdict"] for _ in range(2)] == ["allow", "deny"]
    assert program.get(path)["verdict"] == "deny"


def test_what_cannot_be_read_is_refused_in_a_sentence(program: Caller, triage: Agent) -> None:
    for change, field, status in (
        ({"agent": "nobody"}, "agent", 404),
        ({"tool": ""}, "tool", 422),
        ({"context": {"confidence": 7}}, "context.confidence", 422),
        ({"approval": "019aa4c2-8000-7aaa-9bbb-1234567890ab"}, "approval", 404),
    ):
        problem = program.send("POST", "/gate", {**CALL, **change}, status=status)
        assert problem["error"]["field"] == field
    assert not Approval.objects.exists()


def test_an_agents_token_sees_what_it_asked_and_nothing_else(program: Caller, team: Team, triage: Agent) -> None:
    held = program.post("/gate", CALL)["approval"]["id"]
    other = Caller(elsewhere.key(team, "other-key")[1])
    for path in (f"/gate/{held}", f"/approvals/{held}"):
        other.refused("GET", path, status=404, code="not_found")
    assert program.get("/approvals")["items"] == program.get("/runs")["items"] == program.get("/agents")["items"] == []
    body = {"answer": "approve", "reason": "I say so."}
    program.refused("POST", f"/approvals/{held}/decision", body, status=403, code="forbidden")
    program.refused("POST", "/runs", {"agent": "triage", "objective": "Go."}, status=404, code="not_found")


def test_its_runs_begin_at_the_gate_only(triage: Agent, olga: User) -> None:
    client = Client()
    client.force_login(olga)
    answer = Caller(client=client).call("POST", "/runs", {"agent": "triage", "objective": "Go."})
    assert answer.status_code == 409
    assert "POST /api/v1/gate" in answer.json()["error"]["message"]


@pytest.mark.django_db(transaction=True)
def test_the_stream_tells_that_it_is_held_and_then_what_became_of_it(program: Caller, rhea: User) -> None:
    held = program.post("/gate", CALL)["approval"]["id"]
    response = program.call("GET", f"/gate/{held}/stream")
    assert response.headers["Content-Type"] == "text/event-stream"

    def reject() -> None:
        questions.settle(Approval.objects.get(), by=rhea, answer="reject", reason="No.")

    async def listen() -> list[str]:
        told = []
        async for part in response.streaming_content:
            told.append(part.decode())
            if len(told) == 1:
                await sync_to_async(reject)()
        return [one for one in told if one.startswith("event")]

    first, last = async_to_sync(listen)()
    assert '"verdict":"hold"' in first
    assert last.startswith("event: ruling")
    assert "Rejected by rhea: No." in last


@pytest.mark.django_db(transaction=True)
def test_who_waits_is_answered_the_moment_somebody_decides_and_holds_no_connection(program: Caller, rhea: User) -> None:
    path = f"/gate/{program.post('/gate', CALL)['approval']['id']}"
    response = program.call("GET", f"{path}?wait=60")
    assert connection.connection is None
    began = time.monotonic()
    told = _read(response, meanwhile=lambda: questions.settle(Approval.objects.get(), by=rhea))
    assert (told["verdict"], told["reason"]) == ("allow", "Approved by rhea: The photo shows it.")
    assert time.monotonic() - began < 20
    assert program.get(f"{path}?wait=60") == told, "what is answered is not waited for"


@pytest.mark.django_db(transaction=True)
def test_when_the_time_of_waiting_is_over_it_is_still_held(program: Caller) -> None:
    held = program.post("/gate", CALL)
    path = f"/gate/{held['approval']['id']}"
    assert _read(program.call("GET", f"{path}?wait=1")) == held
    problem = program.refused("GET", f"{path}?wait=61", status=422, code="invalid")
    assert problem == {"code": "invalid", "message": '`wait` must be 60 or less, not "61".', "field": "wait"}
    other = Caller(elsewhere.key(None, "other-key")[1])
    other.refused(
        "GET", f"/gate/{elsewhere.held(elsewhere.key(None, 'third')[0]).pk}?wait=9", status=404, code="not_found"
    )


def _read(response: Any, meanwhile: Callable[[], object] = lambda: None) -> Any:
    """The one JSON text that comes, while something else happens."""
    assert response.headers["Content-Type"] == "application/json"

    async def read() -> str:
        return "".join([part.decode() async for part in response.streaming_content])

    async def both() -> str:
        waiting = asyncio.create_task(read())
        await asyncio.sleep(0.2)
        await sync_to_async(meanwhile)()
        return await waiting

    return json.loads(async_to_sync(both)())


def test_the_page_of_the_agent_tells_what_it_asked_lately(program: Caller, rhea: User, olga: User) -> None:
    client = Client()
    client.force_login(olga)
    panel = reverse("approvals:agent-asked", args=["triage"])
    assert "It has not asked yet" in client.get(panel).content.decode()
    held = program.post("/gate", CALL)["approval"]["id"]
    program.post("/gate", {**CALL, "tool": "lookup", "arguments": {"order": "<b>4711</b>"}})
    questions.settle(Approval.objects.get(), by=rhea, answer="reject", reason="Paid back already.")
    program.post("/gate", {**CALL, "approval": held})
    text = client.get(panel).content.decode()
    for words in ("Refund 184 of order 4711", "held", "denied", "allowed", "Rejected by rhea", "it may do this alone"):
        assert words in text
    assert reverse("approvals:approval", args=[held]) in text
    assert "&lt;b&gt;4711" in text
    page = client.get(reverse("agents:agent", args=["triage"])).content.decode()
    assert panel in page
    assert "New run of triage" not in page
    log = client.get("/audit/").content.decode()
    assert "gate.denied" in log
    assert "gate.allowed" in log


def test_what_it_spends_elsewhere_is_unknown_here_and_no_total_counts_it(
    program: Caller, team: Team, olga: User, rhea: User
) -> None:
    approval = program.post("/gate", CALL)["approval"]["id"]
    run = Approval.objects.get().run
    AgentMinute.objects.create(agent=run.agent, minute=run.created_at.replace(second=0, microsecond=0), tool_calls=1)
    ours = factories.agent("ours", of=team)
    AgentMinute.objects.create(agent=ours, minute=run.created_at.replace(second=0, microsecond=0), cost=Decimal("0.25"))
    client = Client()
    client.force_login(rhea)
    told = Caller(client=client)
    assert [told.get(f"/runs/{run.pk}")[name] for name in ("cost", "tokens_in", "unpriced")] == [None, None, 0]
    assert [one["cost"] for one in told.get("/runs")["items"]] == [None]
    fleet = told.get("/fleet")
    assert (fleet["recent"]["cost"], fleet["recent"]["tokens_in"]) == ("0.25", 0)
    assert [(one["agent"], one["recent"]["cost"]) for one in fleet["items"]] == [("ours", "0.25"), ("triage", None)]
    pages = {
        path: client.get(path).content.decode()
        for path in (
            reverse("agents:runs"),
            reverse("agents:run", args=[run.pk]),
            reverse("agents:agent", args=["triage"]),
            reverse("finops:agent-costs", args=["triage"]),
            reverse("approvals:approval", args=[approval]),
        )
    }
    assert [path for path, text in pages.items() if "$0.00" in text or "nknown" not in text] == []
    assert str(run.pk) not in client.get(reverse("agents:runs"), {"q": "cost:<2"}).content.decode()
    assert ",unknown,0," in client.get(reverse("agents:runs"), {"as": "csv"}).content.decode()


def test_people_read_it_like_any_other_question(program: Caller, rhea: User, triage: Agent) -> None:
    held = program.post("/gate", CALL)["approval"]["id"]
    client = Client()
    client.force_login(rhea)
    run = Approval.objects.get().run_id
    for path in (
        reverse("approvals:approvals"),
        reverse("approvals:approval", args=[held]),
        reverse("agents:run", args=[run]),
        reverse("agents:agent", args=["triage"]),
        reverse("agents:runs"),
    ):
        page = client.get(path)
        assert page.status_code == 200, path
        assert "triage" in page.content.decode(), path
    assert json.loads(json.dumps(elsewhere.REFUND)) == Approval.objects.get().arguments
