"""The recorded program: what it asks for next, given what has happened, and when it can't go on."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from agents.contracts import AskModel, Assignment, Event, Finish, Json, Turn, Usage, UseTool
from agents.runs.programs.recorded import RecordedRun
from agents.runs.recorded.content import content, digest
from agents.runs.recorded.tally import counted
from tests.recordings import SHARED, call, needs_shared, only, recordings, run, said, used

BUNDLE = {"prompts": {"system": "Be kind."}, "tool_types": {"send_back": "write", "find_parcel": "read"}}


def following(record: Json, history: Sequence[Event]) -> Turn:
    return RecordedRun().next(Assignment(UUID(int=1), "", record, BUNDLE, seed=0), history)


def happened(ask: AskModel | UseTool, seq: int, turn: int, **otherwise: Any) -> Event:
    """What an engine would make of an ask that went as recorded."""
    assert ask.recorded is not None
    kind, name, given = (
        ("tool", ask.name, {"arguments": ask.arguments})
        if isinstance(ask, UseTool)
        else ("model", "model", list(ask.messages)[ask.known :])
    )
    state = "failed" if ask.recorded.ok is False else "done"
    event = Event(seq, turn, kind=kind, name=name, state=state, input=given, output=ask.recorded.output)
    return replace(event, **otherwise)


def driven(record: Json) -> Iterator[tuple[list[AskModel | UseTool], list[Event]]]:
    """Every turn of a recording with the history before it, ended by an empty turn."""
    history: list[Event] = []
    while True:
        turn = following(record, history)
        asks = [ask for ask in turn if isinstance(ask, AskModel | UseTool)]
        yield asks, list(history)
        if not asks:
            return
        history += [happened(ask, len(history) + place, len(history)) for place, ask in enumerate(asks)]


def end(record: Json, history: Sequence[Event]) -> Finish:
    (finish,) = following(record, history)
    assert isinstance(finish, Finish)
    return finish


@pytest.fixture
def record(tmp_path: Path) -> Json:
    return content(only(tmp_path))


def test_calls_of_one_message_are_one_turn_and_everything_else_is_its_own(record: Json) -> None:
    turns = [asks for asks, _ in driven(record)]
    assert [[type(ask).__name__ for ask in asks] for asks in turns] == [
        ["AskModel"],
        ["UseTool", "UseTool"],
        ["AskModel"],
        [],
    ]


def test_a_model_step_brings_what_was_recorded_and_nothing_that_was_not(record: Json) -> None:
    (asks, _), *_, (last, _), _ = driven(record)
    (first,) = asks
    assert first.recorded is not None
    assert first.recorded.usage == Usage(input=20, output=2)
    assert first.recorded.cost == Decimal("0.25")
    assert (first.recorded.model, first.recorded.provider) == ("modest-1", "recorded")
    assert last[0].recorded is not None
    assert last[0].recorded.usage == Usage(input=10, output=2, cache_read=0)
    assert last[0].recorded.cost is None


def test_a_conversation_is_whole_and_only_its_new_part_is_stored_again(record: Json) -> None:
    (first, _), _, (second, _), _ = driven(record)
    assert isinstance(first[0], AskModel)
    assert isinstance(second[0], AskModel)
    assert [message["role"] for message in first[0].messages] == ["system", "assistant", "user"]
    assert first[0].known == 0
    roles = [message["role"] for message in second[0].messages]
    assert roles == ["system", "assistant", "user", "assistant", "tool", "tool"]
    assert second[0].known == len(roles)


def test_a_call_whose_tokens_nobody_counted_is_still_a_call(tmp_path: Path) -> None:
    messages = [said("assistant", "Done.")]
    (first, _), (_, history) = driven(content(only(tmp_path, messages=messages, tool_calls=[], usage=None, cost=None)))
    assert first[0].recorded is not None
    assert (first[0].recorded.usage, first[0].recorded.cost) == (Usage(), None)
    assert len(history) == 1


def test_what_is_known_of_the_run_only_is_told_once_at_its_end(tmp_path: Path) -> None:
    messages = [said("assistant", "ls"), said("assistant", "submit")]
    totals = {"usage": {"input_tokens": 500, "output_tokens": 9}, "cost": {"agent_usd": 1.5}}
    record = content(only(tmp_path, messages=messages, tool_calls=[], **totals))
    *turns, (_, history) = driven(record)
    assert [ask.recorded and (ask.recorded.usage, ask.recorded.cost) for asks, _ in turns for ask in asks] == [
        (None, None),
        (None, None),
    ]
    spent = end(record, history).spent
    assert spent is not None
    assert (spent.usage, spent.cost) == (Usage(input=500, output=9), Decimal("1.5"))


def test_what_its_steps_told_is_not_told_again_at_the_end(record: Json) -> None:
    *_, (_, history) = driven(record)
    assert end(record, history).spent is None


def test_what_the_user_said_since_the_last_step_is_new(tmp_path: Path) -> None:
    messages = [said("assistant", "A?", usage=used()), said("user", "B."), said("assistant", "C!", usage=used())]
    _, (second, _), _ = driven(content(only(tmp_path, messages=messages, tool_calls=[])))
    assert isinstance(second[0], AskModel)
    assert [message["role"] for message in second[0].messages[second[0].known :]] == ["user"]


def test_a_write_is_tier_three_and_a_tool_nobody_listed_is_tier_two(tmp_path: Path) -> None:
    calls = [call(2, 3, name="whistle"), call(2, 4, name="send_back")]
    _, (asks, _), *_ = driven(content(only(tmp_path, tool_calls=calls)))
    judged = [(ask.name, ask.tier, ask.writes, ask.says) for ask in asks if isinstance(ask, UseTool)]
    assert judged == [
        ("whistle", 2, False, "Whistle: number 7"),
        ("send_back", 3, True, "Send back: number 7"),
    ]


def test_a_write_closes_its_turn_so_that_nothing_is_done_before_it_is_decided(tmp_path: Path) -> None:
    names = ["find_parcel", "send_back", "send_back", "find_parcel"]
    turns = [asks for asks, _ in driven(content(only(tmp_path, tool_calls=[call(2, name=name) for name in names])))]
    assert [[ask.name for ask in asks if isinstance(ask, UseTool)] for asks in turns[1:-2]] == [
        ["find_parcel", "send_back"],
        ["send_back"],
        ["find_parcel"],
    ]


def test_whether_a_call_worked_is_passed_on_as_recorded_unknown_included(tmp_path: Path) -> None:
    calls = [call(2, 3, ok=None, result=""), call(2, 4, ok=False, result="Error: gone")]
    _, (asks, _), *_ = driven(content(only(tmp_path, tool_calls=calls)))
    recorded = [ask.recorded for ask in asks]
    assert [each and (each.ok, each.output, each.error) for each in recorded] == [
        (None, "", ""),
        (False, "Error: gone", "Error: gone"),
    ]


def test_malformed_arguments_are_handed_on_as_malformed(tmp_path: Path) -> None:
    calls = [call(2, 3, args=None, args_raw="{nope"), call(2, 4)]
    _, (asks, _), *_ = driven(content(only(tmp_path, tool_calls=calls)))
    assert isinstance(asks[0], UseTool)
    assert (asks[0].malformed, asks[0].arguments) == ("{nope", {})


def test_a_time_without_a_zone_is_read_as_utc_and_no_time_stays_none(tmp_path: Path) -> None:
    calls = [call(2, 3, requested_at="2026-03-22T07:51:03", result_at="2026-03-22T07:51:04+01:00"), call(2, 4)]
    _, (asks, _), *_ = driven(content(only(tmp_path, tool_calls=calls)))
    times = [(ask.recorded.started_at, ask.recorded.finished_at) for ask in asks if ask.recorded]
    assert times[0][0] == datetime(2026, 3, 22, 7, 51, 3, tzinfo=UTC)
    assert times[0][1] == datetime(2026, 3, 22, 6, 51, 4, tzinfo=UTC)
    assert times[1] == (None, None)


@pytest.mark.parametrize("state", ["refused", "cancelled"])
def test_nothing_recorded_follows_a_refusal(record: Json, state: str) -> None:
    (model, _), (tools, _), *_ = driven(record)
    history = [happened(model[0], 0, 0), happened(tools[0], 1, 1), happened(tools[1], 2, 1)]
    history[1] = replace(history[1], state=state, error="rhea: not today")
    finish = end(record, history)
    assert finish.failure == "diverged"
    assert "Step 1 (find_parcel)" in finish.detail
    assert "rhea: not today" in finish.detail


def test_nothing_recorded_follows_an_edit(record: Json) -> None:
    (model, _), (tools, _), *_ = driven(record)
    history = [
        happened(model[0], 0, 0),
        happened(tools[0], 1, 1, input={"arguments": {"number": 9}}),
        happened(tools[1], 2, 1),
    ]
    assert end(record, history).failure == "diverged"


def test_a_recorded_failure_is_no_divergence(record: Json) -> None:
    *_, (asks, history) = driven(record)
    assert asks == []
    assert [event.state for event in history] == ["done", "done", "failed", "done"]
    assert end(record, history).failure == ""


def test_the_end_tells_the_outcome_and_the_last_words(tmp_path: Path) -> None:
    messages = [said("assistant", "Bye!", usage=used()), said("user", "Thanks.")]
    record = content(only(tmp_path, messages=messages, tool_calls=[], outcome={"reward": 0.5}))
    *_, (_, history) = driven(record)
    result = end(record, history).result
    assert result["outcome"] == {"reward": 0.5}
    assert result["cost_usd"] == "0.25"
    assert result["afterwards"] == [{"role": "user", "parts": [{"type": "text", "content": "Thanks."}]}]


def test_a_recording_without_a_step_ends_at_once(tmp_path: Path) -> None:
    record = content(only(tmp_path, messages=[said("user", "Hello?")], tool_calls=[], usage=None))
    assert end(record, []).failure == ""


def test_content_is_named_by_what_it_says_and_not_by_where_it_stood(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    here, there = content(only(tmp_path)), content(only(tmp_path / "elsewhere"))
    assert digest(here) == digest(there)
    assert digest(here) != digest(content(only(tmp_path, flags=["another"])))
    assert digest({"a": 1, "b": [run()]}) == digest({"b": [run()], "a": 1})


@needs_shared
def test_every_shared_run_is_followed_to_its_end() -> None:
    for recording in recordings(SHARED):
        *_, (_, history) = driven(content(recording))
        counts = counted(recording)
        assert [event.kind for event in history].count("model") == counts.model_steps
        assert [event.kind for event in history].count("tool") == counts.tool_calls
        assert [event.state for event in history].count("failed") == counts.failed_tool_calls
