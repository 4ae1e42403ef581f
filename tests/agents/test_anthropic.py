"""Anthropic's models, by a loopback server that speaks their protocol."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Any

import pytest

from agents.contracts import Confidence, Source, Usage
from agents.llm import gateway, providers
from agents.llm.answers import Model
from tests.agents.asking import ask, failure, said
from tests.model_server import Answer, ModelServer, silence

REFUND = {
    "name": "payments.refund",
    "description": "Pay an order back.",
    "schema": {"type": "object", "properties": {"order": {"type": "integer"}}, "required": ["order"]},
    "writes": True,
}


@pytest.fixture
def server() -> Iterator[ModelServer]:
    with ModelServer(default=message({"type": "text", "text": "Good morning."})) as running:
        yield running


@pytest.fixture(autouse=True)
def _one_try(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gateway, "SECOND_TRY", frozenset())


def message(*content: dict[str, Any], stop: str = "end_turn", **usage: int) -> Answer:
    return Answer(
        {
            "type": "message",
            "role": "assistant",
            "content": list(content),
            "stop_reason": stop,
            "stop_sequence": None,
            "usage": {"input_tokens": 12, "output_tokens": 5, **usage},
        }
    )


def fails(status: int, kind: str, words: str, **headers: str) -> Answer:
    return Answer({"type": "error", "error": {"type": kind, "message": words}}, status, headers)


def link(server: ModelServer, **more: Any) -> dict[str, Any]:
    return {
        "provider": "anthropic",
        "model": "claude-of-tests",
        "base_url": f"http://127.0.0.1:{server.port}",
        "key_env": "ROASTERY_KEY",
        **more,
    }


@pytest.fixture(autouse=True)
def _key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ROASTERY_KEY", "a-key")


def test_a_question_goes_out_as_their_protocol_wants_it_and_tokens_are_counted_as_everywhere(
    server: ModelServer,
) -> None:
    server.script(
        message({"type": "text", "text": "It left."}, cache_read_input_tokens=32, cache_creation_input_tokens=8)
    )
    reply = ask(link(server), settings={"max_tokens": 50, "temperature": 0, "attempts": 3})
    assert reply.message == {**said("assistant", "It left."), "finish_reason": "stop"}
    assert (reply.provider, reply.model, reply.response_model) == (
        "anthropic",
        "claude-of-tests",
        "claude-of-tests-2026",
    )
    assert reply.usage == Usage(input=52, output=5, cache_read=32, cache_write=8)
    sent = server.asked[0]
    assert sent.path.partition("?")[0] == "/v1/messages"
    assert (sent.headers["authorization"], sent.headers["idempotency-key"]) == ("Bearer a-key", "run:3")
    assert sent.headers["anthropic-version"]
    assert (sent.body["model"], sent.body["max_tokens"], sent.body["temperature"]) == ("claude-of-tests", 50, 0)
    assert [one["role"] for one in sent.body["messages"]] == ["user"]
    assert "You sell coffee." in str(sent.body["system"])


def test_calls_of_tools_and_their_answers_make_the_round_trip(server: ModelServer) -> None:
    call = {"type": "tool_use", "id": "toolu_1", "name": "payments_refund", "input": {"order": 7, "_confidence": 0.9}}
    server.script(message({"type": "text", "text": "I pay."}, call, stop="tool_use"))
    reply = ask(link(server), tools=[REFUND])
    assert reply.message["finish_reason"] == "tool_call"
    assert reply.message["parts"][1] == {
        "type": "tool_call",
        "id": "toolu_1",
        "name": "payments.refund",
        "arguments": {"order": 7},
    }
    assert reply.confidences == (Confidence(0.9, Source.SELF_REPORTED),)
    (offered,) = server.asked[0].body["tools"]
    assert (offered["name"], offered["input_schema"]["required"]) == ("payments_refund", ["order", "_confidence"])
    answer = {"type": "tool_call_response", "id": "toolu_1", "response": {"paid": True}}
    ask(
        link(server),
        tools=[REFUND],
        messages=[said("user", "Pay."), reply.message, {"role": "tool", "parts": [answer]}],
    )
    *_, used, result = server.asked[1].body["messages"]
    assert [one["type"] for one in used["content"]] == ["text", "tool_use"]
    assert (result["content"][0]["type"], result["content"][0]["tool_use_id"]) == ("tool_result", "toolu_1")


@pytest.mark.parametrize(
    ("answer", "kind", "permanent"),
    [
        (fails(429, "rate_limit_error", "slow down", **{"Retry-After": "7"}), "rate_limited", False),
        (fails(529, "overloaded_error", "too many of you"), "overloaded", False),
        (fails(500, "api_error", "sorry"), "server", False),
        (fails(401, "authentication_error", "who?"), "authentication", True),
        (fails(404, "not_found_error", "model: what"), "not_found", True),
        (fails(400, "invalid_request_error", "no"), "rejected", True),
        (Answer(drop=True), "connection", False),
    ],
)
def test_its_failures_are_of_the_usual_kinds_in_its_own_words(
    server: ModelServer, answer: Answer, kind: str, permanent: bool
) -> None:
    server.script(answer)
    error = failure(link(server))
    assert (error.kind, error.permanent) == (kind, permanent)
    assert error.retry_after == (7 if kind == "rate_limited" else None)
    if isinstance(answer.content, dict):
        assert str(error).endswith(f": {answer.content['error']['message']}")
    assert len(server.asked) == 1, "the library tried again by itself"


def test_it_ends_on_time_and_hangs_up(server: ModelServer) -> None:
    server.script(silence())
    assert failure(link(server), timeout=0.3).kind == "timeout"
    assert server.wait(lambda: len(server.disconnects) == 1)


def test_without_its_library_one_sentence_says_what_to_install(
    server: ModelServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "anthropic", None)
    error = failure(link(server, model="claude-other"))
    assert str(error) == (
        "The model anthropic/claude-other needs the extra `anthropic`: install `pydantic-ai-slim[anthropic]`."
    )
    assert (error.kind, error.permanent, server.asked) == ("configuration", True, [])


def test_its_own_address_wants_its_own_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ANTHROPIC_API_KEY", raising=False)
    error = failure({"provider": "anthropic", "model": "claude-of-tests"})
    assert "set ANTHROPIC_API_KEY in the environment of the workers" in str(error)


def test_it_is_a_model_like_any_other(server: ModelServer) -> None:
    model: Model = providers.connected(link(server))
    assert (model.provider, model.model) == ("anthropic", "claude-of-tests")
