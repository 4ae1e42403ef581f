"""The nouns of a recorded run: what was said, asked of a model and done with tools, in order.

Apart from `reading`, because the engine, the pages and the tests need these shapes and none of the file handling.
Everything here is as recorded. Unknown is None: a recording that names no cost has no cost, which is not zero.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum
from pathlib import Path
from typing import TypeAlias

from django.utils.text import slugify
from pydantic import JsonValue

NO_OBJECTIVE = "No objective was recorded for this run."


class Severity(StrEnum):
    """What became of the run that a fault speaks of."""

    SKIPPED = "skipped"
    NOTICED = "noticed"


@dataclass(frozen=True, slots=True)
class Fault:
    """Something wrong with the input: where it stands, why, and whether the run was left out or only remarked on.

    `line` counts from 1 and is None when the whole file is meant.
    """

    file: Path
    line: int | None
    reason: str
    severity: Severity
    run_id: str | None = None

    def __str__(self) -> str:
        place = f"{self.file}:{self.line}" if self.line else str(self.file)
        return f"{place}: {self.severity}: {self.reason}"


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens of one model call or of a run, each as recorded or None.

    Whether `input_tokens` includes the two cache figures is up to the source and is not corrected here.
    """

    input_tokens: int | None = None
    output_tokens: int | None = None
    cache_read_input_tokens: int | None = None
    cache_creation_input_tokens: int | None = None
    total_tokens_recorded: int | None = None
    model_calls: int | None = None


@dataclass(frozen=True, slots=True)
class Call:
    """A request for a tool. `id` is the provider's and repeats within a run: never a key.

    Where the recorded arguments were not a JSON object, `raw` has them as they came and `arguments` is None.
    """

    id: str | None
    name: str
    arguments: Mapping[str, JsonValue] | None
    raw: str | None = None

    @property
    def is_malformed(self) -> bool:
        """The model wrote arguments that are not a JSON object."""
        return self.arguments is None


@dataclass(frozen=True, slots=True)
class Said:
    """Conversation: shown, but not a step. A user's turn, a greeting, or what the simulated user's own tools answered.

    Its usage and cost, where recorded, belong to whoever spoke, which for a user is not the agent.
    """

    message: int
    role: str
    content: str | None
    at: str | None = None
    reasoning: str | None = None
    calls: tuple[Call, ...] = ()
    answers: str | None = None
    usage: Usage | None = None
    cost_usd: Decimal | None = None


@dataclass(frozen=True, slots=True)
class ModelStep:
    """One call of the agent's model, with the tool calls it asked for."""

    message: int
    content: str | None
    reasoning: str | None
    calls: tuple[Call, ...]
    at: str | None
    model: str | None
    finish_reason: str | None
    response_id: str | None
    usage: Usage | None
    cost_usd: Decimal | None


@dataclass(frozen=True, slots=True)
class ToolStep:
    """One tool call of the agent with its recorded result. `ok` None: the source did not say whether it worked.

    `position` is the call's place in the recording and the only thing that tells two calls apart. `has_result` is
    False when the recording ends before an answer, so that an empty answer and a missing one stay different.
    """

    position: int
    message: int
    call: Call
    result: JsonValue
    has_result: bool
    ok: bool | None
    ok_basis: str | None
    requested_at: str | None
    result_at: str | None
    execution_time_s: float | None


Entry: TypeAlias = Said | ModelStep | ToolStep


@dataclass(frozen=True, slots=True)
class RecordedTool:
    """A tool the agent was offered, or used all the same. `tool_type` None: no list says whether it writes."""

    name: str
    tool_type: str | None
    tier: int
    is_offered: bool = True
    description: str | None = None
    parameters: Mapping[str, JsonValue] | None = None


@dataclass(frozen=True, slots=True)
class SystemText:
    """The system prompt or policy the agent had. `text` None: its file was not found, or was another text."""

    kind: str | None
    sha256: str | None
    text: str | None


@dataclass(frozen=True, slots=True)
class Counts:
    """What a replay has to arrive at. Token totals are None where nothing was recorded."""

    model_steps: int = 0
    tool_calls: int = 0
    failed_tool_calls: int = 0
    input_tokens: int | None = None
    output_tokens: int | None = None
    cache_read_input_tokens: int | None = None
    cache_creation_input_tokens: int | None = None


@dataclass(frozen=True, slots=True)
class Recording:
    """One recorded run, whole.

    `started_at` and `ended_at` are the source's own words: a local time whose zone nobody wrote down, so they are
    shown, never computed with. `tool_types` are those of its whole domain: read, write, think, generic. `usage` is the
    run's total, which some sources record instead of one per call.
    """

    file: Path
    line: int
    run_id: str
    dataset: str
    agent: str
    implementation: str | None
    organisation: str | None
    llm_args: Mapping[str, JsonValue] | None
    source: Mapping[str, JsonValue]
    domain: str | None
    model: str | None
    model_source: str | None
    response_models: tuple[str, ...]
    user_simulator_model: str | None
    task: str | None
    trial: int | None
    objective: str
    has_objective: bool
    system: SystemText | None
    started_at: str | None
    ended_at: str | None
    duration_s: float | None
    tools: tuple[RecordedTool, ...]
    tool_types: Mapping[str, str]
    entries: tuple[Entry, ...]
    usage: Usage | None
    user_usage: Usage | None
    cost_usd: Decimal | None
    user_cost_usd: Decimal | None
    outcome: Mapping[str, JsonValue]
    flags: tuple[str, ...]

    @property
    def slug(self) -> str:
        """The agent's name in URLs, with the dataset: two of them may share an agent's name but not its prompt."""
        return slugify(f"{self.dataset} {self.agent}")

    @property
    def model_steps(self) -> Iterator[ModelStep]:
        """The calls of the agent's model, in order."""
        return (entry for entry in self.entries if isinstance(entry, ModelStep))

    @property
    def tool_steps(self) -> Iterator[ToolStep]:
        """The agent's tool calls, in the order they became steps."""
        return (entry for entry in self.entries if isinstance(entry, ToolStep))
