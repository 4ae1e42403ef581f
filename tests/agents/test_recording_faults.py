"""What lies beside recorded runs, and what is wrong with them: reported with its place, and the rest goes on."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest

from agents.runs.recorded.messages import system_message
from agents.runs.recorded.reading import read
from agents.runs.recorded.recording import (
    Recording,
    Said,
    Severity,
)
from tests.recordings import (
    call,
    faults,
    recordings,
    run,
    said,
    used,
    without,
    written,
)

PROMPT = "You look after the shop's parcels."


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
