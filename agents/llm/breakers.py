"""Circuit breakers, one per model and one per tool, that all processes of a fleet share.

Each process goes by what it last saw, at most half a second old, so that a call of a healthy model asks nobody. A
failure, and the first answer after one, is written by compare-and-set: the rules stand once, in `circuit`, and Redis
only keeps the text. While Redis is away each process has breakers of its own. `admit` and `report` belong on the event
loop of `loop`; `admit_now` and `report_now` are for threads.
"""

import asyncio
import logging
import os
import time
from collections import defaultdict, deque
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime

from django.db import Error, connection, transaction

from agents import errors, signals
from agents.audit import log as audit
from agents.cancellation import Cancellation
from agents.contracts import Json
from agents.llm import circuit, loop, shared
from agents.llm.circuit import Circuit, State

log = logging.getLogger(__name__)

HASH = "cockpit:breakers"
TOOL = "tool:"
"""What the key of a tool's breaker begins with."""

FRESH = 0.5
"""Seconds for which a process goes by what it saw."""

PROBE_PATIENCE = 30.0
"""Seconds a call is taken to last at most where nobody says."""

FAILURES = frozenset({"rate_limited", "overloaded", "server", "timeout", "connection"})
"""Kinds of `errors.OutsideError` that count: the other side is not there, or has too much to do."""

ANSWERS = frozenset({"authentication", "quota", "not_found", "context_window", "rejected"})
"""Kinds that are answers: something refused this request, and so is alive. All others say nothing about it."""

LOOK = shared.Script("return {redis.call('TIME'), redis.call('HGETALL', KEYS[1])}")
SWAP = shared.Script("""
local is = redis.call('HGET', KEYS[1], ARGV[1]) or ''
if is == ARGV[2] then
  redis.call('HSET', KEYS[1], ARGV[1], ARGV[3])
  return {redis.call('TIME'), ARGV[3], 1}
end
return {redis.call('TIME'), is, 0}
""")


@dataclass(frozen=True, slots=True)
class Permit:
    """One call that a breaker let through; `probe` is empty unless it is the one that decides."""

    key: str
    probe: str = ""


@dataclass(frozen=True, slots=True)
class Change:
    """A breaker that moved from one state to another."""

    key: str
    state: State
    reason: str
    at: datetime


@dataclass(frozen=True, slots=True)
class Known:
    """A breaker as pages show it. `retry_at` is when something may be tried again, where it is not closed. One whose
    time has come is half-open before anybody calls, and `is_due`: the next call is the probe, whenever that is."""

    key: str
    state: State
    since: datetime
    failures: int
    retry_at: datetime | None
    reason: str
    is_due: bool = False

    @property
    def name(self) -> str:
        """What it stands before, in words."""
        return named(self.key)


class _Memory:
    """What this process last saw, and how far the shared clock is ahead of its own."""

    def __init__(self) -> None:
        self.stored: dict[str, str] = {}
        self.circuits: dict[str, Circuit] = {}
        self.looked_at = -FRESH
        self.looking: asyncio.Task[None] | None = None
        self.locks: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)
        self.ahead = time.time() - time.monotonic()
        self.probes = 0

    def now(self) -> float:
        return time.monotonic() + self.ahead

    def keep(self, key: str, stored: str) -> None:
        """What a breaker is now; nothing where Redis was emptied."""
        if not stored:
            self.stored.pop(key, None)
            self.circuits.pop(key, None)
        elif self.stored.get(key) != stored:
            self.stored[key] = stored
            self.circuits[key] = circuit.read(stored)

    def hear(self, clock: tuple[str, str]) -> None:
        self.ahead = int(clock[0]) + int(clock[1]) / 1_000_000 - time.monotonic()


_memory = _Memory()
_changes: deque[Change] = deque()


def named(key: str) -> str:
    """What the breaker of this key stands before, in words."""
    return f"tool {key.removeprefix(TOOL)}" if key.startswith(TOOL) else key


def of_model(link: Json) -> str:
    """The key of a link of a chain: provider, model and where it answers."""
    place = f" at {link['base_url']}" if link.get("base_url") else ""
    return f"{link.get('provider', '')}/{link.get('model', '')}{place}"


async def admit(key: str, *, patience: float = PROBE_PATIENCE) -> Permit:
    """Leave to make one call, which `report` must follow; `patience` is the longest it may take, in seconds.

    Raises `errors.OutsideError` of the kind `breaker_open` at once when there is none.
    """
    await _look()
    if key not in _memory.circuits:
        await _move(key, lambda was, at: was)
    seen = _memory.circuits[key]
    if seen.state == State.CLOSED:
        return Permit(key)
    _memory.probes += 1
    probe = f"{os.getpid()}:{_memory.probes}:{time.monotonic_ns()}"

    def take(was: Circuit, at: float) -> Circuit:
        return was if was.state == State.CLOSED or was.wait(at) else was.probed(probe, at=at, patience=patience)

    now = await _move(key, take) if not seen.wait(_memory.now()) else seen
    if now.state != State.CLOSED and now.probe != probe:
        raise refusal(key, now)
    return Permit(key, now.probe)


async def report(permit: Permit, failure: errors.OutsideError | None) -> None:
    """What became of a call that was let through."""
    if failure is None or failure.kind in ANSWERS:
        await _move(permit.key, lambda was, at: was.answered(permit.probe, at=at))
    elif failure.kind in FAILURES:
        asked, reason = failure.retry_after or 0.0, str(failure)[:500]
        await _move(permit.key, lambda was, at: was.failed(permit.probe, at=at, reason=reason, at_least=asked))
    else:
        await _move(permit.key, lambda was, at: was.given_back(permit.probe, at=at))


def admit_now(key: str, *, patience: float = PROBE_PATIENCE) -> Permit:
    """`admit` from a thread that may wait. A breaker that was seen closed just now lets through without asking."""
    seen = _memory.circuits.get(key)
    if seen and seen.state == State.CLOSED and _is_fresh():
        return Permit(key)
    return loop.run(admit(key, patience=patience), Cancellation())


def report_now(permit: Permit, failure: errors.OutsideError | None) -> None:
    """`report` from a thread that may wait, and what follows from it."""
    seen = _memory.circuits.get(permit.key)
    if failure or seen is None or seen.failures or seen.state != State.CLOSED:
        loop.run(report(permit, failure), Cancellation())
    tell()


async def sees_open(key: str) -> bool:
    """Whether this breaker lets nothing through now; where a probe is due it is not."""
    await _look()
    seen = _memory.circuits.get(key)
    return seen is not None and seen.wait(_memory.now()) > 0


def refusal(key: str, now: Circuit) -> errors.OutsideError:
    """What whoever is not let through is told."""
    wait = max(now.wait(_memory.now()), 0.1)
    what = f"{now.failures} failures in a row" if now.state == State.OPEN else "a probe is under way"
    last = f"; the last one: {now.reason}" if now.reason else ""
    return errors.OutsideError(
        f"The breaker of {named(key)} is {now.state.replace('_', '-')} ({what}); the next try is in {wait:.0f} s{last}",
        kind="breaker_open",
        permanent=False,
        retry_after=wait,
    )


def states() -> list[Known]:
    """Every breaker that is known to any process, by key; only this one's while Redis is away."""
    try:
        clock, flat = shared.ask_now(LOOK, [HASH])
        _memory.hear(clock)
        known = {key: circuit.read(stored) for key, stored in zip(flat[::2], flat[1::2], strict=True)}
    except shared.Away:
        known = dict(_memory.circuits)
    return [_shown(key, one) for key, one in sorted(known.items())]


def _shown(key: str, one: Circuit) -> Known:
    is_due = one.state == State.OPEN and not one.wait(_memory.now())
    return Known(
        key=key,
        state=State.HALF_OPEN if is_due else one.state,
        since=_moment(one.since),
        failures=one.failures,
        retry_at=None if one.state == State.CLOSED else _moment(one.retry_at),
        reason=one.reason,
        is_due=is_due,
    )


def tell() -> None:
    """Record and announce what changed through this process. In a thread that may use the database, with no
    transaction of a run open; a database that is away costs the entry, never the call."""
    while _changes:
        try:
            change = _changes.popleft()
        except IndexError:  # another thread was faster
            return
        try:
            _record(change)
        except Error:
            log.exception("the breaker of %s is %s, which could not be recorded", change.key, change.state)
        finally:
            if not connection.in_atomic_block:
                connection.close()  # whoever waits for a model holds none


def forget() -> None:
    """Every breaker closed and unknown, here and in Redis."""
    global _memory
    _memory = _Memory()
    _changes.clear()
    try:
        shared.ask_now(shared.Script("return redis.call('DEL', KEYS[1])"), [HASH])
    except shared.Away:
        log.warning("Redis is away; the breakers of other processes stay as they are")


def _record(change: Change) -> None:
    name = change.key.removeprefix(TOOL)
    subject = audit.Subject("model" if name == change.key else "tool", name, name)
    with transaction.atomic():
        audit.record(f"breaker.{change.state}", about=subject, by=None, reason=change.reason)
        signals.breaker_changed.send(
            Change, key=change.key, state=str(change.state), reason=change.reason, at=change.at
        )


async def _look() -> None:
    """See what others did. Whoever comes while somebody looks waits for the same look."""
    if _is_fresh():
        return
    memory = _memory
    if memory.looking is None or memory.looking.done():
        memory.looking = asyncio.ensure_future(_see(memory))
    await asyncio.shield(memory.looking)


def _is_fresh() -> bool:
    return time.monotonic() - _memory.looked_at < FRESH


async def _see(memory: _Memory) -> None:
    try:
        clock, flat = await shared.ask(LOOK, [HASH])
    except shared.Away:
        memory.looked_at = time.monotonic()
        return
    memory.hear(clock)
    seen = dict(zip(flat[::2], flat[1::2], strict=True))
    for key in memory.stored.keys() - seen.keys():  # Redis was emptied
        memory.keep(key, "")
    for key, stored in seen.items():
        memory.keep(key, stored)
    memory.looked_at = time.monotonic()


async def _move(key: str, to: Callable[[Circuit, float], Circuit]) -> Circuit:
    """Change a breaker, whoever else changes it at the same time; where nothing changes, nobody is asked."""
    memory = _memory
    known = memory.circuits.get(key)
    if known and to(known, memory.now()) == known:
        return known
    async with memory.locks[key]:  # calls of one process do not race each other to Redis
        while True:
            stored, was = memory.stored.get(key, ""), memory.circuits.get(key) or Circuit(since=memory.now())
            now = to(was, memory.now())
            if now == was and stored:
                return now
            if await _swap(memory, key, stored, now.stored()):
                if now.state != was.state:
                    _changes.append(Change(key, now.state, now.reason or "It answered.", _moment(now.since)))
                return now


async def _swap(memory: _Memory, key: str, stored: str, wanted: str) -> bool:
    """Whether it was as this process thought and is as wanted now; if not, what it is has been taken in."""
    try:
        clock, found, swapped = await shared.ask(SWAP, [HASH], key, stored, wanted)
    except shared.Away:
        found, swapped = wanted, True
    else:
        memory.hear(clock)
    memory.keep(key, found)
    return bool(swapped)


def _forget_the_loop() -> None:
    """A forked child has a loop of its own; what the parent is about to tell is the parent's."""
    _memory.looking = None
    _memory.locks.clear()
    _changes.clear()


os.register_at_fork(after_in_child=_forget_the_loop)


def _moment(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)
