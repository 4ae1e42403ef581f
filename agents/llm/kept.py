"""Answers kept for the day their models are away: the same question of the same team gets the same answer again.

In Redis and not in PostgreSQL: they are worth something for a while only and vanish by themselves, a personal word in
them needs no second place to be erased from, and keeping one costs a model call neither a commit nor a wait. Bounded:
so many answers per team, none of them long. While Redis is away there are none: one link of a chain that fails.
"""

import hashlib
import json
from collections.abc import Sequence
from typing import Any

from agents import errors
from agents.contracts import Json, ModelRequest, Usage
from agents.llm import shared
from agents.llm.answers import Said

MOST_PER_TEAM = 500
LONGEST = 64 * 1024
"""Bytes; an answer longer than that is not kept."""

FINISHED = frozenset({"stop", "tool_call"})
"""Why a model stopped, where its answer is whole."""

ABOUT_US = frozenset({"attempts", "simulated"})
"""Settings that no model is told."""

# KEYS: what is kept until when, and the answers. ARGV: digest, answer, seconds to keep it, most answers.
KEEP = shared.Script("""
local time = redis.call('TIME')
local now = time[1] + time[2] / 1000000
local till, answers, age = KEYS[1], KEYS[2], tonumber(ARGV[3])
local function drop(names)
  for _, name in ipairs(names) do
    redis.call('ZREM', till, name)
    redis.call('HDEL', answers, name)
  end
end
drop(redis.call('ZRANGEBYSCORE', till, '-inf', now))
redis.call('ZADD', till, string.format('%.3f', now + age), ARGV[1])
redis.call('HSET', answers, ARGV[1], string.format('%.3f ', now) .. ARGV[2])
local over = redis.call('ZCARD', till) - tonumber(ARGV[4])
if over > 0 then drop(redis.call('ZRANGE', till, 0, over - 1)) end
local last = math.ceil(redis.call('ZRANGE', till, -1, -1, 'WITHSCORES')[2])
redis.call('EXPIREAT', till, last)
redis.call('EXPIREAT', answers, last)
return 1
""")

# KEYS: the answers. ARGV: digest. Returns how old the answer is, in seconds, and the answer.
FIND = shared.Script("""
local found = redis.call('HGET', KEYS[1], ARGV[1])
if not found then return {} end
local time, space = redis.call('TIME'), string.find(found, ' ', 1, true)
local age = time[1] + time[2] / 1000000 - tonumber(string.sub(found, 1, space - 1))
return {string.format('%.3f', age), string.sub(found, space + 1)}
""")


def keep(request: ModelRequest, model: str, said: Said, *, max_age: float) -> None:
    """Remember an answer for so many seconds. Waits for nothing."""
    if not request.team or said.message.get("finish_reason") not in FINISHED:
        return
    body = json.dumps({"model": model, "response_model": said.response_model, "message": said.message})
    if len(body) <= LONGEST:
        shared.line().ask(KEEP, _places(request.team), digest(request), body, max_age, MOST_PER_TEAM)


async def find(request: ModelRequest, *, max_age: float) -> tuple[str, Said]:
    """The model that answered this before, and what it said. Raises `errors.OutsideError` of the kind `not_cached`."""
    missing = f"No earlier answer to this question is younger than {max_age:g} s."
    try:
        found = await shared.ask(FIND, _places(request.team)[1:], digest(request)) if request.team else []
    except shared.Away:
        found, missing = [], "Earlier answers are kept in Redis, which is away."
    if not found or float(found[0]) > max_age:
        raise errors.OutsideError(missing, kind="not_cached", permanent=True)
    body = json.loads(found[1])
    return body["model"], Said(body["message"], body["response_model"], Usage(input=0, output=0))


def digest(request: ModelRequest) -> str:
    """The same for the same question, whichever model is asked and whatever ids a provider gave to calls of tools."""
    offered = [{key: tool.get(key) for key in ("name", "description", "schema", "writes")} for tool in request.tools]
    settings = {key: value for key, value in request.settings.items() if key not in ABOUT_US}
    asked = json.dumps([_unnumbered(request.messages), offered, settings], sort_keys=True, default=str)
    return hashlib.sha256(asked.encode()).hexdigest()


def _unnumbered(messages: Sequence[Json]) -> list[Json]:
    """A conversation in which the ids of calls say no more than which call an answer belongs to."""
    numbers: dict[Any, int] = {}
    return [{**message, "parts": [_part(part, numbers) for part in message.get("parts", ())]} for message in messages]


def _part(part: Json, numbers: dict[Any, int]) -> Json:
    return {**part, "id": numbers.setdefault(part["id"], len(numbers))} if "id" in part else part


def _places(team: str) -> list[str]:
    return [f"cockpit:answers:{team}:until", f"cockpit:answers:{team}"]
