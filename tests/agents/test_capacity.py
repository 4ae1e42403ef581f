"""Room for calls of models: a minute that moves, places that come back, and what whoever finds none is told."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from agents import errors
from agents.cancellation import Cancellation
from agents.llm import capacity, gateway, limits, loop, shared
from agents.llm.capacity import Held, Pace, Place
from agents.runs import runner
from tests import factories
from tests.agents.asking import ask, failure, link, request
from tests.model_server import ModelServer, fails, says, silence

ROOT = Path(__file__).resolve().parents[2]
KEYS = shared.Script("return redis.call('KEYS', 'cockpit:p*')")
EMPTY = shared.Script("for _, key in ipairs(redis.call('KEYS', 'cockpit:p*')) do redis.call('DEL', key) end return 1")


@pytest.fixture
def server() -> Iterator[ModelServer]:
    with ModelServer() as running:
        yield running


@pytest.fixture(autouse=True)
def folder(settings: Any, tmp_path: Path) -> Iterator[Path]:
    settings.WORKSPACE = tmp_path
    limits._seen = (None, None)
    yield tmp_path
    shared.ask_now(EMPTY, [])
    capacity._forget()
    limits._seen = (None, None)


def limit(folder: Path, text: str) -> None:
    (folder / "limits.toml").write_text(text)


def take(*places: Place, pace: Pace | None = None, tokens: int = 0) -> Held | None:
    return loop.run(capacity.take(places, pace, tokens=tokens), Cancellation())


def refused(*places: Place, pace: Pace | None = None, tokens: int = 0) -> errors.NoCapacity:
    with pytest.raises(errors.NoCapacity) as caught:
        take(*places, pace=pace, tokens=tokens)
    return caught.value


def settled() -> None:
    """Everything that was sent to Redis has arrived."""
    shared.ask_now(shared.PING, [])


# --- the minute -----------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("redis", ["there", "away"])
def test_no_minute_whatsoever_sees_more_calls_than_allowed(
    monkeypatch: pytest.MonkeyPatch, settings: Any, redis: str
) -> None:
    monkeypatch.setattr(capacity, "MINUTE", 0.4)
    if redis == "away":
        settings.REDIS_URL = "redis://192.0.2.1:6379/0"
        monkeypatch.setattr(shared, "_line", None)
    pace, taken = Pace("roastery", 5, 0), []
    until = time.monotonic() + 2
    while time.monotonic() < until:
        before = time.monotonic()
        try:
            take(pace=pace)
        except errors.NoCapacity as full:
            time.sleep(min(full.retry_after or 0, 0.05))
        else:
            taken.append((before, time.monotonic()))
    assert len(taken) >= 15
    for (_, sixth_before), (_, first_after) in zip(taken, taken[5:], strict=False):
        assert first_after - sixth_before > 0.4 - 0.05
    monkeypatch.undo()


def test_whoever_comes_too_soon_is_told_when(monkeypatch: pytest.MonkeyPatch) -> None:
    pace = Pace("openai", 2, 0)
    take(pace=pace)
    time.sleep(1.1)
    take(pace=pace)
    full = refused(pace=pace)
    assert str(full) == "openai takes 2 requests a minute; the next is free in 59 s."
    assert (full.kind, full.permanent, full.billed) == ("capacity", False, False)
    assert full.retry_after == pytest.approx(58.9, abs=0.5)
    assert refused(pace=pace).retry_after == pytest.approx(full.retry_after, abs=0.5), (
        "being refused counts for nothing"
    )


def test_tokens_that_were_counted_replace_the_guess_and_a_question_too_long_for_a_minute_goes_alone() -> None:
    pace = Pace("openai", 0, 1000)
    held = take(pace=pace, tokens=900)
    assert "openai takes 1000 tokens a minute; there is room for this call in" in str(refused(pace=pace, tokens=200))
    capacity.give(held, tokens=300)
    settled()
    assert take(pace=pace, tokens=200)
    assert refused(pace=pace, tokens=501).retry_after == pytest.approx(60, abs=1)
    assert take(pace=Pace("other", 0, 1000), tokens=5000)


# --- places ---------------------------------------------------------------------------------------------------------
def test_places_are_taken_all_or_none() -> None:
    team, one, other = Place("team", "service", 3), Place("agent", "refunds", 1), Place("agent", "triage", 2)
    held = take(one, team)
    for _ in range(5):
        assert str(refused(team, one)) == (
            "The agent refunds may make 1 call of models at a time, and as many are under way."
        )
    take(team, other)
    take(team, other)
    assert str(refused(team, Place("agent", "third", 9))).startswith("The team service may make 3 calls of models")
    capacity.give(held)
    settled()
    assert take(team)


HOLDING = """
import sys, time
import django
django.setup()
from agents.cancellation import Cancellation
from agents.llm import capacity, loop
capacity.LEASE, capacity.RENEW = 1.0, 0.3
loop.run(capacity.take([capacity.Place("provider", "roastery", 1)]), Cancellation())
print("held", flush=True)
time.sleep(60)
"""


@pytest.mark.crash
def test_what_a_killed_process_held_is_free_when_its_lease_ends_and_not_before() -> None:
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    with subprocess.Popen([sys.executable, "-c", HOLDING], stdout=subprocess.PIPE, env=env, text=True) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "held\n"
        place = Place("provider", "roastery", 1)
        time.sleep(2)  # twice its lease
        assert str(refused(place)) == "roastery takes 1 call of models at a time, and as many are under way."
        other.kill()
        other.wait()
        killed = time.monotonic()
        while time.monotonic() - killed < 3:
            try:
                take(place)
                break
            except errors.NoCapacity:
                time.sleep(0.05)
        assert time.monotonic() - killed < 1.5
    assert capacity.LEASE < 15


def test_a_redis_that_was_emptied_hears_again_of_what_is_held(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(capacity, "RENEW", 0.2)
    place = Place("provider", "roastery", 1)
    take(place)
    shared.ask_now(EMPTY, [])
    deadline = time.monotonic() + 3
    members = shared.Script("return redis.call('ZCARD', KEYS[1])")
    while not shared.ask_now(members, [place.key]):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    refused(place)


# --- through the gateway --------------------------------------------------------------------------------------------
def test_without_limits_nobody_is_counted(server: ModelServer) -> None:
    ask(link(server))
    assert shared.ask_now(KEYS, []) == []


def test_a_full_provider_sends_nothing_and_holds_no_thread(server: ModelServer, folder: Path) -> None:
    limit(folder, "[providers.roastery]\nrequests_per_minute = 1\n")
    ask(link(server))
    started = time.monotonic()
    error = failure(link(server))
    assert isinstance(error, errors.NoCapacity)
    assert time.monotonic() - started < 0.5
    assert len(server.asked) == 1
    assert [(one.model, one.kind) for one in error.attempts] == [("bean-1", "capacity")]


def test_the_next_provider_of_the_chain_takes_over_and_only_waiting_is_said_when_only_waiting_helps(
    server: ModelServer, folder: Path
) -> None:
    limit(folder, "[providers.roastery]\nrequests_per_minute = 1\n")
    ask(link(server))
    other = {**link(server, "bean-2"), "provider": "mill"}
    reply = ask(link(server), other)
    assert [(one.provider, one.kind) for one in reply.attempts] == [("roastery", "capacity"), ("mill", "")]
    server.script(fails(401, "no such key"))
    assert isinstance(failure(link(server), other), errors.NoCapacity)
    server.script(fails(429, "later", retry_after=9))
    busy = failure(link(server), other)
    assert (busy.kind, busy.permanent) == ("rate_limited", False)


def test_an_agent_and_its_team_have_so_many_calls_at_a_time_and_a_place_outlives_no_call(
    server: ModelServer, folder: Path
) -> None:
    limit(folder, "[teams.service]\nconcurrency = 2\n[agents.refunds]\nconcurrency = 5\n")
    who: dict[str, Any] = {"team": "service", "agent": "refunds"}
    cancellation = Cancellation()
    server.script(silence(), silence())
    with ThreadPoolExecutor(2) as pool:
        waiting = [pool.submit(gateway.ask, request(link(server), **who), cancellation) for _ in range(2)]
        assert server.wait(lambda: len(server.asked) == 2)
        assert "The team service may make 2 calls" in str(failure(link(server), **who))
        assert ask(link(server), team="other", agent="refunds")
        cancellation.set()
        assert {type(one.exception()) for one in waiting} == {errors.Aborted}
    settled()
    server.script(fails(401), fails(401), says("Here."))
    for _ in range(2):
        assert failure(link(server), **who).kind == "authentication"
    settled()
    assert ask(link(server), **who, concurrency=1)
    server.script(silence())
    with ThreadPoolExecutor(1) as pool:
        slow = pool.submit(failure, link(server), **who, concurrency=1, timeout=1.0)
        assert server.wait(lambda: len(server.asked) == 7)
        assert "The agent refunds may make 1 call" in str(failure(link(server), **who, concurrency=1))
        assert slow.result().kind == "timeout"


@pytest.mark.django_db(transaction=True)
def test_a_run_without_room_waits_as_a_row_and_says_for_what(folder: Path) -> None:
    limit(folder, "[agents.busy]\nconcurrency = 1\n")
    held = take(Place("agent", "busy", 1))
    run = factories.run(factories.agent("busy"))
    runner.drive(run.pk)
    run.refresh_from_db()
    assert (run.state, run.waits, run.lease_until) == ("waiting", "capacity", None)
    step = run.steps.get()
    assert step.error == "The agent busy may make 1 call of models at a time, and as many are under way."
    capacity.give(held)


# --- what it costs --------------------------------------------------------------------------------------------------
def test_room_costs_the_event_loop_little() -> None:
    """Five hundred calls with every kind of limit, in one go, by the clock of the loop's own thread: a
    fraction of a millisecond each on a quiet machine."""
    places = [
        Place("agent", "refunds", 10_000),
        Place("team", "service", 10_000),
        Place("provider", "roastery", 10_000),
    ]

    async def everybody() -> float:
        started = time.thread_time()
        held = await asyncio.gather(*[capacity.take(places, Pace("roastery", 10_000, 0)) for _ in range(500)])
        for one in held:
            capacity.give(one)
        return time.thread_time() - started

    assert loop.run(everybody(), Cancellation()) / 500 < 0.01


# --- the file -------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("[providers.openai", "is not TOML: "),
        ("[provider.openai]\nconcurrency = 1", "[provider] means nothing here. There are providers, teams, agents."),
        ("[teams]\nservice = 3", "[teams] service is no table; write [teams.service] and limits below it."),
        ("agents = 3", "agents is no table; write [agents.NAME] and below it concurrency = 10."),
        ("[teams.a]\ntokens_per_minute = 3", "[teams.a] tokens_per_minute means nothing here. There is concurrency."),
        ("[agents.a]\nconcurrency = 0", "[agents.a] concurrency is 0; it takes a whole number from 1 up. To stop an"),
        ("[agents.a]\nconcurrency = true", "[agents.a] concurrency is True; it takes a whole number"),
        ("[providers.a]\nrequests_per_minute = '9'", "[providers.a] requests_per_minute is '9'; it takes a whole"),
    ],
)
def test_a_mistake_is_one_sentence_and_no_call_is_made_by_guesswork(
    server: ModelServer, folder: Path, text: str, sentence: str
) -> None:
    limit(folder, text)
    with pytest.raises(errors.Invalid) as caught:
        limits.read(folder / "limits.toml")
    assert sentence in caught.value.message
    (warning,) = limits.say_what_is_wrong(None)
    assert warning.msg == caught.value.message
    error = failure(link(server))
    assert isinstance(error, errors.NoCapacity)
    assert sentence in str(error)
    assert server.asked == []


def test_it_is_read_again_when_it_changed_and_the_last_limits_hold_while_it_makes_no_sense(folder: Path) -> None:
    assert limits.current() == limits.NONE
    limit(folder, "[agents.refunds]\nconcurrency = 3\n")
    assert limits.current().at_a_time("agents", "refunds") == 3
    limit(folder, "[agents.refunds]\nconcurrency = none\n")
    assert limits.current().at_a_time("agents", "refunds") == 3
    limit(folder, "[agents.refunds]\nconcurrency = 24\n")
    assert limits.current().at_a_time("agents", "refunds") == 24
    (folder / "limits.toml").unlink()
    assert limits.current() == limits.NONE


def test_without_a_workspace_it_stands_in_the_data_folder(settings: Any, tmp_path: Path) -> None:
    settings.WORKSPACE, settings.DATA_DIR = None, tmp_path / "data"
    (tmp_path / "data").mkdir()
    limit(tmp_path / "data", "[teams.service]\nconcurrency = 4\n")
    assert limits.current().at_a_time("teams", "service") == 4
