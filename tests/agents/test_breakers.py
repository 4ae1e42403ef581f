"""Breakers as the gateway and other processes meet them, with a real Redis: there, gone, and never there."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from statistics import median
from typing import Any

import pytest

from agents import errors, signals
from agents.cancellation import Cancellation
from agents.llm import breakers, circuit, gateway, loop, shared
from agents.models import AuditEntry
from cockpit.servers import Redis
from tests.agents.asking import ask, failure, link
from tests.model_server import ModelServer, fails, hangs_up, says

ROOT = Path(__file__).resolve().parents[2]
COOL_DOWN = 1.0


@pytest.fixture
def server() -> Iterator[ModelServer]:
    with ModelServer() as running:
        yield running


@pytest.fixture(autouse=True)
def _in_a_hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gateway, "SECOND_TRY", frozenset())  # one call, one try
    monkeypatch.setattr(circuit, "FIRST_COOL_DOWN", COOL_DOWN)


@pytest.fixture
def other_redis(settings: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Redis]:
    """A server of this test's own, to be killed."""
    server = Redis(tmp_path, test=True).start()
    settings.REDIS_URL = server.url
    monkeypatch.setattr(shared, "_line", None)
    breakers.forget()
    yield server
    server.stop()


def open_it(server: ModelServer) -> None:
    """As many failures in a row as it takes."""
    server.script(*[fails(503)] * circuit.FAILURES)
    for _ in range(circuit.FAILURES):
        assert failure(link(server)).kind == "overloaded"


def state(server: ModelServer) -> str:
    return {one.key: str(one.state) for one in breakers.states()}[breakers.of_model(link(server))]


# --- as the gateway meets them --------------------------------------------------------------------------------------
def test_a_model_that_keeps_failing_is_left_alone_and_the_next_one_takes_over(db: None, server: ModelServer) -> None:
    open_it(server)
    asked = len(server.asked)
    started = time.monotonic()
    error = failure(link(server))
    assert time.monotonic() - started < 0.5
    assert len(server.asked) == asked
    assert (error.kind, error.permanent, error.billed) == ("breaker_open", False, False)
    assert error.retry_after is not None
    assert 0 < error.retry_after <= COOL_DOWN
    assert f"The breaker of roastery/bean-1 at {server.url} is open (5 failures in a row)" in str(error)
    reply = ask(link(server), link(server, "bean-2"))
    assert reply.model == "bean-2"
    assert [(one.model, one.kind) for one in reply.attempts] == [("bean-1", "breaker_open"), ("bean-2", "")]


def test_a_probe_that_is_answered_closes_it_and_one_that_fails_opens_it_for_longer(
    db: None, server: ModelServer
) -> None:
    open_it(server)
    time.sleep(COOL_DOWN)
    server.script(fails(503))
    assert failure(link(server)).kind == "overloaded"
    again = failure(link(server))
    assert again.kind == "breaker_open"
    assert again.retry_after is not None
    assert COOL_DOWN < again.retry_after <= 2 * COOL_DOWN
    time.sleep(again.retry_after)
    assert ask(link(server)).message["parts"][0]["content"] == "Good morning."
    assert state(server) == "closed"


def test_its_changes_are_announced_and_stand_in_the_audit_log(db: None, server: ModelServer) -> None:
    heard: list[tuple[str, str]] = []

    def hear(sender: object, key: str, state: str, **_: Any) -> None:
        heard.append((key, state))

    signals.breaker_changed.connect(hear)
    try:
        open_it(server)
        time.sleep(COOL_DOWN)
        ask(link(server))
    finally:
        signals.breaker_changed.disconnect(hear)
    key = breakers.of_model(link(server))
    assert heard == [(key, "open"), (key, "half_open"), (key, "closed")]
    entries = list(AuditEntry.objects.filter(subject_kind="model", subject_id=key).order_by("id"))
    assert [entry.verb for entry in entries] == ["breaker.open", "breaker.half_open", "breaker.closed"]
    assert {entry.by_name for entry in entries} == {"cockpit"}
    assert "bean-1 is overloaded (503)" in entries[0].reason


@pytest.mark.parametrize("status", [400, 401, 402, 404, 422])
def test_what_a_model_refuses_is_an_answer_and_never_opens_it(server: ModelServer, status: int) -> None:
    for _ in range(circuit.FAILURES):
        server.script(fails(503), fails(status))
        failure(link(server))
        failure(link(server))
    assert state(server) == "closed"


def test_what_is_set_up_wrong_and_what_a_person_cancels_never_opens_it(server: ModelServer) -> None:
    wrong = {**link(server), "key_env": "NO_SUCH_KEY"}
    for _ in range(circuit.FAILURES + 1):
        assert failure(wrong).kind == "configuration"
        permit = loop.run(breakers.admit("roastery/slow"), Cancellation())
        loop.run(breakers.report(permit, errors.Aborted()), Cancellation())
    assert {str(one.state) for one in breakers.states()} == {"closed"}


def test_a_connection_that_breaks_counts_and_an_answer_between_begins_anew(server: ModelServer) -> None:
    for _ in range(circuit.FAILURES - 1):
        server.script(hangs_up())
        failure(link(server))
    server.script(says("Here."), *[hangs_up()] * (circuit.FAILURES - 1))
    ask(link(server))
    for _ in range(circuit.FAILURES - 1):
        failure(link(server))
    assert state(server) == "closed"


def test_a_tool_has_one_too(db: None) -> None:
    down = errors.OutsideError("The carrier does not answer.", kind="connection", permanent=False)
    for _ in range(circuit.FAILURES):
        breakers.report_now(breakers.admit_now("tool:parcels.find"), down)
    with pytest.raises(errors.OutsideError, match=r"tool parcels\.find is open"):
        breakers.admit_now("tool:parcels.find")
    (entry,) = AuditEntry.objects.filter(verb="breaker.open")
    assert (entry.subject_kind, entry.subject_id, entry.reason) == ("tool", "parcels.find", str(down))


def test_a_healthy_model_asks_redis_nothing(server: ModelServer, monkeypatch: pytest.MonkeyPatch) -> None:
    ask(link(server))
    seen: list[object] = []
    with monkeypatch.context() as patched:
        patched.setattr(breakers, "FRESH", 60.0)
        patched.setattr(shared.line(), "ask", lambda *question: seen.append(question))
        for _ in range(20):
            ask(link(server))
    assert seen == []


# --- Redis is away --------------------------------------------------------------------------------------------------
def test_without_redis_each_process_has_its_own_and_no_call_waits_for_it(
    db: None, settings: Any, monkeypatch: pytest.MonkeyPatch, server: ModelServer
) -> None:
    settings.REDIS_URL = "redis://192.0.2.1:6379/0"  # an address that nobody answers at (RFC 5737)
    monkeypatch.setattr(shared, "_line", None)
    breakers.forget()
    open_it(server)
    taken = []
    for _ in range(9):
        started = time.monotonic()
        assert failure(link(server)).kind == "breaker_open"
        taken.append(time.monotonic() - started)
    assert median(taken) < 0.005
    assert state(server) == "open"
    time.sleep(COOL_DOWN)
    ask(link(server))
    assert state(server) == "closed"


@pytest.mark.django_db(transaction=True)
def test_a_redis_that_dies_and_comes_back_changes_nothing_for_the_caller(
    other_redis: Redis, server: ModelServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(circuit, "FIRST_COOL_DOWN", 60.0)
    open_it(server)
    assert other_redis.process is not None
    other_redis.process.kill()
    other_redis.process.wait()
    assert failure(link(server)).kind == "breaker_open"
    assert ask(link(server, "bean-2")).model == "bean-2"
    again = Redis(other_redis.folder, port=other_redis.port, test=True).start()
    try:
        deadline = time.monotonic() + 10
        while "roastery/bean-2" not in str(breakers.states()) or shared.line()._is_away:
            assert time.monotonic() < deadline, "it never noticed that Redis is back"
            time.sleep(0.1)
            ask(link(server, "bean-2"))
        assert ask(link(server)).model == "bean-1"  # this Redis kept nothing, so everything is tried afresh
    finally:
        again.stop()


def test_a_redis_that_hangs_costs_one_call_a_moment_and_the_others_nothing(
    db: None, other_redis: Redis, server: ModelServer
) -> None:
    ask(link(server))
    assert other_redis.process is not None
    other_redis.process.send_signal(signal.SIGSTOP)
    try:
        time.sleep(breakers.FRESH)
        started = time.monotonic()
        ask(link(server))
        assert time.monotonic() - started < 3 * shared.TIMEOUT
        taken = []
        for _ in range(9):
            started = time.monotonic()
            loop.run(breakers.admit(breakers.of_model(link(server))), Cancellation())
            taken.append(time.monotonic() - started)
        assert median(taken) < 0.005
    finally:
        other_redis.process.send_signal(signal.SIGCONT)


# --- several processes ----------------------------------------------------------------------------------------------
SHARING = """
import sys
import django
django.setup()
from agents import errors
from agents.cancellation import Cancellation
from agents.llm import breakers, loop

def admitted():
    try:
        return loop.run(breakers.admit("roastery/bean-1"), Cancellation())
    except errors.OutsideError as error:
        return error.kind

print("ready", flush=True)
for line in sys.stdin:
    if line.strip() == "fail":
        found = admitted()
        down = errors.OutsideError("no answer", kind="connection", permanent=False)
        if isinstance(found, breakers.Permit):
            loop.run(breakers.report(found, down), Cancellation())
            found = "failed"
    else:
        found = admitted()
        found = "probe" if isinstance(found, breakers.Permit) and found.probe else found
    print(found, flush=True)
"""


@pytest.fixture
def processes() -> Iterator[list[subprocess.Popen[str]]]:
    pipe = subprocess.PIPE
    command = [sys.executable, "-c", SHARING]
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    started = [subprocess.Popen(command, stdin=pipe, stdout=pipe, env=env, text=True) for _ in range(3)]
    for one in started:
        assert one.stdout is not None
        assert one.stdout.readline() == "ready\n"
    yield started
    for one in started:
        one.communicate(timeout=20)


def tell(process: subprocess.Popen[str], word: str) -> None:
    assert process.stdin is not None
    process.stdin.write(f"{word}\n")
    process.stdin.flush()


def heard(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


@pytest.mark.crash
def test_processes_count_together_and_one_of_them_probes(processes: list[subprocess.Popen[str]]) -> None:
    for number in range(circuit.FAILURES):
        tell(processes[number % 3], "fail")
        assert heard(processes[number % 3]) == "failed"
    time.sleep(breakers.FRESH)
    for one in processes:
        tell(one, "ask")
    assert [heard(one) for one in processes] == ["breaker_open"] * 3
    (known,) = breakers.states()
    assert (known.key, known.state, known.failures) == ("roastery/bean-1", "open", circuit.FAILURES)
    assert known.retry_at is not None
    _let_it_cool_down()
    time.sleep(breakers.FRESH)
    for one in processes:
        tell(one, "ask")
    assert sorted(heard(one) for one in processes) == ["breaker_open", "breaker_open", "probe"]


def _let_it_cool_down() -> None:
    """As if the time had passed: the processes have the real ten seconds."""
    stored = shared.ask_now(shared.Script("return redis.call('HGET', KEYS[1], ARGV[1])"), [breakers.HASH], KEY)
    now = circuit.read(stored)
    cooled = circuit.Circuit(
        state=now.state, since=now.since - 60, retry_at=now.retry_at - 60, failures=now.failures, openings=now.openings
    )
    shared.ask_now(breakers.SWAP, [breakers.HASH], KEY, stored, cooled.stored())


KEY = "roastery/bean-1"
