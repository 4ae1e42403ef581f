"""What one line of `agent-run/1` may contain: the fields, their types, and which must be there.

Apart from `reading`, because this page is the contract with whoever writes such files. A field that is not listed is
kept aside and noticed, never refused: a newer writer may know more than we do. A listed field of another type is
refused, since guessing what was meant would falsify a recording.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, JsonValue, ValidationError

# An escaped NUL, unless its backslash is itself escaped. No PostgreSQL text can hold the character.
ESCAPED_NUL = re.compile(rb"(?<!\\)((?:\\\\)*)\\u0000")


def finite(value: JsonValue) -> JsonValue:
    """NaN and infinity are not JSON, whatever Python's reader says, and the database refuses them."""
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError("should be finite numbers only")
    for part in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        finite(part)
    return value


def as_text(value: object) -> object:
    """A task may be numbered or named; either way its id is a name."""
    return str(value) if isinstance(value, int) else value


Free = Annotated[JsonValue, AfterValidator(finite)]
FreeObject = Annotated[dict[str, JsonValue], AfterValidator(finite)]
# The bounds are those of the columns a replay fills: what would not fit is refused here, with a sentence.
Name = Annotated[str, Field(min_length=1, max_length=120)]
RunName = Annotated[str, Field(min_length=1, max_length=300)]
Tokens = Annotated[int, Field(ge=0, le=2**31 - 1)]
Dollars = Annotated[float, Field(ge=0, le=10**7, allow_inf_nan=False)]
Seconds = Annotated[float, Field(allow_inf_nan=False)]
Place = Annotated[int, Field(ge=0)]


class Part(BaseModel):
    """A piece of a line: strict about what it knows, lenient about what it doesn't."""

    model_config = ConfigDict(strict=True, extra="allow", protected_namespaces=())


class RawSource(Part):
    """Where the run was taken from."""

    dataset: Name
    repo: str | None = None
    commit: str | None = None
    ref: str | None = None
    path: str | None = None
    blob: str | None = None
    index: int | None = None
    format: str | None = None
    license: str | None = None
    source_run_id: str | None = None


class RawAgent(Part):
    """Who worked."""

    name: Name
    implementation: str | None = None
    org: str | None = None
    llm_args: FreeObject | None = None


class RawTask(Part):
    """What was asked, and what the benchmark expected."""

    id: Annotated[str | None, BeforeValidator(as_text)] = None
    trial: int | None = None
    objective: str | None = None
    objective_source: str | None = None
    expected_actions: Free = None
    expected_outputs: Free = None


class RawSystem(Part):
    """The system prompt, by digest; its words are in a file of their own."""

    kind: str | None = None
    sha256: str | None = None
    file: str | None = None
    chars: int | None = None


class RawUsage(Part):
    """Tokens of one call, or of a run, which alone has `model_calls`."""

    input_tokens: Tokens | None = None
    output_tokens: Tokens | None = None
    cache_read_input_tokens: Tokens | None = None
    cache_creation_input_tokens: Tokens | None = None
    total_tokens_recorded: Tokens | None = None
    model_calls: Tokens | None = None


class RawCost(Part):
    """US dollars, as the source worked them out."""

    agent_usd: Dollars | None = None
    user_simulator_usd: Dollars | None = None


class RawMessage(Part):
    """One message of the conversation."""

    role: Name
    i: Place | None = None
    content: str | None = None
    reasoning: str | None = None
    timestamp: str | None = None
    model: Name | None = None
    finish_reason: str | None = None
    tool_call_ids: list[str | None] | None = None
    tool_call_id: str | None = None
    usage: RawUsage | None = None
    cost_usd: Dollars | None = None
    response_id: str | None = None


class RawCall(Part):
    """One tool call, the agent's or the simulated user's."""

    name: Name
    requestor: Literal["assistant", "user"]
    message_i: Place
    id: str | None = None
    args: Free = None
    args_raw: str | None = None
    result: Free = None
    ok: bool | None = None
    ok_basis: str | None = None
    result_message_i: Place | None = None
    requested_at: str | None = None
    result_at: str | None = None
    execution_time_s: Seconds | None = None


class RawRun(Part):
    """The whole line."""

    schema_: Literal["agent-run/1"] = Field(alias="schema")
    run_id: RunName
    source: RawSource
    agent: RawAgent
    messages: list[RawMessage]
    tool_calls: list[RawCall]
    domain: str | None = None
    model: Name | None = None
    model_source: str | None = None
    response_models: list[str] | None = None
    user_simulator_model: str | None = None
    task: RawTask | None = None
    system: RawSystem | None = None
    tools_ref: str | None = None
    started_at: str | None = None
    ended_at: str | None = None
    duration_s: Seconds | None = None
    usage: RawUsage | None = None
    user_usage: RawUsage | None = None
    cost: RawCost | None = None
    outcome: FreeObject | None = None
    flags: list[str] | None = None
    extra: Free = None


class UnreadableError(Exception):
    """This line is not a recorded run; the sentence says what is wrong and where."""

    def __init__(self, reason: str, run_id: str | None = None) -> None:
        super().__init__(reason)
        self.reason, self.run_id = reason, run_id


def parse(line: bytes) -> RawRun:
    """One line as a run. Raises `UnreadableError` with one sentence about the worst of what is wrong."""
    try:
        return RawRun.model_validate_json(line)
    except ValidationError as error:
        raise UnreadableError(_sentence(error)) from None


def without_nul(line: bytes) -> bytes:
    """The line with every NUL character replaced by U+FFFD, the mark for what could not be shown."""
    return ESCAPED_NUL.sub(rb"\1\\ufffd", line)


def unknown_fields(part: Part, path: str = "") -> Iterator[str]:
    """Paths of the fields we don't know, such as `messages[].mood`. The same path may come more than once."""
    yield from (f"{path}{name}" for name in part.model_extra or ())
    for name in type(part).model_fields:
        value = getattr(part, name)
        for child in value if isinstance(value, list) else [value]:
            if isinstance(child, Part):
                yield from unknown_fields(child, f"{path}{name}{'[]' if isinstance(value, list) else ''}.")


def _sentence(error: ValidationError) -> str:
    found = error.errors(include_url=False, include_context=False)
    # A wrong schema explains every other difference, so it is the one worth saying.
    first = min(found, key=lambda each: each["loc"] != ("schema",))
    more = f" (and {len(found) - 1} more)" if len(found) > 1 else ""
    if first["type"] == "json_invalid":
        return f"this is not one line of JSON: {first['msg'].removeprefix('Invalid JSON: ')}"
    if not first["loc"]:
        return "this is JSON but not an object; a recorded run is one object per line"
    field = "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in first["loc"]).lstrip(".")
    if first["type"] == "missing":
        return f"the field {field} is missing{more}"
    wanted = first["msg"].partition("should ")[2] or first["msg"]
    return f"{field} is {_shortened(first['input'])} but should {wanted}{more}"


def _shortened(value: object, limit: int = 60) -> str:
    shown = repr(value)
    return shown if len(shown) <= limit else f"{shown[:limit]}…"
