"""The end of a chain: an answer from before, and a person."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from agents import errors
from agents.contracts import Usage
from agents.llm import breakers, gateway, kept, limits, shared
from agents.models import Run, Step
from agents.runs import runner
from finops.models import LedgerEntry
from tests import factories
from tests.agents.asking import ask, failure, link, request, said
from tests.model_server import ModelServer, calls, fails, says

CACHED = {"provider": "cached", "max_age_s": 60.0}
PERSON = {"provider": "person"}
READ = {"name": "orders.read", "description": "", "schema": {"type": "object", "properties": {}}, "writes": False}
REFUND = {**READ, "name": "payments.refund", "writes": True}
EMPTY = shared.Script("for _, key in ipairs(redis.call('KEYS', 'cockpit:answers:*')) do redis.call('DEL', key) end")


@pytest.fixture
def server() -> Iterator[ModelServer]:
    with ModelServer() as running:
        yield running


@pytest.fixture(autouse=True)
def _nothing_kept(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(gateway, "SECOND_TRY", frozenset())
    yield
    shared.ask_now(EMPTY, [])


def arrived() -> None:
    shared.ask_now(shared.PING, [])


# --- an answer from before ------------------------------------------------------------------------------------------
def test_a_question_that_was_answered_before_is_answered_again_when_its_model_is_down(server: ModelServer) -> None:
    server.script(calls(("payments_refund", {"order": 7, "_confidence": 0.9})), fails(503))
    chain, how = (link(server), CACHED), {"team": "service", "tools": [REFUND], "agent": "refunds"}
    first = ask(*chain, **how)
    arrived()
    again = ask(*chain, **{**how, "agent": "another", "seed": 99, "idempotency_key": "other:1"})
    assert (again.message, again.confidences) == (first.message, first.confidences)
    assert (again.provider, again.model, again.response_model) == ("cached", "bean-1", "bean-1-2026")
    assert again.usage == Usage(input=0, output=0)
    assert [(one.provider, one.model, one.kind) for one in again.attempts] == [
        ("roastery", "bean-1", "overloaded"),
        ("cached", "bean-1", ""),
    ]


def refused(server: ModelServer, *chain: dict[str, Any], **how: Any) -> errors.OutsideError:
    server.script(fails(401, "no such key"))
    error = failure(link(server), *(chain or (CACHED,)), **{"team": "service", **how})
    assert [one.kind for one in error.attempts] == ["authentication", "not_cached"]
    assert error.permanent
    return error


def test_only_the_same_question_of_the_same_team_is_the_same(server: ModelServer) -> None:
    ask(link(server), CACHED, team="service")
    arrived()
    refused(server, team="other")
    refused(server, team="")
    refused(server, messages=[said("user", "Where is order 8?")])
    refused(server, tools=[READ])
    refused(server, settings={"temperature": 1})
    server.script(fails(401))
    assert ask(link(server), CACHED, team="service", settings={"attempts": 9}).provider == "cached"


def test_an_answer_that_is_too_old_is_none(server: ModelServer) -> None:
    ask(link(server), CACHED, team="service")
    time.sleep(0.3)
    error = refused(server, {**CACHED, "max_age_s": 0.2})
    assert "No earlier answer to this question is younger than 0.2 s." in str(error)


def test_nothing_is_kept_of_a_release_that_does_not_ask_for_it_nor_of_half_an_answer(server: ModelServer) -> None:
    ask(link(server), team="service")
    half = says("Half an ans")
    assert isinstance(half.content, dict)
    half.content["choices"][0]["finish_reason"] = "length"
    server.script(half)
    ask(link(server), CACHED, team="service")
    arrived()
    refused(server)


def test_the_ids_of_calls_do_not_make_a_question_another_one(server: ModelServer) -> None:
    def conversation(one: str, other: str) -> list[dict[str, Any]]:
        parts = [{"type": "tool_call", "id": each, "name": "orders.read", "arguments": {}} for each in ("a", "b")]
        parts[0]["id"], parts[1]["id"] = one, other
        answers = [{"type": "tool_call_response", "id": each, "response": each == other} for each in (other, one)]
        return [said("user", "?"), {"role": "assistant", "parts": parts}, {"role": "tool", "parts": answers}]

    base = request(team="service")
    digests = {kept.digest(replace(base, messages=conversation(*ids))) for ids in (("x", "y"), ("c1", "c2"))}
    assert len(digests) == 1
    crossed = conversation("x", "y")
    crossed[2]["parts"].reverse()
    assert kept.digest(replace(base, messages=crossed)) not in digests


def test_a_team_keeps_so_many_answers_and_the_oldest_goes_first(
    server: ModelServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kept, "MOST_PER_TEAM", 3)
    for number in range(5):
        ask(link(server), CACHED, team="service", messages=[said("user", str(number))])
    arrived()
    count = shared.Script(
        "return {redis.call('ZCARD', KEYS[1]), redis.call('HLEN', KEYS[2]), redis.call('TTL', KEYS[2])}"
    )
    kept_until, answers, lives = shared.ask_now(count, kept._places("service"))
    assert (kept_until, answers) == (3, 3)
    assert 0 < lives <= 61
    refused(server, messages=[said("user", "1")])
    server.script(fails(401))
    assert ask(link(server), CACHED, team="service", messages=[said("user", "4")]).provider == "cached"


def test_without_redis_there_are_none_and_the_answer_of_a_model_does_not_wait(
    server: ModelServer, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.REDIS_URL = "redis://192.0.2.1:6379/0"
    with monkeypatch.context() as patched:
        patched.setattr(shared, "_line", None)
        breakers.forget()
        assert ask(link(server), CACHED, team="service").provider == "roastery"
        assert "Earlier answers are kept in Redis, which is away." in str(refused(server))


@pytest.mark.django_db(transaction=True)
def test_a_run_goes_on_with_it_and_nothing_is_booked(server: ModelServer) -> None:
    agent = factories.agent("asks", of=factories.team("service"))
    agent.release = factories.release(agent, models=[link(server), CACHED])
    agent.save()
    booked = []
    for answer in (says("It left this morning."), fails(503)):
        server.script(answer)
        run: Run = factories.run(agent)
        runner.drive(run.pk)
        run.refresh_from_db()
        assert run.state == "completed"
        booked.append(LedgerEntry.objects.filter(run_id=run.pk).count())
    step = Step.objects.get(run=run)
    assert booked == [1, 0]
    assert (step.provider, step.model, step.cost, step.cost_kind) == ("cached", "bean-1", Decimal(0), "cached")
    assert (run.cost, run.unpriced) == (Decimal(0), 0)


# --- a person -------------------------------------------------------------------------------------------------------
def test_when_nothing_else_answers_a_person_is_asked_with_every_reason(server: ModelServer) -> None:
    server.script(fails(503, "busy"), fails(429, "later", retry_after=60))
    error = failure(link(server), link(server, "bean-2"), CACHED, PERSON, team="service")
    assert isinstance(error, errors.AskPerson)
    assert (error.kind, error.permanent, error.retry_after) == ("person", True, 60)
    assert [one.kind for one in error.attempts] == ["overloaded", "rate_limited", "not_cached"]
    assert "bean-1 is overloaded (503): busy bean-2 gets too many requests (429): later No earlier answer" in str(error)


def test_nobody_is_asked_for_want_of_room(server: ModelServer, settings: Any, tmp_path: Path) -> None:
    settings.WORKSPACE = tmp_path
    (tmp_path / "limits.toml").write_text("[providers.full]\nrequests_per_minute = 1\n")
    full = {**link(server), "provider": "full"}
    try:
        ask(full, PERSON)
        assert isinstance(failure(full, PERSON), errors.NoCapacity)
    finally:
        limits._seen = (None, None)
