"""A conversation in OpenTelemetry messages, read back: what was asked first, and what came of each turn since.

Apart from the simulated model, which acts on it, so that the reading of messages stands in one place.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from agents.contracts import Json


@dataclass(frozen=True, slots=True)
class Result:
    """What one call of a tool came to. `problem` says why it failed or was refused; empty when it worked. A refusal
    is not to be asked for again: `may_retry` is only about calls that failed."""

    tool: str
    response: Any
    problem: str = ""
    may_retry: bool = False


@dataclass(slots=True)
class Exchange:
    """One assistant message and the results of the calls it made."""

    calls: list[Json] = field(default_factory=list)
    results: list[Result] = field(default_factory=list)

    @property
    def failure(self) -> Result | None:
        """The first call that did not work."""
        return next((result for result in self.results if result.problem), None)


def text_of(message: Json) -> str:
    """Everything a message says in words."""
    parts = message.get("parts", ())
    return "\n".join(str(part.get("content", "")) for part in parts if part.get("type") == "text")


def objective(messages: Sequence[Json]) -> str:
    """What the conversation is about: the first thing a person said in it."""
    return next((text_of(message) for message in messages if message.get("role") == "user"), "")


def exchanges(messages: Sequence[Json]) -> list[Exchange]:
    """The turns a model has taken since it was first asked."""
    found: list[Exchange] = []
    has_begun = False
    for message in messages:
        role = message.get("role")
        has_begun = has_begun or role == "user"
        if role == "assistant" and has_begun:
            calls = [part for part in message.get("parts", ()) if part.get("type") == "tool_call"]
            found.append(Exchange(calls=calls))
        elif role == "tool" and found:
            for part in message.get("parts", ()):
                if part.get("type") == "tool_call_response":
                    found[-1].results.append(_result(part, found[-1]))
    return found


def _result(part: Json, exchange: Exchange) -> Result:
    # Both words are in use: the specification's schema says `response`, its example `result`.
    response = part.get("response", part.get("result"))
    problem = _problem(response)
    may_retry = isinstance(response, Mapping) and response.get("state", "failed") == "failed"
    return Result(_tool(part, exchange), response, problem, may_retry)


def _tool(part: Json, exchange: Exchange) -> str:
    """Whose result this is. By id where ids tell, by order where they don't: providers repeat ids."""
    if part.get("name"):
        return str(part["name"])
    same = [call for call in exchange.calls if call.get("id") == part.get("id")]
    if len(same) != 1:
        same = exchange.calls[len(exchange.results) :]
    return str(same[0].get("name", "")) if same else ""


def _problem(response: Any) -> str:
    """Why a call did not work: the engine closes such calls with `{error, state}`."""
    error = response.get("error") if isinstance(response, Mapping) else None
    if isinstance(error, Mapping):
        error = error.get("message") or error
    return str(error) if error else ""
