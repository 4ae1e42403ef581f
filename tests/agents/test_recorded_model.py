"""A model that repeats a recording: written by asking a real one, read without any."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from agents.contracts import Confidence, Source
from finops import pricing
from tests.agents.asking import ask, failure, link, said
from tests.model_server import ModelServer, calls, says

REFUND = {
    "name": "payments.refund",
    "description": "",
    "schema": {"type": "object", "properties": {"order": {"type": "integer"}}},
    "writes": True,
}
PLAYED = {"provider": "recorded", "model": "refunds"}


@pytest.fixture
def server() -> Iterator[ModelServer]:
    with ModelServer() as running:
        yield running


@pytest.fixture(autouse=True)
def file(settings: Any, tmp_path: Path) -> Path:
    settings.WORKSPACE = tmp_path
    return tmp_path / "recordings" / "refunds.jsonl"


def test_what_a_real_model_said_is_said_again_without_it(server: ModelServer, settings: Any, file: Path) -> None:
    settings.RECORD_MODELS = "refunds"
    server.script(calls(("payments_refund", {"order": 7, "_confidence": 0.8})), says("Done."))
    first = ask(link(server), tools=[REFUND])
    second = ask(link(server), messages=[said("user", "And now?")])
    assert len(file.read_text().splitlines()) == 2
    settings.RECORD_MODELS = ""
    again = ask(PLAYED, tools=[REFUND], seed=9, idempotency_key="other:1", settings={"attempts": 2})
    assert (again.message, again.usage, again.response_model) == (first.message, first.usage, "bean-1-2026")
    assert again.confidences == (Confidence(0.8, Source.SELF_REPORTED),)
    assert (again.provider, again.model) == ("recorded", "refunds")
    assert ask(PLAYED, messages=[said("user", "And now?")]).message == second.message
    assert len(server.asked) == 2
    price = pricing.price(again.provider, again.model, again.usage, datetime.now(UTC))
    assert (price.amount, price.kind) == (0, "recorded")


def test_an_answer_that_cannot_be_added_is_an_answer_all_the_same(
    server: ModelServer, settings: Any, file: Path, caplog: pytest.LogCaptureFixture
) -> None:
    settings.RECORD_MODELS = "refunds"
    file.parent.write_text("a file where a folder should be")
    assert ask(link(server)).message["parts"][0]["content"] == "Good morning."
    assert "an answer was not added to the recording refunds" in caplog.text


def test_playing_it_adds_nothing_to_it(server: ModelServer, settings: Any, file: Path) -> None:
    settings.RECORD_MODELS = "refunds"
    ask(link(server))
    before = file.read_text()
    ask(PLAYED)
    assert file.read_text() == before


def test_a_question_that_is_not_in_it_says_what_to_write_and_that_works(file: Path) -> None:
    error = failure(PLAYED)
    assert (error.kind, error.permanent, error.billed) == ("not_recorded", True, False)
    assert f"{file} has no answer to “Where is order 7?” (digest " in str(error)
    digest = str(error).partition("(digest ")[2].partition(")")[0]
    file.parent.mkdir()
    for words in ("By hand.", "Again."):
        with file.open("a") as lines:
            print(json.dumps({"digest": digest, "message": said("assistant", words)}), file=lines)
        assert ask(PLAYED).message == said("assistant", words), "the last line counts"


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("{", "Expecting property name"),
        ("[]", "list indices"),
        ('{"digest": "1"}', "'message'"),
        ('{"digest": "1", "message": {"role": "user", "parts": []}}', "the message is no assistant's"),
    ],
)
def test_a_line_that_makes_no_sense_is_named(file: Path, line: str, why: str) -> None:
    file.parent.mkdir()
    file.write_text(f"\n{line}\n")
    error = failure(PLAYED)
    assert (error.kind, error.permanent) == ("configuration", True)
    assert f"{file}, line 2 is not such as" in str(error)
    assert why in str(error)


def test_a_recording_lies_in_the_workspace_and_nowhere_else(settings: Any) -> None:
    assert "names no recording" in str(failure({**PLAYED, "model": "../../etc/passwd"}))
    settings.WORKSPACE = None
    assert "set COCKPIT_WORKSPACE" in str(failure(PLAYED))
