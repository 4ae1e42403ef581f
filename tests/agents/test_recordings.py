"""Recorded runs: what is a step and what is not, and that nothing is made up where nothing was recorded."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import fields
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from agents.runs.recorded.messages import message
from agents.runs.recorded.recording import (
    NO_OBJECTIVE,
    Counts,
    ModelStep,
    Said,
    ToolStep,
    Usage,
)
from agents.runs.recorded.tally import counted, expected
from tests.recordings import (
    SHARED,
    call,
    faults,
    needs_shared,
    only,
    recordings,
    run,
    said,
    shape,
    shared_lines,
    used,
    without,
)

# -- what a run is made of


def test_steps_are_metered_messages_and_the_agents_calls_everything_else_is_conversation(tmp_path: Path) -> None:
    recording = only(tmp_path)
    assert shape(recording) == [
        ("Said", 0),
        ("Said", 1),
        ("ModelStep", 2),
        ("ToolStep", 2),
        ("ToolStep", 2),
        ("ModelStep", 5),
    ]
    assert [step.position for step in recording.tool_steps] == [0, 1]
    assert [step.call.id for step in recording.tool_steps] == ["call_1", "call_1"]
    assert [step.ok for step in recording.tool_steps] == [True, False]


def test_every_assistant_message_is_a_step_where_none_has_usage(tmp_path: Path) -> None:
    bare = [without(each, "usage") if each["role"] == "assistant" else each for each in run()["messages"]]
    recording = only(tmp_path, messages=bare, usage=None)
    assert [step.message for step in recording.model_steps] == [0, 2, 5]
    assert [step.usage for step in recording.model_steps] == [None, None, None]


def test_usage_that_was_written_as_unknown_still_makes_a_step(tmp_path: Path) -> None:
    unknown = {"input_tokens": None, "output_tokens": None}
    messages = [said("assistant", "Hi", usage=unknown), said("assistant", "Bye", usage={}), said("assistant", "…")]
    recording = only(tmp_path, messages=messages, tool_calls=[], usage=None)
    assert shape(recording) == [("ModelStep", 0), ("Said", 1), ("Said", 2)]
    assert counted(recording).input_tokens is None


def test_a_call_of_an_unmetered_message_is_still_a_step(tmp_path: Path) -> None:
    messages = [
        said("assistant", None, tool_call_ids=["a"]),
        said("tool", "in transit", tool_call_id="a"),
        said("assistant", "There.", usage=used()),
    ]
    recording = only(tmp_path, messages=messages, tool_calls=[call(0, 1)])
    assert shape(recording) == [("Said", 0), ("ToolStep", 0), ("ModelStep", 2)]


def test_what_the_simulated_user_did_with_tools_is_conversation(tmp_path: Path) -> None:
    messages = [
        said("user", None, tool_call_ids=["u"]),
        said("tool", "No service", tool_call_id="u"),
        said("assistant", "Switch it off and on.", usage=used()),
    ]
    theirs = call(0, 1, id="u", name="check_status_bar", requestor="user", result="No service", ok=False)
    recording = only(tmp_path, messages=messages, tool_calls=[theirs])
    assert shape(recording) == [("Said", 0), ("Said", 1), ("ModelStep", 2)]
    asked, answered = recording.entries[:2]
    assert message(asked) == {
        "role": "user",
        "parts": [{"type": "tool_call", "id": "u", "name": "check_status_bar", "arguments": {"number": 7}}],
    }
    assert message(answered)["parts"] == [{"type": "tool_call_response", "id": "u", "response": "No service"}]
    assert counted(recording).failed_tool_calls == 0
    assert [tool.name for tool in recording.tools] == []


def test_a_users_message_that_carries_a_result_is_shown_too(tmp_path: Path) -> None:
    messages = [said("assistant", "ls", tool_call_ids=["s"]), said("user", "a.txt\n$", tool_call_id="s")]
    recording = only(tmp_path, messages=messages, tool_calls=[call(0, 1, id="s", result="a.txt")], usage=None)
    assert shape(recording) == [("ModelStep", 0), ("ToolStep", 0), ("Said", 1)]


def test_a_tools_message_that_no_call_claims_is_kept_as_conversation(tmp_path: Path) -> None:
    messages = [said("tool", "stray"), said("assistant", "Hm.", usage=used())]
    assert shape(only(tmp_path, messages=messages, tool_calls=[])) == [("Said", 0), ("ModelStep", 1)]


def test_messages_keep_their_own_numbers_and_the_order_they_stand_in(tmp_path: Path) -> None:
    messages = [said("user", "Hi", i=10), said("assistant", None, i=20, usage=used(), tool_call_ids=["call_1"])]
    assert shape(only(tmp_path, messages=messages, tool_calls=[call(20)])) == [
        ("Said", 10),
        ("ModelStep", 20),
        ("ToolStep", 20),
    ]


# -- as recorded: unknown is not zero, and zero is not unknown


def test_figures_are_as_recorded_and_unknown_stays_unknown(tmp_path: Path) -> None:
    first, last = only(tmp_path).model_steps
    assert first.usage == Usage(input_tokens=20, output_tokens=2)
    assert last.usage == Usage(input_tokens=10, output_tokens=2, cache_read_input_tokens=0)
    assert (first.cost_usd, last.cost_usd) == (Decimal("0.25"), None)


def test_cost_has_the_digits_of_the_file(tmp_path: Path) -> None:
    assert only(tmp_path, cost={"agent_usd": 0.008172500000000001}).cost_usd == Decimal("0.008172500000000001")
    assert only(tmp_path, cost={"agent_usd": 0}).cost_usd == 0
    assert only(tmp_path, cost=None).cost_usd is None


def test_a_run_total_does_not_become_a_steps_figure(tmp_path: Path) -> None:
    messages = [said("assistant", "ls"), said("assistant", "submit")]
    recording = only(tmp_path, messages=messages, tool_calls=[], usage={"input_tokens": 500, "output_tokens": 9})
    assert [step.usage for step in recording.model_steps] == [None, None]
    assert counted(recording) == Counts(model_steps=2, input_tokens=500, output_tokens=9)


def test_a_result_that_never_came_is_told_apart_from_an_empty_one(tmp_path: Path) -> None:
    messages = [said("assistant", None, tool_call_ids=["a", "b"]), said("tool", "", tool_call_id="a")]
    calls = [call(0, 1, result="", ok=None), call(0, None, result=None, ok=None)]
    empty, absent = only(tmp_path, messages=messages, tool_calls=calls, usage=None).tool_steps
    assert (empty.has_result, absent.has_result) == (True, False)
    assert (empty.ok, absent.ok) == (None, None)


@pytest.mark.parametrize(
    ("recorded", "raw"),
    [
        ({"args": None, "args_raw": '{"number": 7'}, '{"number": 7'),
        ({"args": {"number": 7}, "args_raw": "{'number': 7}"}, "{'number': 7}"),
        ({"args": ["x"]}, '["x"]'),
        ({"args": None, "args_raw": ""}, ""),
    ],
)
def test_malformed_arguments_are_shown_as_malformed(tmp_path: Path, recorded: dict[str, Any], raw: str) -> None:
    messages = [said("assistant", None, usage=used(), tool_call_ids=["call_1"])]
    step, asked = only(tmp_path, messages=messages, tool_calls=[call(0, **recorded)]).entries
    assert isinstance(asked, ToolStep)
    assert asked.call.is_malformed
    assert asked.call.raw == raw
    assert message(step)["parts"] == [{"type": "tool_call", "id": "call_1", "name": "find_parcel", "arguments": raw}]


def test_an_objective_nobody_recorded_is_said_to_be_absent(tmp_path: Path) -> None:
    absent = only(tmp_path, task={"id": 4, "objective": None})
    assert (absent.objective, absent.has_objective, absent.task) == (NO_OBJECTIVE, False, "4")
    assert only(tmp_path).has_objective


def test_times_are_the_sources_own_words(tmp_path: Path) -> None:
    recording = only(tmp_path, started_at="2026-03-22T07:51:03.392247", duration_s=None)
    assert (recording.started_at, recording.ended_at, recording.duration_s) == (
        "2026-03-22T07:51:03.392247",
        None,
        None,
    )


# -- the OpenTelemetry form


def test_a_model_step_becomes_a_message_of_reasoning_text_and_calls(tmp_path: Path) -> None:
    messages = [
        said("assistant", "Let me look.", reasoning="Which parcel?", usage=used(), finish_reason="tool_use"),
    ]
    step, tool = only(tmp_path, messages=messages, tool_calls=[call(0)]).entries
    assert message(step) == {
        "role": "assistant",
        "parts": [
            {"type": "reasoning", "content": "Which parcel?"},
            {"type": "text", "content": "Let me look."},
            {"type": "tool_call", "id": "call_1", "name": "find_parcel", "arguments": {"number": 7}},
        ],
        "finish_reason": "tool_call",
    }
    assert message(tool) == {
        "role": "tool",
        "parts": [{"type": "tool_call_response", "id": "call_1", "response": "in transit"}],
    }


def test_a_finish_reason_is_given_only_where_one_was_recorded(tmp_path: Path) -> None:
    first, last = only(tmp_path).model_steps
    assert "finish_reason" not in message(first)
    assert message(last)["finish_reason"] == "stop"


def test_the_same_agent_in_two_datasets_has_two_slugs(tmp_path: Path) -> None:
    assert only(tmp_path).slug == "shop-parcel-clerk"
    assert only(tmp_path, source={"dataset": "Depot"}).slug == "depot-parcel-clerk"


# -- counting


def test_the_two_ways_of_counting_agree_on_the_small_run(tmp_path: Path) -> None:
    counts = Counts(2, 2, 1, input_tokens=30, output_tokens=4, cache_read_input_tokens=0)
    assert expected(run()) == counts
    assert counted(only(tmp_path)) == counts


@needs_shared
def test_every_shared_run_loads_and_counts_as_its_file_says() -> None:
    assert faults(SHARED) == []
    read_back = {recording.run_id: recording for recording in recordings(SHARED)}
    raws = list(shared_lines())
    manifest = json.loads((SHARED / "runs" / "manifest.json").read_text())["files"]
    assert len(read_back) == len(raws) == sum(each["runs"] for each in manifest)
    for raw in raws:
        recording = read_back[raw["run_id"]]
        assert counted(recording) == expected(raw)
        if raw["usage"]:
            totals = {field.name: getattr(counted(recording), field.name) for field in fields(Counts)}
            assert {name: totals[name] for name in totals if name.endswith("tokens")} == without(
                raw["usage"], "model_calls"
            )
            assert len(list(recording.model_steps)) == raw["usage"]["model_calls"]


@needs_shared
def test_no_word_of_a_shared_run_is_lost() -> None:
    """Every message's text is in an entry, or is the answer that a tool step tells."""
    read_back = {recording.run_id: recording for recording in recordings(SHARED)}
    for raw in shared_lines():
        recording = read_back[raw["run_id"]]
        told = Counter(entry.content for entry in recording.entries if isinstance(entry, Said | ModelStep))
        told.update(str(step.result) for step in recording.tool_steps)
        assert not Counter(each["content"] for each in raw["messages"]) - told
