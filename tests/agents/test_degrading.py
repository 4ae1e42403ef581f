"""An agent while its first model is away: as its release says, and back to normal by itself."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import pytest

from agents.llm import circuit, gateway
from agents.models import Step, StepPayload
from agents.runs import runner
from tests import factories
from tests.agents.asking import ask, failure, link, said
from tests.model_server import ModelServer, fails

COOL_DOWN = 1.0
READ = {"name": "orders.read", "description": "", "schema": {"type": "object", "properties": {}}, "writes": False}
REFUND = {**READ, "name": "payments.refund", "writes": True}


@pytest.fixture
def server() -> Iterator[ModelServer]:
    with ModelServer() as running:
        yield running


@pytest.fixture(autouse=True)
def _in_a_hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gateway, "SECOND_TRY", frozenset())
    monkeypatch.setattr(circuit, "FIRST_COOL_DOWN", COOL_DOWN)


def away(server: ModelServer) -> None:
    server.script(*[fails(503)] * circuit.FAILURES)
    for _ in range(circuit.FAILURES):
        failure(link(server))


def told(server: ModelServer) -> tuple[str, list[str], list[str]]:
    """Which model was asked last, with which words first, and which tools."""
    body = server.asked[-1].body
    words = [one["content"] for one in body["messages"] if one["role"] == "system"]
    return body["model"], words, [one["function"]["name"] for one in body.get("tools", [])]


def test_it_has_the_chain_the_tools_and_the_words_of_its_release_and_then_everything_again(
    db: None, server: ModelServer
) -> None:
    table = {"models": [link(server, "small")], "tools": ["orders.read"], "say": "Be careful."}
    how: dict[str, Any] = {"tools": [READ, REFUND], "degraded": table}
    usual = ask(link(server), link(server, "bean-2"), **how)
    assert usual.degraded == ""
    assert told(server) == ("bean-1", ["You sell coffee."], ["orders_read", "payments_refund"])
    away(server)
    reply = ask(link(server), link(server, "bean-2"), **how)
    assert reply.degraded == f"The breaker of roastery/bean-1 at {server.url} is open."
    assert (reply.model, [one.model for one in reply.attempts]) == ("small", ["small"])
    assert told(server) == ("small", ["You sell coffee.", "Be careful."], ["orders_read"])
    time.sleep(COOL_DOWN)
    assert ask(link(server), link(server, "bean-2"), **how).model == "bean-1"
    assert told(server) == ("bean-1", ["You sell coffee."], ["orders_read", "payments_refund"])


def test_without_a_chain_of_its_own_the_rest_of_the_usual_one_is_asked(db: None, server: ModelServer) -> None:
    away(server)
    reply = ask(
        link(server), link(server, "bean-2"), degraded={"when": "breaker", "say": "Hm."}, messages=[said("user", "?")]
    )
    assert [one.model for one in reply.attempts] == ["bean-2"]
    assert told(server) == ("bean-2", ["Hm."], [])


def test_the_question_that_finds_it_away_is_not_the_one_that_waits(db: None, server: ModelServer) -> None:
    how: dict[str, Any] = {"degraded": {"models": [link(server, "small")]}}
    server.script(*[fails(503)] * circuit.FAILURES)
    for _ in range(circuit.FAILURES - 1):
        failure(link(server))
    assert ask(link(server), **how).model == "small"  # its own failure opened the breaker
    time.sleep(COOL_DOWN)
    server.script(fails(503))
    probe = ask(link(server), {"provider": "person"}, **how)
    assert ([one.model for one in probe.attempts], probe.model) == (["bean-1", "small"], "small")
    assert "is open" in probe.degraded


@pytest.mark.django_db(transaction=True)
def test_its_steps_say_so(server: ModelServer) -> None:
    away(server)
    agent = factories.agent("asks")
    agent.release = factories.release(agent, models=[link(server)], degraded={"models": [link(server, "small")]})
    agent.save()
    run = factories.run(agent)
    runner.drive(run.pk)
    step = Step.objects.get(run=run)
    output = StepPayload.objects.get(run_id=run.pk, seq=step.seq).output
    assert (step.model, output["degraded"]) == ("small", f"The breaker of roastery/bean-1 at {server.url} is open.")
