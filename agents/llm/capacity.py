"""Room for one more call: so many a minute, so many tokens a minute, so many at a time, counted by all processes.

Nobody waits here. Without room `take` raises `errors.NoCapacity` at once, which says when it is worth asking again, and
the engine waits as a row. A place among the calls under way is a lease that this process renews as long as the call
lasts: what a killed process held is free again within fifteen seconds. The minute is a moving one, so that no minute
whatsoever sees more calls than allowed. While Redis is away each process keeps to the limits by itself.
"""

import asyncio
import os
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import count

from agents import errors
from agents.llm import shared

LEASE, RENEW = 12.0, 4.0
"""Seconds a place is kept for a process that says nothing, and after which it says so."""

MINUTE = 60.0
ASK_AGAIN = 1.0
"""Seconds after which to ask again for a place: nobody knows when a call ends."""

# All or nothing. KEYS: the places, then the log of the last minute and what each call in it cost. ARGV: our name for
# the call, the lease, calls a minute, tokens a minute, the tokens of this call, how long a minute is, and a limit for
# each of the places. Returns which limit there is no room under (0: none, -1: calls, -2: tokens, else the place) and
# the seconds until there may be.
TAKE = shared.Script("""
local time = redis.call('TIME')
local now = time[1] + time[2] / 1000000
local calls, tokens, wanted = tonumber(ARGV[3]), tonumber(ARGV[4]), tonumber(ARGV[5])
local minute, places = tonumber(ARGV[6]), #ARGV - 6
local log, costs = KEYS[places + 1], KEYS[places + 2]
for i = 1, places do
  redis.call('ZREMRANGEBYSCORE', KEYS[i], '-inf', now)
  if redis.call('ZCARD', KEYS[i]) >= tonumber(ARGV[6 + i]) then return {i, '0'} end
end
if log then
  for _, old in ipairs(redis.call('ZRANGEBYSCORE', log, '-inf', now - minute)) do
    redis.call('HINCRBY', costs, 'sum', -(redis.call('HGET', costs, old) or 0))
    redis.call('HDEL', costs, old)
    redis.call('ZREM', log, old)
  end
  local made = redis.call('ZCARD', log)
  if calls > 0 and made >= calls then
    local freeing = redis.call('ZRANGE', log, made - calls, made - calls, 'WITHSCORES')
    return {-1, string.format('%.3f', freeing[2] + minute - now)}
  end
  local over = tonumber(redis.call('HGET', costs, 'sum') or 0) + wanted - tokens
  if tokens > 0 and made > 0 and over > 0 then
    local all = redis.call('ZRANGE', log, 0, -1, 'WITHSCORES')
    local at = now
    for i = 1, #all, 2 do
      at = all[i + 1]
      over = over - (redis.call('HGET', costs, all[i]) or 0)
      if over <= 0 then break end
    end
    return {-2, string.format('%.3f', at + minute - now)}
  end
  redis.call('ZADD', log, string.format('%.6f', now), ARGV[1])
  redis.call('HSET', costs, ARGV[1], wanted)
  redis.call('HINCRBY', costs, 'sum', wanted)
  redis.call('EXPIRE', log, 90)
  redis.call('EXPIRE', costs, 90)
end
for i = 1, places do
  redis.call('ZADD', KEYS[i], string.format('%.6f', now + ARGV[2]), ARGV[1])
  redis.call('EXPIRE', KEYS[i], 90)
end
return {0, '0'}
""")

# KEYS: the places, then the costs where they are counted. ARGV: our name for the call, how many places, and the tokens
# it took.
GIVE = shared.Script("""
local places = tonumber(ARGV[2])
for i = 1, places do redis.call('ZREM', KEYS[i], ARGV[1]) end
local costs = KEYS[places + 1]
local was = costs and redis.call('HGET', costs, ARGV[1])
if was then
  redis.call('HINCRBY', costs, 'sum', ARGV[3] - was)
  redis.call('HSET', costs, ARGV[1], ARGV[3])
end
return 1
""")

# KEYS: places, ARGV: the lease, then the name of the call in each.
KEEP = shared.Script("""
local time = redis.call('TIME')
local till = string.format('%.6f', time[1] + time[2] / 1000000 + ARGV[1])
for i = 1, #KEYS do
  redis.call('ZADD', KEYS[i], till, ARGV[i + 1])
  redis.call('EXPIRE', KEYS[i], 90)
end
return 1
""")


@dataclass(frozen=True, slots=True)
class Place:
    """So many calls at a time of one provider, team or agent; `who` begins the sentence for whoever finds no room."""

    kind: str
    name: str
    limit: int

    @property
    def key(self) -> str:
        """Where Redis keeps who holds it."""
        return f"cockpit:places:{self.kind}:{self.name}"

    @property
    def full(self) -> str:
        """What is said when there is none left."""
        who = f"{self.name} takes" if self.kind == "provider" else f"The {self.kind} {self.name} may make"
        return f"{who} {_counted(self.limit, 'call')} of models at a time, and as many are under way."


@dataclass(frozen=True, slots=True)
class Pace:
    """So many calls and tokens a minute of one provider; 0 where that has no limit."""

    provider: str
    calls: int
    tokens: int

    @property
    def keys(self) -> list[str]:
        """Where Redis keeps the calls of the last minute, and their costs."""
        return [f"cockpit:pace:{self.provider}:log", f"cockpit:pace:{self.provider}:costs"]

    def too_fast(self, *, by_tokens: bool, wait: float) -> str:
        """What is said when the minute is full."""
        if by_tokens:
            return f"{self.provider} takes {self.tokens} tokens a minute; there is room for this call in {wait:.0f} s."
        return f"{self.provider} takes {_counted(self.calls, 'request')} a minute; the next is free in {wait:.0f} s."


@dataclass(frozen=True, slots=True)
class Held:
    """The room that one call takes up."""

    name: str
    places: Sequence[Place]
    pace: Pace | None


@dataclass(slots=True)
class _Memory:
    """What this process holds; all it goes by while Redis is away."""

    held: dict[str, Held] = field(default_factory=dict)
    minute: dict[str, "deque[tuple[float, int]]"] = field(default_factory=dict)
    keeping: "asyncio.Task[None] | None" = None
    numbers: "count[int]" = field(default_factory=count)


_memory = _Memory()


async def take(places: Sequence[Place], pace: Pace | None = None, *, tokens: int = 0) -> Held | None:
    """Room for one call that may take so many `tokens`, to be given back; None where nothing limits it.

    Raises `errors.NoCapacity`.
    """
    if not places and not pace:
        return None
    held = Held(f"{os.uname().nodename}:{os.getpid()}:{next(_memory.numbers)}:{time.monotonic_ns()}", places, pace)
    keys = [place.key for place in places] + (pace.keys if pace else [])
    paced = (pace.calls, pace.tokens, tokens) if pace else (0, 0, 0)
    try:
        which, said = await shared.ask(TAKE, keys, held.name, LEASE, *paced, MINUTE, *[place.limit for place in places])
        wait = float(said)
    except shared.Away:
        which, wait = _room_here(held, tokens)
    if which:
        raise _refusal(held, which, wait)
    _memory.held[held.name] = held
    if pace:
        _last_minute(pace.provider).append((time.monotonic(), tokens))
    if _memory.keeping is None or _memory.keeping.done():
        _memory.keeping = asyncio.ensure_future(_keep())
    return held


def give(held: Held | None, *, tokens: int | None = None) -> None:
    """Make room again; where `tokens` says how many it really took, they count instead of the guess. Waits for nothing:
    a place that Redis does not hear of any more is free when its lease ends."""
    if held is None:
        return
    _memory.held.pop(held.name, None)
    costs = held.pace.keys[1:] if held.pace and tokens is not None else []
    keys = [place.key for place in held.places] + costs
    if keys:
        shared.line().ask(GIVE, keys, held.name, len(held.places), tokens or 0)


def _refusal(held: Held, which: int, wait: float) -> errors.NoCapacity:
    if which > 0:
        return errors.NoCapacity(held.places[which - 1].full, retry_after=ASK_AGAIN)
    assert held.pace
    wait = max(wait, 0.05)
    return errors.NoCapacity(held.pace.too_fast(by_tokens=which == -2, wait=max(wait, 1)), retry_after=wait)


def _room_here(held: Held, tokens: int) -> tuple[int, float]:
    """`TAKE`, by what this process alone knows."""
    taken = [place.key for one in _memory.held.values() for place in one.places]
    for number, place in enumerate(held.places, 1):
        if taken.count(place.key) >= place.limit:
            return number, 0.0
    if held.pace is None:
        return 0, 0.0
    at, minute = time.monotonic(), _last_minute(held.pace.provider)
    if held.pace.calls and len(minute) >= held.pace.calls:
        return -1, minute[len(minute) - held.pace.calls][0] + MINUTE - at
    over = sum(cost for _, cost in minute) + tokens - held.pace.tokens
    if held.pace.tokens and minute and over > 0:
        for begun, cost in minute:
            over -= cost
            if over <= 0:
                return -2, begun + MINUTE - at
        return -2, minute[-1][0] + MINUTE - at
    return 0, 0.0


def _last_minute(provider: str) -> "deque[tuple[float, int]]":
    minute = _memory.minute.setdefault(provider, deque())
    while minute and minute[0][0] <= time.monotonic() - MINUTE:
        minute.popleft()
    return minute


async def _keep() -> None:
    """Renew what this process holds, until it holds nothing."""
    while _memory.held:
        await asyncio.sleep(RENEW)
        pairs = [(place.key, one.name) for one in _memory.held.values() for place in one.places]
        for start in range(0, len(pairs), shared.MOST_AT_ONCE):
            some = pairs[start : start + shared.MOST_AT_ONCE]
            shared.line().ask(KEEP, [key for key, _ in some], LEASE, *[name for _, name in some])


def _counted(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"


def _forget() -> None:
    """What the parent holds is the parent's."""
    global _memory
    _memory = _Memory()


os.register_at_fork(after_in_child=_forget)
