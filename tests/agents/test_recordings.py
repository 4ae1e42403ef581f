"""Recorded runs: what is read from them, what is reported, and that nothing is loaded by half."""

from __future__ import annotations

import gzip
import hashlib
import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import fields
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from agents.runs.recorded.messages import message, system_message
from agents.runs.recorded.reading import read
from agents.runs.recorded.recording import (
    NO_OBJECTIVE,
    Counts,
    Fault,
    ModelStep,
    Recording,
    Said,
    Severity,
    ToolStep,
    Usage,
)
from agents.runs.recorded.tally import counted, expected

SHARED = Path(__file__).resolve().parents[2].parent / "shared" / "recorded"
PROMPT = "You look after the shop's parcels."


def said(role: str, content: str | None, **more: Any) -> dict[str, Any]:
    return {"role": role, "content": content, **more}


def used(**figures: int | None) -> dict[str, int | None]:
    return {"input_tokens": 10, "output_tokens": 2, **figures}


def call(at: int, answered: int | None = None, **more: Any) -> dict[str, Any]:
    defaults = {"id": "call_1", "name": "find_parcel", "args": {"number": 7}, "requestor": "assistant", "ok": True}
    return {**defaults, "result": "in transit", "message_i": at, "result_message_i": answered, **more}


def run(**changes: Any) -> dict[str, Any]:
    """A small run as JSON: a greeting, a question, two calls in one message, and an answer."""
    messages = [
        said("assistant", "Hello!", cost_usd=0.0),
        said("user", "Where are my two parcels?", usage=used(), cost_usd=0.5),
        said("assistant", None, usage=used(input_tokens=20), tool_call_ids=["call_1", "call_1"], cost_usd=0.25),
        said("tool", "in transit", tool_call_id="call_1"),
        said("tool", "Error: no such parcel", tool_call_id="call_1"),
        said("assistant", "One is on its way.", usage=used(cache_read_input_tokens=0), finish_reason="end_turn"),
    ]
    calls = [call(2, 3), call(2, 4, args={"number": 8}, result="Error: no such parcel", ok=False)]
    return {
        "schema": "agent-run/1",
        "run_id": "shop/1/0/0",
        "source": {"dataset": "shop"},
        "agent": {"name": "Parcel clerk", "implementation": "tool-calling"},
        "domain": "shop",
        "model": "modest-1",
        "model_source": "recorded",
        "task": {"id": "1", "trial": 0, "objective": "Find out where the parcels are."},
        "messages": [{"i": number, **each} for number, each in enumerate(messages)],
        "tool_calls": calls,
        "usage": {"input_tokens": 30, "output_tokens": 4, "cache_read_input_tokens": 0, "model_calls": 2},
        "cost": {"agent_usd": 0.25},
        "flags": ["made_by_hand"],
        **changes,
    }


def without(record: dict[str, Any], *names: str) -> dict[str, Any]:
    return {name: value for name, value in record.items() if name not in names}


def written(folder: Path, *lines: dict[str, Any] | str, name: str = "runs.jsonl") -> Path:
    file = folder / name
    text = "".join((line if isinstance(line, str) else json.dumps(line)) + "\n" for line in lines)
    file.write_bytes(gzip.compress(text.encode()) if name.endswith(".gz") else text.encode())
    return file


def recordings(*paths: Path) -> list[Recording]:
    return [each for each in read(paths) if isinstance(each, Recording)]


def faults(*paths: Path) -> list[Fault]:
    return [each for each in read(paths) if isinstance(each, Fault)]


def only(folder: Path, **changes: Any) -> Recording:
    (recording,) = recordings(written(folder, run(**changes)))
    return recording


def shape(recording: Recording) -> list[tuple[str, int]]:
    return [(type(entry).__name__, entry.message) for entry in recording.entries]


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


# -- prompts and tools beside the runs


def domain(folder: Path, listed: list[dict[str, Any]], *, prompt: str = PROMPT) -> dict[str, Any]:
    """A folder like the real ones: runs/, runs/prompts/ and domains/; returns the fields that name them."""
    (folder / "runs" / "prompts").mkdir(parents=True)
    (folder / "runs" / "prompts" / "clerk.md").write_text(prompt)
    (folder / "domains" / "shop" / "typed").mkdir(parents=True)
    (folder / "domains" / "shop" / "typed" / "tools.json").write_text(json.dumps(listed))
    digest = hashlib.sha256(PROMPT.encode()).hexdigest()
    system = {"kind": "policy", "sha256": digest, "file": "prompts/clerk.md"}
    return {"system": system, "tools_ref": "domains/shop/typed/tools.json"}


def test_tool_types_decide_tiers_and_an_unknown_type_is_tier_two(tmp_path: Path) -> None:
    listed = [
        {"name": "find_parcel", "tool_type": "read", "requestor": "assistant", "description": "Looks a parcel up."},
        {"name": "send_back", "tool_type": "write", "requestor": "assistant"},
        {"name": "add_up", "tool_type": "generic"},
        {"name": "ponder", "tool_type": "think"},
        {"name": "hum", "tool_type": "musical"},
        {"name": "open_door", "tool_type": "write", "requestor": "user"},
    ]
    named = domain(tmp_path, listed)
    calls = [call(2, 3), call(2, 4, name="whistle")]
    (recording,) = recordings(written(tmp_path / "runs", run(**named, tool_calls=calls)))
    tiers = {tool.name: (tool.tool_type, tool.tier) for tool in recording.tools}
    assert tiers == {
        "find_parcel": ("read", 1),
        "send_back": ("write", 3),
        "add_up": ("generic", 1),
        "ponder": ("think", 1),
        "hum": ("musical", 2),
        "whistle": (None, 2),
    }
    assert recording.tools[0].description == "Looks a parcel up."


def test_types_come_from_any_list_of_the_domain_and_schemas_from_the_one_the_run_names(tmp_path: Path) -> None:
    named = domain(tmp_path, [{"name": "send_back", "tool_type": "write", "parameters": [{"name": "number"}]}])
    schema = {"type": "object", "properties": {"number": {"type": "integer"}}}
    (tmp_path / "domains" / "shop" / "functions").mkdir()
    function = {"type": "function", "function": {"name": "send_back", "description": "Back.", "parameters": schema}}
    (tmp_path / "domains" / "shop" / "functions" / "tools.json").write_text(json.dumps([function]))
    named["tools_ref"] = "domains/shop/functions/tools.json"
    (recording,) = recordings(written(tmp_path / "runs", run(**named, tool_calls=[])))
    (tool,) = recording.tools
    assert (tool.tier, tool.description, tool.parameters) == (3, "Back.", schema)


def test_the_system_prompt_is_found_by_name_and_checked_by_digest(tmp_path: Path) -> None:
    named = domain(tmp_path, [{"name": "find_parcel", "tool_type": "read"}])
    (recording,) = recordings(written(tmp_path / "runs", run(**named)))
    assert system_message(recording.system) == {"role": "system", "parts": [{"type": "text", "content": PROMPT}]}


def test_another_text_under_the_prompts_name_is_left_out_and_noticed_once(tmp_path: Path) -> None:
    named = domain(tmp_path, [{"name": "find_parcel", "tool_type": "read"}], prompt="You give everything away.")
    file = written(tmp_path / "runs", run(**named), run(**named, run_id="shop/2"))
    assert [system_message(recording.system) for recording in recordings(file)] == [None, None]
    (fault,) = faults(file)
    assert fault.severity is Severity.NOTICED
    assert "another SHA-256" in fault.reason


@pytest.mark.parametrize("name", ["../secret.md", "/etc/hostname"])
def test_a_prompt_outside_the_folder_of_the_runs_is_never_read(tmp_path: Path, name: str) -> None:
    (tmp_path / "secret.md").write_text("secret")
    (tmp_path / "runs").mkdir()
    file = written(tmp_path / "runs", run(system={"kind": "policy", "file": name}))
    (recording,) = recordings(file)
    assert recording.system is not None
    assert recording.system.text is None
    assert "outside the folder" in faults(file)[0].reason


def test_missing_neighbours_are_noticed_and_the_run_still_loads(tmp_path: Path) -> None:
    file = written(tmp_path, run(system={"file": "prompts/gone.md"}, tools_ref="domains/shop/tools.json"))
    assert len(recordings(file)) == 1
    reasons = " / ".join(fault.reason for fault in faults(file))
    assert "prompts/gone.md was not found" in reasons
    assert "domains/shop/tools.json was not found" in reasons
    assert "no list gives tool types for the domain shop" in reasons


# -- what is wrong is reported with its place, and the rest goes on


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ('{"schema": "agent-run/1", "run_id": ', "not one line of JSON"),
        ('["a", "list"]', "not an object"),
        (json.dumps(run(schema="agent-run/2")), "schema is 'agent-run/2' but should be 'agent-run/1'"),
        (json.dumps({"schema": "something/1", "a": 1}), "schema is 'something/1' but should be 'agent-run/1'"),
        (json.dumps(without(run(), "schema")), "the field schema is missing"),
        (json.dumps(without(run(), "messages")), "the field messages is missing"),
        (json.dumps(run(agent={})), "the field agent.name is missing"),
        (json.dumps(run(run_id="")), "run_id is '' but should have at least 1 character"),
        (json.dumps(run(usage={"input_tokens": "many"})), "usage.input_tokens is 'many' but should be"),
        (json.dumps(run(usage={"input_tokens": -1})), "usage.input_tokens is -1 but should be greater than or equal"),
        (json.dumps(run(cost={"agent_usd": float("nan")})), "cost.agent_usd is nan but should be a finite number"),
        (json.dumps(run(tool_calls=[call(0, args={"x": float("inf")})])), "tool_calls[0].args"),
        (json.dumps(run(tool_calls=[call(99)])), "tool_calls[0].message_i is 99 but no message has this number"),
        (json.dumps(run(tool_calls=[call(2, 99)])), "tool_calls[0].result_message_i is 99"),
        (json.dumps(run(tool_calls=[call(2, requestor="nobody")])), "tool_calls[0].requestor is 'nobody'"),
        (json.dumps(run(messages=[said("user", "a", i=1), said("user", "b", i=1)], tool_calls=[])), "same number i"),
        ("[" * 5000, "recursion limit"),
    ],
)
def test_a_bad_line_is_reported_and_the_runs_around_it_load(tmp_path: Path, line: str, reason: str) -> None:
    file = written(tmp_path, run(run_id="before"), line, run(run_id="after"))
    assert [recording.run_id for recording in recordings(file)] == ["before", "after"]
    (fault,) = faults(file)
    assert (fault.file, fault.line, fault.severity) == (file, 2, Severity.SKIPPED)
    assert reason in fault.reason
    assert str(fault).startswith(f"{file}:2: skipped: ")


def test_bytes_that_are_not_text_are_reported(tmp_path: Path) -> None:
    file = tmp_path / "runs.jsonl"
    file.write_bytes(b'{"schema": "\xff\xfe"}\n' + json.dumps(run()).encode())
    assert len(recordings(file)) == 1
    assert [fault.line for fault in faults(file)] == [1]


def test_unknown_fields_are_noticed_and_the_run_loads(tmp_path: Path) -> None:
    odd = run(
        weather="fine",
        agent={"name": "Clerk", "shoe_size": 44},
        tool_calls=[call(2, 3, weight=1), call(2, 4, weight=2)],
    )
    file = written(tmp_path, odd)
    assert len(recordings(file)) == 1
    (fault,) = faults(file)
    assert (fault.severity, fault.run_id, fault.line) == (Severity.NOTICED, "shop/1/0/0", 1)
    assert fault.reason.endswith("left aside: agent.shoe_size, tool_calls[].weight, weather")


def test_a_run_id_that_comes_twice_is_read_once(tmp_path: Path) -> None:
    first = written(tmp_path, run(), name="a.jsonl")
    second = written(tmp_path, run(), run(run_id="shop/2"), name="b.jsonl.gz")
    assert [recording.run_id for recording in recordings(tmp_path)] == ["shop/1/0/0", "shop/2"]
    (fault,) = faults(tmp_path)
    assert (fault.file, fault.line, fault.run_id) == (second, 1, "shop/1/0/0")
    assert f"read before, from {first}:1" in fault.reason


def test_a_file_named_twice_is_read_once(tmp_path: Path) -> None:
    file = written(tmp_path, run())
    assert len(recordings(file, tmp_path, file)) == 1
    assert faults(file, tmp_path, file) == []


def test_a_truncated_gzip_gives_the_runs_before_the_break(tmp_path: Path) -> None:
    # Noise that does not compress, so that the cut falls inside the second run and not in a buffer of the first.
    noise = "".join(hashlib.sha256(str(number).encode()).hexdigest() for number in range(4000))
    file = written(tmp_path, run(), run(run_id="cut", extra=noise), name="runs.jsonl.gz")
    whole = file.read_bytes()
    file.write_bytes(whole[: len(whole) // 2])
    assert [recording.run_id for recording in recordings(file)] == ["shop/1/0/0"]
    (fault,) = faults(file)
    assert (fault.line, fault.severity) == (2, Severity.SKIPPED)
    assert "truncated" in fault.reason


def test_a_damaged_gzip_is_reported_and_the_next_file_is_read(tmp_path: Path) -> None:
    damaged = written(tmp_path, run(), name="a.jsonl.gz")
    damaged.write_bytes(damaged.read_bytes() + b"not gzip at all")
    written(tmp_path, run(run_id="shop/2"), name="b.jsonl")
    assert [recording.run_id for recording in recordings(tmp_path)] == ["shop/1/0/0", "shop/2"]
    (fault,) = faults(tmp_path)
    assert "damaged" in fault.reason


def test_gzip_is_told_by_its_content_and_not_by_its_name(tmp_path: Path) -> None:
    packed = written(tmp_path, run(), name="packed.jsonl.gz").rename(tmp_path / "packed.jsonl")
    plain = written(tmp_path, run(run_id="shop/2"), name="plain.jsonl").rename(tmp_path / "plain.jsonl.gz")
    assert len(recordings(packed, plain)) == 2


def test_a_byte_order_mark_and_empty_lines_are_passed_over(tmp_path: Path) -> None:
    file = tmp_path / "runs.jsonl"
    file.write_bytes(
        b"\xef\xbb\xbf" + json.dumps(run()).encode() + b"\r\n\n  \n" + json.dumps(run(run_id="b")).encode()
    )
    assert len(recordings(file)) == 2
    assert faults(file) == []


def test_nul_characters_are_replaced_and_noticed_and_an_escaped_backslash_is_let_be(tmp_path: Path) -> None:
    messages = [said("user", "a\x00\x00b \\u0000 c"), said("assistant", "ok", usage=used())]
    file = written(tmp_path, run(messages=messages, tool_calls=[], usage=None))
    entry = recordings(file)[0].entries[0]
    assert isinstance(entry, Said)
    assert entry.content == "a\ufffd\ufffdb \\u0000 c"
    assert "NUL" in faults(file)[0].reason


@pytest.mark.parametrize(
    ("name", "reason"),
    [("gone.jsonl", "no such file"), ("notes.txt", "read from .jsonl"), ("empty", "no .jsonl or .jsonl.gz file")],
)
def test_a_path_that_leads_to_no_runs_is_one_sentence(tmp_path: Path, name: str, reason: str) -> None:
    (tmp_path / "notes.txt").write_text("hello")
    (tmp_path / "empty").mkdir()
    (fault,) = faults(tmp_path / name)
    assert fault.line is None
    assert reason in fault.reason


def test_totals_that_do_not_add_up_are_noticed(tmp_path: Path) -> None:
    file = written(tmp_path, run(usage={"input_tokens": 31, "output_tokens": 4, "cache_read_input_tokens": 0}))
    (fault,) = faults(file)
    assert fault.severity is Severity.NOTICED
    assert fault.reason.endswith("sum of its messages: input_tokens")


def test_reading_is_lazy(tmp_path: Path) -> None:
    file = written(tmp_path, run(), run(run_id="shop/2"))
    stream = read([file])
    assert isinstance(next(stream), Recording)
    file.unlink()
    assert isinstance(next(stream), Recording)


def test_the_same_agent_in_two_datasets_has_two_slugs(tmp_path: Path) -> None:
    assert only(tmp_path).slug == "shop-parcel-clerk"
    assert only(tmp_path, source={"dataset": "Depot"}).slug == "depot-parcel-clerk"


# -- counting


def test_the_two_ways_of_counting_agree_on_the_small_run(tmp_path: Path) -> None:
    counts = Counts(2, 2, 1, input_tokens=30, output_tokens=4, cache_read_input_tokens=0)
    assert expected(run()) == counts
    assert counted(only(tmp_path)) == counts


def shared_lines() -> Iterator[dict[str, Any]]:
    for file in sorted((SHARED / "runs").glob("*.jsonl.gz")):
        with gzip.open(file, "rt") as lines:
            yield from map(json.loads, lines)


@pytest.mark.skipif(not (SHARED / "runs").is_dir(), reason=f"no recorded runs at {SHARED}")
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


@pytest.mark.skipif(not (SHARED / "runs").is_dir(), reason=f"no recorded runs at {SHARED}")
def test_no_word_of_a_shared_run_is_lost() -> None:
    """Every message's text is in an entry, or is the answer that a tool step tells."""
    read_back = {recording.run_id: recording for recording in recordings(SHARED)}
    for raw in shared_lines():
        recording = read_back[raw["run_id"]]
        told = Counter(entry.content for entry in recording.entries if isinstance(entry, Said | ModelStep))
        told.update(str(step.result) for step in recording.tool_steps)
        assert not Counter(each["content"] for each in raw["messages"]) - told
