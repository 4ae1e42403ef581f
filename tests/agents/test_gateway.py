"""The gateway against a real server on real sockets: what it sends, what it survives, what it never loses."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from agents import errors
from agents.cancellation import Cancellation
from agents.contracts import UNKNOWN, Confidence, Source, Usage
from agents.llm import gateway
from tests.agents.asking import ask, failure, link, request, said
from tests.model_server import Answer, ModelServer, calls, fails, garbage, hangs_up, says, silence

READ = {
    "name": "orders.read",
    "description": "Look an order up.",
    "schema": {"type": "object", "properties": {"order": {"type": "integer"}}, "required": ["order"]},
    "writes": False,
}
REFUND = {**READ, "name": "payments.refund", "description": "Pay an order back.", "writes": True}


@pytest.fixture
def server() -> Iterator[ModelServer]:
    with ModelServer() as running:
        yield running


@pytest.fixture(autouse=True)
def _in_a_hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gateway, "SOON", (0.02, 0.04))


# --- what goes out and what comes back ------------------------------------------------------------------------------
def test_an_answer_comes_back_as_an_opentelemetry_message_with_the_tokens_the_provider_counted(
    server: ModelServer,
) -> None:
    used = {
        "prompt_tokens": 40,
        "completion_tokens": 6,
        "total_tokens": 46,
        "prompt_tokens_details": {"cached_tokens": 32},
    }
    server.script(says("It left this morning.", usage=used))
    reply = ask(link(server), settings={"temperature": 0, "max_tokens": 50, "attempts": 4})
    assert reply.message == {**said("assistant", "It left this morning."), "finish_reason": "stop"}
    assert (reply.provider, reply.model, reply.response_model) == ("roastery", "bean-1", "bean-1-2026")
    assert reply.usage == Usage(input=40, output=6, cache_read=32)
    assert [(one.model, one.error, one.usage) for one in reply.attempts] == [("bean-1", "", None)]
    sent = server.asked[0]
    assert sent.headers["idempotency-key"] == "run:3"
    assert (sent.body["temperature"], sent.body["max_tokens"]) == (0, 50)
    assert [one["role"] for one in sent.body["messages"]] == ["system", "user"]


def test_tokens_that_a_provider_does_not_tell_are_unknown(server: ModelServer) -> None:
    server.script(says("Hello.", usage={}))
    assert ask(link(server)).usage == Usage()


def test_reasoning_is_kept_apart_from_what_is_said(server: ModelServer) -> None:
    server.script(says("Seven.", reasoning_content="Three and four."))
    parts = ask(link(server)).message["parts"]
    assert parts == [{"type": "reasoning", "content": "Three and four."}, {"type": "text", "content": "Seven."}]


def test_a_write_tool_is_asked_for_its_confidence_and_nobody_else_ever_sees_the_field(server: ModelServer) -> None:
    server.script(
        calls(("orders_read", {"order": 7}), ("payments_refund", {"order": 7, "_confidence": 0.85})),
    )
    reply = ask(link(server), tools=[READ, REFUND])
    assert [(part["name"], part["arguments"]) for part in reply.message["parts"]] == [
        ("orders.read", {"order": 7}),
        ("payments.refund", {"order": 7}),
    ]
    assert reply.message["finish_reason"] == "tool_call"
    assert reply.confidences == (UNKNOWN, Confidence(0.85, Source.SELF_REPORTED))
    offered = {one["function"]["name"]: one["function"]["parameters"] for one in server.asked[0].body["tools"]}
    assert "_confidence" not in offered["orders_read"]["properties"]
    assert offered["payments_refund"]["required"] == ["order", "_confidence"]


@pytest.mark.parametrize("told", ["1.2", "-0.1", '"0.9"', "true", "null", "[0.5]", None])
def test_a_confidence_that_is_missing_or_not_a_share_is_unknown_and_never_a_number(
    server: ModelServer, told: str | None
) -> None:
    field = "" if told is None else f', "_confidence": {told}'
    server.script(calls(("payments_refund", f'{{"order": 7{field}}}')))
    reply = ask(link(server), tools=[REFUND])
    assert reply.confidences == (UNKNOWN,)
    assert reply.message["parts"][0]["arguments"] == {"order": 7}


@pytest.mark.parametrize("told", [0, 1])
def test_complete_doubt_and_complete_certainty_are_confidences(server: ModelServer, told: int) -> None:
    server.script(calls(("payments_refund", {"order": 7, "_confidence": told})))
    assert ask(link(server), tools=[REFUND]).confidences == (Confidence(float(told), Source.SELF_REPORTED),)


def test_a_tool_with_a_field_of_that_name_keeps_it(server: ModelServer) -> None:
    own = {**REFUND, "schema": {"type": "object", "properties": {"_confidence": {"type": "string"}}}}
    server.script(calls(("payments_refund", {"_confidence": "high"})))
    reply = ask(link(server), tools=[own])
    assert reply.message["parts"][0]["arguments"] == {"_confidence": "high"}
    assert reply.confidences == (UNKNOWN,)


@pytest.mark.parametrize("sent", ['{"order": 7', "[7]", "seven", '{"order": NaN}'])
def test_arguments_that_are_not_a_json_object_stay_the_text_they_were(server: ModelServer, sent: str) -> None:
    server.script(calls(("payments_refund", sent)))
    reply = ask(link(server), tools=[REFUND])
    assert reply.message["parts"][0]["arguments"] == sent
    assert reply.confidences == (UNKNOWN,)


def test_a_whole_conversation_goes_out_with_every_call_closed_under_names_providers_allow(server: ModelServer) -> None:
    call = {"type": "tool_call", "id": "c1", "name": "orders.read", "arguments": {"order": 7}}
    broken = {"type": "tool_call", "id": "c2", "name": "orders.read", "arguments": '{"order": '}
    answers = [
        {"type": "tool_call_response", "id": "c1", "response": {"state": "sent"}},
        {"type": "tool_call_response", "id": "c2", "response": {"error": "not JSON"}},
    ]
    asked = {"role": "assistant", "parts": [{"type": "reasoning", "content": "hm"}, call, broken]}
    ask(link(server), messages=[said("user", "Where?"), asked, {"role": "tool", "parts": answers}], tools=[READ])
    _, spoken, first, second = server.asked[0].body["messages"]
    assert [one["function"]["name"] for one in spoken["tool_calls"]] == ["orders_read", "orders_read"]
    assert "hm" not in json.dumps(server.asked[0].body)
    assert [json.loads(one["function"]["arguments"]) for one in spoken["tool_calls"]] == [
        {"order": 7},
        {"INVALID_JSON": '{"order": '},
    ]
    assert [(one["role"], one["tool_call_id"]) for one in (first, second)] == [("tool", "c1"), ("tool", "c2")]
    assert json.loads(first["content"]) == {"state": "sent"}


def test_two_tools_never_become_one_on_the_wire(server: ModelServer) -> None:
    tools = [{**READ, "name": name} for name in ("orders.read", "orders_read", "x" * 70, "x" * 71)]
    ask(link(server), tools=tools)
    names = [one["function"]["name"] for one in server.asked[0].body["tools"]]
    assert len(set(names)) == 4
    assert max(map(len, names)) <= 64
    for tool, name in zip(tools, names, strict=True):
        server.script(calls((name, {})))
        assert ask(link(server), tools=tools).message["parts"][0]["name"] == tool["name"]


# --- failures that pass ---------------------------------------------------------------------------------------------
def test_a_busy_provider_is_asked_again_no_sooner_than_it_said(server: ModelServer) -> None:
    server.script(fails(429, "slow down", retry_after=1), says("Now."))
    reply = ask(link(server))
    first, second = server.asked
    assert 1 <= second.at - first.at < 2
    assert second.headers["idempotency-key"] == first.headers["idempotency-key"]
    assert [one.error for one in reply.attempts] == ["bean-1 gets too many requests (429): slow down", ""]
    assert all(one.usage is None for one in reply.attempts)


def test_a_provider_that_wants_a_long_pause_is_left_to_the_engine(server: ModelServer) -> None:
    server.script(fails(429, retry_after=2))
    error = failure(link(server))
    assert (error.kind, error.permanent, error.retry_after) == ("rate_limited", False, 2)
    assert len(server.asked) == 1


def test_a_server_that_fails_is_asked_once_more_and_every_try_is_kept_with_its_kind(server: ModelServer) -> None:
    server.script(fails(500), says("Here I am."))
    reply = ask(link(server))
    assert [one.kind for one in reply.attempts] == ["server", ""]
    assert len(server.asked) == 2


def test_a_server_that_keeps_failing_is_given_up_within_a_second_however_often_a_step_may_be_tried(
    server: ModelServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.undo()
    server.script(fails(500), fails(503), says("Too late."))
    started = time.monotonic()
    error = failure(link(server), settings={"attempts": 9})
    assert time.monotonic() - started < gateway.MOMENT
    assert (error.kind, error.permanent, error.billed) == ("overloaded", False, False)
    assert [one.kind for one in error.attempts] == ["server", "overloaded"]


@pytest.mark.parametrize("answer", [garbage(), hangs_up(), Answer({"object": "chat.completion"})])
def test_an_answer_that_is_lost_or_cannot_be_read_is_booked_as_an_estimate_and_asked_for_again(
    server: ModelServer, answer: Answer
) -> None:
    server.script(answer, says("Again."))
    lost, found = ask(link(server)).attempts
    assert lost.usage is not None
    assert lost.usage.estimated
    assert lost.usage.input
    assert found.error == ""


def test_nothing_is_booked_for_a_server_that_was_never_reached() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    error = failure({"provider": "roastery", "model": "bean-1", "base_url": f"http://127.0.0.1:{port}/v1"})
    assert (error.kind, error.permanent, error.billed) == ("connection", False, False)
    assert [one.usage for one in error.attempts] == [None] * 2


def test_a_call_that_takes_too_long_ends_on_time_and_costs_what_it_may_have_cost(server: ModelServer) -> None:
    server.script(silence())
    started = time.monotonic()
    error = failure(link(server), timeout=0.4, settings={"max_tokens": 9})
    assert 0.4 <= time.monotonic() - started < 1
    assert (error.kind, error.permanent, error.billed) == ("timeout", False, True)
    usage = error.attempts[0].usage
    assert usage is not None
    assert usage.estimated
    assert usage.input == 9  # "You sell coffee." and "Where is order 7?", four bytes a token, rounded up
    assert usage.output == 9  # more could have been written in that time than the request allowed
    assert server.wait(lambda: len(server.disconnects) == 1)


# --- failures that stay ---------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        (fails(401, "no such key"), "authentication"),
        (fails(402, "pay first"), "quota"),
        (fails(404, "no such model"), "not_found"),
        (fails(400, "maximum context length is 8"), "context_window"),
        (fails(422, "what?"), "rejected"),
    ],
)
def test_what_would_fail_again_goes_to_the_next_model_at_once(server: ModelServer, answer: Answer, kind: str) -> None:
    server.script(answer, says("I can."))
    reply = ask(link(server), link(server, "bean-2"))
    assert reply.model == "bean-2"
    assert [one.model for one in reply.attempts] == ["bean-1", "bean-2"]
    assert len(server.asked) == 2
    server.script(answer)
    alone = failure(link(server))
    assert (alone.kind, alone.permanent, alone.billed) == (kind, True, False)


def test_a_chain_that_fails_says_why_each_model_did_and_may_be_tried_again_if_one_of_them_may(
    server: ModelServer,
) -> None:
    server.script(fails(429, "later", retry_after=60), fails(401, "no such key"))
    error = failure(link(server), link(server, "bean-2"))
    assert str(error) == (
        "No model of the chain answered. bean-1 gets too many requests (429): later "
        "The provider does not accept our key for bean-2 (401): no such key"
    )
    assert (error.kind, error.permanent, error.retry_after) == ("rate_limited", False, 60)
    assert len(error.attempts) == 2


def test_a_missing_key_is_one_sentence_and_nothing_is_sent(
    server: ModelServer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv("ROASTERY_KEY", raising=False)
    wanting = link(server, key_env="ROASTERY_KEY")
    error = failure(wanting)
    assert str(error) == ("The model roastery/bean-1 needs a key: set ROASTERY_KEY in the environment of the workers.")
    assert (error.kind, error.permanent) == ("configuration", True)
    assert server.asked == []
    monkeypatch.setenv("ROASTERY_KEY", "from-the-environment")
    ask(wanting)
    (tmp_path / "key").write_text("from-a-file\n")
    monkeypatch.setenv("ROASTERY_KEY_FILE", str(tmp_path / "key"))
    ask(wanting)
    keys = [one.headers["authorization"] for one in server.asked]
    assert keys == ["Bearer from-the-environment", "Bearer from-a-file"]


@pytest.mark.parametrize(
    ("chain", "settings", "sentence"),
    [
        ([], {}, "names no model"),
        ([{"provider": "roastery", "model": "bean-1"}], {}, "roastery/bean-1 needs a base_url such as https://"),
        ([{"provider": "roastery"}], {}, "needs a provider and a model"),
        ([{"provider": "simulated"}], {}, "needs a provider and a model"),
        (None, {"temprature": 1}, "'temprature' means nothing to a model; it takes frequency_penalty,"),
    ],
)
def test_what_is_set_up_wrong_is_said_in_a_sentence(
    server: ModelServer, chain: list[dict[str, Any]] | None, settings: dict[str, Any], sentence: str
) -> None:
    error = failure(*([link(server)] if chain is None else chain), settings=settings)
    assert sentence in str(error)
    assert (error.kind, error.permanent, server.asked) == ("configuration", True, [])


# --- cancel ---------------------------------------------------------------------------------------------------------
def test_a_cancel_ends_the_call_in_flight_and_the_server_hears_of_it(server: ModelServer) -> None:
    server.script(silence())
    cancellation = Cancellation()
    caught: list[tuple[float, errors.Aborted]] = []

    def drive() -> None:
        with pytest.raises(errors.Aborted) as aborted:
            gateway.ask(request(link(server), link(server, "bean-2")), cancellation)
        caught.append((time.monotonic(), aborted.value))

    driver = threading.Thread(target=drive)
    driver.start()
    assert server.wait(lambda: len(server.asked) == 1)
    pressed = time.monotonic()
    cancellation.set()
    driver.join(5)
    ((ended, error),) = caught
    assert ended - pressed < 0.3
    assert server.wait(lambda: len(server.disconnects) == 1)
    assert server.disconnects[0] - pressed < 0.3
    assert len(server.asked) == 1
    (attempt,) = error.attempts
    assert error.billed
    assert attempt.usage is not None
    assert attempt.usage.estimated
    assert attempt.usage.input == 9


def test_a_cancel_between_two_tries_waits_for_nothing_and_forgets_no_try(server: ModelServer) -> None:
    server.script(fails(429, retry_after=1))
    cancellation = Cancellation()

    def press() -> None:
        assert server.wait(lambda: len(server.asked) == 1)
        time.sleep(0.4)
        cancellation.set()

    threading.Thread(target=press).start()
    with pytest.raises(errors.Aborted) as caught:
        gateway.ask(request(link(server)), cancellation)
    assert time.monotonic() - server.asked[0].at < 0.9
    assert len(server.asked) == 1
    assert not caught.value.billed
    assert [one.error for one in caught.value.attempts] == ["bean-1 gets too many requests (429): something is wrong"]


def test_nothing_is_sent_for_a_run_that_is_cancelled_already(server: ModelServer) -> None:
    cancellation = Cancellation()
    cancellation.set()
    with pytest.raises(errors.Aborted) as caught:
        gateway.ask(request(link(server)), cancellation)
    assert (caught.value.billed, caught.value.attempts, server.asked) == (False, (), [])
