"""The simulated model repeats itself, follows its plays, reacts to what tools answer, and never hides what it is."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import textwrap
import threading
import time
import tomllib
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from agents import errors
from agents.cancellation import Cancellation
from agents.contracts import UNKNOWN, ModelReply, ModelRequest, Source
from agents.llm import gateway, plays
from finops.pricing import price

ROOT = Path(__file__).resolve().parents[2]
Json = dict[str, Any]


def tool(name: str, *, writes: bool = False, **properties: Json) -> Json:
    schema = {"type": "object", "properties": properties, "required": list(properties), "additionalProperties": False}
    return {"name": name, "description": name, "schema": schema, "writes": writes}


TOOLS = [
    tool("orders.read", order={"type": "integer"}),
    tool("stock.read", sku={"type": "string"}),
    tool("payments.refund", writes=True, order={"type": "integer"}, amount={"type": "string"}),
    tool("tickets.note", writes=True, text={"type": "string"}),
]
REFUND: Json = {
    "when": "refund",
    "capture": {"order": r"order (\d+)"},
    "steps": [
        {"tool": "orders.read", "arguments": {"order": "{order}"}},
        {"given": {"orders.read.status": "refunded"}, "say": "Order {order} has been refunded already."},
        {
            "tool": "payments.refund",
            "arguments": {"order": "{order}", "amount": "{orders.read.total}"},
            "again": 1,
            "otherwise": [
                {"tool": "tickets.note", "arguments": {"text": "Order {order}: {problem}"}},
                {"say": "A colleague will look at order {order}."},
            ],
        },
        {"say": "Refunded {orders.read.total} for {orders.read.lines.0.sku}."},
    ],
}
ORDER = {"total": 12.5, "status": "sent", "lines": [{"sku": "beans"}]}


def said(text: str) -> Json:
    return {"role": "user", "parts": [{"type": "text", "content": text}]}


def ask(messages: list[Json], table: Json | None = None, **changes: Any) -> ModelReply:
    """One question to a simulated model; no latency unless the table asks for it."""
    settings = {"simulated": {"latency_ms": [0, 0], **(table or {})}}
    fields: Json = {
        "chain": [{"provider": "simulated", "model": "sim-large"}],
        "tools": TOOLS,
        "settings": settings,
        "seed": 7,
        "idempotency_key": "run:1",
    }
    return gateway.ask(ModelRequest(messages=messages, **{**fields, **changes}), Cancellation())


def play(objective: str, table: Json | None, answers: Json, **changes: Any) -> list[Any]:
    """Everything the model does about an objective, tools answering with the next of `answers`: calls and words."""
    messages, done = [said(objective)], list[Any]()
    for _ in range(12):
        reply = ask(messages, table, **changes)
        messages.append(reply.message)
        calls = [part for part in reply.message["parts"] if part["type"] == "tool_call"]
        if not calls:
            return [*done, reply.message["parts"][-1]["content"]]
        for call in calls:
            done.append((call["name"], call["arguments"]))
            response = answers[call["name"]].pop(0)
            part = {"type": "tool_call_response", "id": call["id"], "name": call["name"], "response": response}
            messages.append({"role": "tool", "parts": [part]})
    raise AssertionError(f"never came to an end: {done}")


READ = ("orders.read", {"order": 31})
PAY = ("payments.refund", {"order": 31, "amount": "12.5"})
ASKED = "Please refund order 31, the beans are stale."


# --- following a play -----------------------------------------------------------------------------------------------
def test_a_play_uses_what_the_objective_and_earlier_results_say_in_the_types_a_tool_wants() -> None:
    done = play(ASKED, {"plays": [REFUND]}, {"orders.read": [ORDER], "payments.refund": [{"ok": True}]})
    assert done == [READ, PAY, "Refunded 12.5 for beans."]


def test_a_step_whose_condition_does_not_hold_is_skipped_and_one_that_holds_can_end_the_play() -> None:
    done = play(ASKED, {"plays": [REFUND]}, {"orders.read": [{**ORDER, "status": "refunded"}]})
    assert done == [READ, "Order 31 has been refunded already."]


def test_a_failed_call_is_made_again_and_then_given_up_for_the_other_way() -> None:
    broken = {"error": "card expired", "state": "failed"}
    answers = {"orders.read": [ORDER], "payments.refund": [broken, broken], "tickets.note": ["noted"]}
    note = ("tickets.note", {"text": "Order 31: card expired"})
    done = play(ASKED, {"plays": [REFUND]}, answers)
    assert done == [READ, PAY, PAY, note, "A colleague will look at order 31."]


def test_a_call_that_failed_once_and_worked_the_second_time_leads_on() -> None:
    answers = {"orders.read": [ORDER], "payments.refund": [{"error": "busy"}, {"ok": True}]}
    assert play(ASKED, {"plays": [REFUND]}, answers) == [READ, PAY, PAY, "Refunded 12.5 for beans."]


def test_what_a_person_refused_is_not_asked_for_again() -> None:
    refused = {"error": "rhea: the customer has had two refunds", "state": "refused"}
    answers = {"orders.read": [ORDER], "payments.refund": [refused], "tickets.note": ["noted"]}
    note = ("tickets.note", {"text": "Order 31: rhea: the customer has had two refunds"})
    assert play(ASKED, {"plays": [REFUND]}, answers)[2:] == [note, "A colleague will look at order 31."]


def test_without_another_way_a_failure_is_told_and_ends_it() -> None:
    done = play(ASKED, {"plays": [REFUND]}, {"orders.read": [{"error": "no such order"}]})
    assert done == [READ, "I stopped: orders.read did not work. no such order"]


def test_several_calls_can_be_made_at_once_and_words_and_thoughts_stand_beside_them() -> None:
    both = {
        "think": "Both.",
        "say": "A moment.",
        "calls": [{"tool": "orders.read", "arguments": {"order": 1}}, {"tool": "stock.read", "arguments": {"sku": 2}}],
    }
    reply = ask([said("anything")], {"plays": [{"steps": [both]}]})
    assert [part["type"] for part in reply.message["parts"]] == ["reasoning", "text", "tool_call", "tool_call"]
    assert reply.message["parts"][3]["arguments"] == {"sku": "2"}
    ids = [part["id"] for part in reply.message["parts"][2:]]
    assert len(set(ids)) == 2


def test_the_first_play_that_fits_and_finds_its_words_is_the_one() -> None:
    table = {
        "plays": [
            {"when": "refund", "capture": {"order": r"order (\d+)"}, "steps": [{"say": "Order {order}."}]},
            {"when": "REFUND", "pick": {"tone": ["kindly"]}, "steps": [{"say": "Which order? ({tone}, {missing})"}]},
            {"steps": [{"say": "Something else: {objective}"}]},
        ]
    }
    assert play("refund order 5", table, {}) == ["Order 5."]
    assert play("refund it", table, {}) == ["Which order? (kindly, unknown)"]
    assert play("hello", table, {}) == ["Something else: hello"]


def test_steps_with_tools_that_were_not_offered_are_skipped() -> None:
    done = play(ASKED, {"plays": [REFUND]}, {"orders.read": [ORDER]}, tools=TOOLS[:1])
    assert done == [READ, "Refunded 12.5 for beans."]


def test_a_share_of_the_runs_plays_another_play_and_each_run_keeps_to_its_own() -> None:
    table = {"plays": [{"share": 0.25, "steps": [{"say": "rare"}]}, {"steps": [{"say": "usual"}]}]}
    words = [play("anything", table, {}, seed=seed)[0] for seed in range(200)]
    assert 25 <= words.count("rare") <= 75
    assert words == [play("anything", table, {}, seed=seed)[0] for seed in range(200)]


def test_the_example_in_the_documentation_is_a_table_that_plays() -> None:
    example = textwrap.dedent((plays.__doc__ or "").split("in order:\n")[1].split("\n(TOML")[0])
    table = {**tomllib.loads(example)["simulated"], "latency_ms": [0, 0], "failure_rate": 0}
    table["plays"][0]["share"] = 1
    tools = [tool("orders.read", order_id={"type": "string"}), tool("payments.refund", writes=True, order={})]
    answers = {"orders.read": [{"total": 8, "status": "sent"}], "payments.refund": [{}]}
    done = play("Refund order A12", table, answers, tools=tools)
    assert done[:2] == [("orders.read", {"order_id": "A12"}), ("payments.refund", {"order": "A12"})]
    assert "8" in done[2]


# --- without a play -------------------------------------------------------------------------------------------------
def test_without_a_play_every_read_tool_is_tried_once_with_arguments_its_schema_accepts_and_nothing_is_written() -> (
    None
):
    wide = tool(
        "carriers.quote",
        parcel={"$ref": "#/$defs/Parcel"},
        speed={"enum": ["slow", "fast"]},
        day={"type": "string", "format": "date"},
        weight={"anyOf": [{"type": "number", "minimum": 2}, {"type": "null"}]},
        tags={"type": "array", "items": {"type": "string", "maxLength": 4}, "minItems": 2},
    )
    size = {"type": "object", "properties": {"cm": {"type": "integer"}}, "required": ["cm"]}
    wide["schema"]["$defs"] = {"Parcel": size}
    answers = {"orders.read": [{"error": "down"}], "stock.read": [3], "carriers.quote": [9]}
    done = play("Where is order 31 for grinder G-7?", None, answers, tools=[*TOOLS, wide])
    assert [one[0] for one in done[:-1]] == ["orders.read", "stock.read", "carriers.quote"]
    schemas = {one["name"]: one["schema"] for one in [*TOOLS, wide]}
    for name, arguments in done[:-1]:
        Draft202012Validator(schemas[name]).validate(arguments)
    assert done[0] == READ
    assert done[-1].startswith("I looked into “Where is order 31")


def test_without_any_tool_it_answers_in_a_sentence() -> None:
    assert play("Say hello", None, {}, tools=[]) == ["I have read “Say hello”."]


# --- what it costs, how sure it is, how it fails --------------------------------------------------------------------
def test_it_says_that_it_is_simulated_wherever_its_name_is_shown() -> None:
    reply = ask([said("hello")])
    names = [reply.model, reply.response_model, *(one.model for one in reply.attempts)]
    assert names == ["sim-large (simulated)"] * 3
    assert reply.provider == "simulated"


def test_its_calls_have_a_price_under_the_name_they_are_kept_with() -> None:
    reply = ask([said("hello")])
    cost = price(reply.provider, reply.model, reply.usage, datetime.now(UTC))
    assert cost.kind == "priced"
    assert cost.amount
    assert cost.amount > 0


def test_longer_conversations_cost_more_and_what_was_read_before_is_cached() -> None:
    short = ask([said("hello")]).usage
    spoken = {"role": "assistant", "parts": [{"type": "text", "content": "word " * 400}]}
    long = ask([said("hello"), spoken, said("and now?")]).usage
    assert short.input is not None
    assert long.input is not None
    assert long.input - short.input == pytest.approx(500, rel=0.05)
    assert (short.cache_read, long.cache_read) == (0, 384)
    assert short.output
    assert not short.estimated


@pytest.mark.parametrize(("asked", "low", "high"), [([0.2, 0.4], 0.2, 0.4), (0.9, 0.9, 0.9), (0, 0, 0)])
def test_it_is_as_sure_of_a_write_as_its_play_says(asked: Any, low: float, high: float) -> None:
    steps = [{"tool": "tickets.note", "arguments": {"text": "x"}, "confidence": asked}]
    for seed in range(10):
        (confidence,) = ask([said("note")], {"plays": [{"steps": steps}]}, seed=seed).confidences
        assert confidence.source == Source.SELF_REPORTED
        assert confidence.value is not None
        assert low <= confidence.value <= high


def test_it_may_say_nothing_of_its_confidence_and_says_nothing_of_reads() -> None:
    steps = [{"calls": [{"tool": "tickets.note", "confidence": "unknown"}, {"tool": "orders.read"}]}]
    assert ask([said("note")], {"plays": [{"steps": steps}]}).confidences == (UNKNOWN, UNKNOWN)


def test_it_can_send_arguments_that_are_not_json() -> None:
    steps = [{"tool": "orders.read", "arguments": {"order": 1}, "malformed": 1}]
    arguments = ask([said("x")], {"plays": [{"steps": steps}]}).message["parts"][0]["arguments"]
    assert isinstance(arguments, str)
    with pytest.raises(json.JSONDecodeError):
        json.loads(arguments)


def test_when_one_model_is_down_the_next_of_the_chain_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gateway, "SOON", (0.01, 0.01))
    chain = [{"provider": "simulated", "model": model} for model in ("sim-large", "sim-small")]
    reply = ask([said("hello")], {"failure_rate": {"sim-large": 1.0}}, chain=chain)
    assert reply.model == "sim-small (simulated)"
    assert [one.error for one in reply.attempts] == ["sim-large (simulated) is overloaded."] * 2 + [""]


def test_a_step_that_is_tried_again_may_have_more_luck_and_always_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gateway, "SOON", (0, 0))
    monkeypatch.setattr(gateway.breakers, "FAILURES", frozenset())

    def luck(attempt: int) -> bool:
        try:
            return bool(ask([said("hello")], {"failure_rate": 0.7}, attempt=attempt))
        except errors.OutsideError:
            return False

    lucky = [luck(attempt) for attempt in range(1, 13)]
    assert set(lucky) == {True, False}
    assert [luck(attempt) for attempt in range(1, 13)] == lucky


def test_it_takes_its_time_and_a_cancel_does_not_wait_for_it() -> None:
    started = time.monotonic()
    ask([said("hello")], {"latency_ms": [300, 300]})
    assert 0.3 <= time.monotonic() - started < 1
    cancellation = Cancellation()
    threading.Timer(0.1, cancellation.set).start()
    chain = [{"provider": "simulated", "model": "sim-large"}]
    slow = {"simulated": {"latency_ms": [20_000, 20_000]}}
    started = time.monotonic()
    with pytest.raises(errors.Aborted) as caught:
        gateway.ask(ModelRequest(chain, [said("hello there")], [], slow, 1, "key"), cancellation)
    assert time.monotonic() - started < 0.4
    (attempt,) = caught.value.attempts
    assert attempt.usage is not None
    assert (attempt.usage.estimated, attempt.usage.input) == (True, 3)


def test_an_answer_slower_than_the_request_allows_is_a_timeout() -> None:
    settings = {"simulated": {"latency_ms": [5000, 5000]}}
    with pytest.raises(errors.OutsideError) as caught:
        ask([said("hello")], settings=settings, timeout=0.1)
    assert (caught.value.kind, caught.value.billed) == ("timeout", True)
    assert str(caught.value) == "sim-large (simulated) did not answer within 0.1 s."


@pytest.mark.parametrize(
    ("table", "sentence"),
    [
        ({"plays": [{"wen": "x", "steps": []}]}, "plays.0.wen: is not a key that means something here."),
        ({"plays": [{"steps": []}]}, "plays.0.steps: "),
        ({"plays": [{"when": "(", "steps": [{"say": "x"}]}]}, "plays.0.when: is not a regular expression"),
        ({"plays": [{"steps": [{"otherwise": "x"}]}]}, "plays.0.steps.0: needs `say`, `tool` or `calls`."),
        (
            {"plays": [{"steps": [{"tool": "x", "otherwise": [{"tool": "y", "confidence": 2}]}]}]},
            "plays.0.steps.0.otherwise.0.confidence: takes a number from 0 to 1, two of them with the smaller first, "
            'or "unknown".',
        ),
        ({"latency_ms": [9, 1]}, "latency_ms: must name the smaller number first."),
    ],
)
def test_a_table_that_means_nothing_is_refused_with_the_place_and_the_reason(table: Json, sentence: str) -> None:
    with pytest.raises(errors.OutsideError) as caught:
        ask([said("hello")], table)
    assert f"In the [simulated] table, {sentence}" in str(caught.value)
    assert (caught.value.kind, caught.value.permanent) == ("configuration", True)


# --- the same again -------------------------------------------------------------------------------------------------
REPEATING = """
import json, sys
import django
django.setup()
from agents.cancellation import Cancellation
from agents.contracts import ModelRequest
from agents.llm import gateway

messages, tools, settings = json.loads(sys.argv[1])
chain = [{"provider": "simulated", "model": "sim-large"}]
for seed in range(5):
    reply = gateway.ask(ModelRequest(chain, messages, tools, settings, seed, "key"), Cancellation())
    print(json.dumps([reply.message, [one.value for one in reply.confidences]]))
"""


def test_the_same_question_gets_the_same_answer_in_every_process() -> None:
    steps = [{"tool": "tickets.note", "arguments": {"text": "{tone}"}, "say": ["One.", "Two.", "Three."]}]
    pick = {"tone": ["kind", "short", "plain"]}
    settings = {"simulated": {"latency_ms": [0, 0], "plays": [{"pick": pick, "steps": steps}]}}
    question = json.dumps([[said("anything")], TOOLS, settings])
    printed = [
        subprocess.run(
            [sys.executable, "-c", REPEATING, question],
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": str(ROOT), "PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
            timeout=60,
        ).stdout
        for seed in ("1", "2")
    ]
    assert printed[0] == printed[1]
    assert len(set(printed[0].splitlines())) == 5


def test_another_key_or_a_second_try_changes_nothing_in_the_answer() -> None:
    first = ask([said("anything")], {"plays": [REFUND]})
    assert ask([said("anything")], {"plays": [REFUND]}, idempotency_key="run:2", timeout=5.0).message == first.message
