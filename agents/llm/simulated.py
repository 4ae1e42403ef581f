"""A model that is not one: it plays what `plays` describes, takes time, costs tokens and sometimes fails.

Deterministic: the seed and the conversation decide everything, in every process. It says so wherever its name is shown.
"""

import asyncio
import json
from typing import Any

from agents import errors
from agents.contracts import Json, ModelRequest, Usage
from agents.llm import estimates, playing, plays
from agents.llm.answers import Said
from agents.llm.chance import Chance
from agents.llm.confidence import FIELD

PROVIDER = "simulated"
MOST_TRIES = 2
"""The gateway's, of one attempt at a step."""

CACHE_BLOCK = 128
"""Tokens; what providers count cached input in."""


def label(model: str) -> str:
    """A simulated model's name as everyone sees it."""
    return model if "simulated" in model.lower() else f"{model} (simulated)"


class SimulatedModel:
    """One link of a chain. `model` is any name, such as `sim-large` or `sim-small`."""

    def __init__(self, model: str) -> None:
        self._name = model
        self.provider, self.model = PROVIDER, label(model)

    async def answer(self, request: ModelRequest, *, attempt: int) -> Said:
        """Answer after a while. The try only decides whether the call fails: the answer is always the same."""
        table = _table(request)
        offered = sorted(tool["name"] for tool in request.tools)
        call = Chance(request.seed, self._name, offered, list(request.messages))
        seconds = call.between(*table.latency_ms, "latency") / 1000
        before = (request.attempt - 1) * MOST_TRIES
        if call.fraction(f"failure {before + attempt}") < table.failure_rate_of(self._name):
            await asyncio.sleep(seconds / 2)
            raise errors.OutsideError(f"{self.model} is overloaded.", kind="overloaded", permanent=False)
        message = _message(table, request, call)
        await asyncio.sleep(seconds)
        return Said(message, response_model=self.model, usage=_usage(request, message))


def _table(request: ModelRequest) -> plays.Table:
    try:
        return plays.read(request.settings.get("simulated") or {})
    except errors.Invalid as error:
        raise errors.OutsideError(error.message, kind="configuration", permanent=True) from error


def _message(table: plays.Table, request: ModelRequest, call: Chance) -> Json:
    cue = playing.cue(table, request.messages, request.tools, Chance(request.seed))
    tools = {tool["name"]: tool for tool in request.tools}
    parts = list(playing.spoken(cue.step, cue.scene, call))
    for number, wanted in enumerate(cue.step.wanted):
        schema = tools[wanted.tool].get("schema") or {}
        arguments: Any = playing.shaped(cue.scene.fill(wanted.arguments), schema)
        if FIELD in schema.get("properties", {}):
            sureness = table.confidence if wanted.confidence is None else wanted.confidence
            arguments |= _confidence(sureness, call, f"confidence {number}")
        if call.fraction(f"malformed {number}") < wanted.malformed:
            arguments = json.dumps(arguments)[:-1]
        call_id = f"call_{call.digest(f'call {number}')[:16]}"
        parts.append({"type": "tool_call", "id": call_id, "name": wanted.tool, "arguments": arguments})
    return {"role": "assistant", "parts": parts, "finish_reason": "tool_call" if cue.step.wanted else "stop"}


def _confidence(sureness: plays.Sureness, call: Chance, name: str) -> Json:
    if isinstance(sureness, str):
        return {}
    low, high = sureness if isinstance(sureness, tuple) else (sureness, sureness)
    return {FIELD: round(call.between(low, high, name), 2)}


def _usage(request: ModelRequest, message: Json) -> Usage:
    """Counted as a provider would: everything up to the model's last word was read before, in whole blocks."""
    spoken = [index for index, one in enumerate(request.messages) if one.get("role") == "assistant"]
    known = estimates.of_messages(request.messages[: spoken[-1] + 1]) if spoken else 0
    sent = estimates.of_request(request.messages, request.tools)
    return Usage(
        input=sent.input,
        output=estimates.of_messages([message]),
        cache_read=known // CACHE_BLOCK * CACHE_BLOCK,
        cache_write=0,
    )
