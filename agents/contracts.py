"""The values that cross the borders between the engine, its programs, its gates and its tools. No state, no database.

Programs answer with `Turn`s made of `AskModel`, `UseTool`, `Delegate`, `Wait` and `Finish`. Gates judge `Action`s and
answer with `Verdict`s. People answer holds with `Answer`s. All are frozen: what was judged is what is done.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from enum import IntEnum, StrEnum
from typing import Any, Protocol
from uuid import UUID

Json = dict[str, Any]


class Tier(IntEnum):
    """How far an agent may go alone with a tool."""

    AUTO = 1
    SUPERVISED = 2
    ASSISTED = 3
    MANUAL = 4


class Risk(StrEnum):
    """How much harm a tool can do, as its author says it. High risk asks a person each time, at any tier."""

    LOW = "low"
    MEDIUM = "medium"
    HIGH = "high"

    @classmethod
    def _missing_(cls, value: object) -> "Risk":
        raise ValueError(f"risk is {value!r}; it can be {', '.join(cls)}")

    @classmethod
    def of(cls, said: str | None, *, writes: bool) -> "Risk":
        """What was said; where nothing was, a read is low and a write medium."""
        return cls(said) if said else cls.MEDIUM if writes else cls.LOW

    @property
    def zone(self) -> str:
        """The zone of an act of this risk, wherever one is spoken of: green, yellow or red."""
        return {Risk.LOW: "green", Risk.MEDIUM: "yellow", Risk.HIGH: "red"}[self]


class Source(StrEnum):
    """Where a confidence comes from. `UNKNOWN` counts as below every threshold."""

    SELF_REPORTED = "self_reported"
    LOGPROB = "logprob"
    VERIFIER = "verifier"
    TRACK_RECORD = "track_record"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Confidence:
    """A value in [0, 1] and who says so; `value` is None exactly when the source is unknown."""

    value: float | None = None
    source: Source = Source.UNKNOWN

    def below(self, threshold: float) -> bool:
        """Whether a person should look: unknown is below everything."""
        return self.value is None or self.value < threshold


UNKNOWN = Confidence()


# --- what a program asks for ----------------------------------------------------------------------------------------
@dataclass(frozen=True, slots=True)
class Recorded:
    """What already happened, elsewhere: the engine stores it instead of calling anyone.

    `ok` is None where the recording does not say; `cost` is None where none was recorded, and a recorded 0 stays 0.
    """

    output: Any
    ok: bool | None = True
    error: str = ""
    provider: str = ""
    model: str = ""
    usage: "Usage | None" = None
    cost: Decimal | None = None
    started_at: datetime | None = None
    finished_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class AskModel:
    """One model request over a whole conversation (OpenTelemetry messages, system prompt first).

    The first `known` messages are in history already; only the rest is stored with the step.
    """

    messages: Sequence[Json]
    known: int = 0
    tools: Sequence[str] = ()
    settings: Json = field(default_factory=dict)
    recorded: Recorded | None = None


@dataclass(frozen=True, slots=True)
class UseTool:
    """One use of a tool. `call_id` is the provider's, kept for the conversation only: they repeat, never key by it.

    `malformed` holds the arguments as sent when they were not valid JSON; such a call is closed as failed.
    A recorded call names its own `tier` and whether it `writes`, since its tool is not in our catalogue.
    """

    name: str
    arguments: Json
    call_id: str = ""
    confidence: Confidence = UNKNOWN
    malformed: str = ""
    says: str = ""
    tier: int | None = None
    writes: bool | None = None
    recorded: Recorded | None = None


@dataclass(frozen=True, slots=True)
class Delegate:
    """One run of another agent, which the release names among its `delegates`. Its end is the step's outcome: {run,
    state, result, failure, cost}; anything but completed is a failed step. `deadline_s` in seconds from now."""

    agent: str
    objective: str
    input: Json = field(default_factory=dict)
    deadline_s: float | None = None


@dataclass(frozen=True, slots=True)
class Wait:
    """Nothing until a moment: a row, no worker."""

    until: datetime
    why: str = ""


@dataclass(frozen=True, slots=True)
class Finish:
    """The end. With `failure` (a class such as `diverged`) the run fails and `detail` says why.

    `spent` is what a recording knows of a completed run as a whole only: booked once, as no step's.
    """

    result: Any = None
    failure: str = ""
    detail: str = ""
    spent: Recorded | None = None


Ask = AskModel | UseTool | Delegate | Wait | Finish
Turn = Sequence[Ask]


@dataclass(frozen=True, slots=True)
class Event:
    """A step as a program sees it. `state` is a Step state; `output` is what the model said or the tool returned;
    `error` says why it failed or was refused. `turn` is the seq of the first step asked for together with this one."""

    seq: int
    turn: int
    kind: str
    name: str
    state: str
    input: Any
    output: Any
    error: str = ""
    call_id: str = ""


@dataclass(frozen=True, slots=True)
class Assignment:
    """What a program knows besides history: the run's objective and input and its release's bundle."""

    run_id: UUID
    objective: str
    input: Json
    bundle: Json
    seed: int


class Program(Protocol):
    """A pure function of history: the same assignment and events always give the same turn."""

    def next(self, assignment: Assignment, history: Sequence[Event]) -> Turn:
        """What to do now."""
        ...


# --- what gates judge -----------------------------------------------------------------------------------------------
@dataclass(frozen=True, slots=True)
class Answer:
    """What a person said about a held or doubted step.

    kind: approved | edited | rejected | asked (`reason` is a question to the agent) | expired | lapsed (nobody
    answered, and the owner of a tool elsewhere lets its agent go on then) | outcome (a person did it; `outcome` is the
    result) | absent (in doubt: it did not happen, do it now) | delegated (a run that this one started has ended).
    """

    kind: str
    by_id: UUID | None
    by_name: str
    reason: str = ""
    arguments: Json | None = None
    outcome: Any = None
    approval_id: UUID | None = None


@dataclass(frozen=True, slots=True)
class Action:
    """One step about to be taken, as gates see it. `facts` may be extended by a gate for those after it.

    kind: model | tool | delegate. `arguments` are validated already. `answer` is set when a person has answered a hold.
    `compensates` is the seq of the act that this one takes back. `risk` is its tool's; None where nobody said one.
    """

    run_id: UUID
    seq: int
    kind: str
    name: str
    arguments: Json
    agent_id: UUID
    agent: str
    release_id: UUID
    release: str
    team_id: UUID
    environment: str
    tier: int
    writes: bool
    confidence: Confidence = UNKNOWN
    says: str = ""
    preview: Sequence[Mapping[str, Any]] = ()
    attempt: int = 1
    facts: Json = field(default_factory=dict)
    answer: Answer | None = None
    compensates: int | None = None
    risk: Risk | None = None

    @property
    def zone(self) -> str:
        """Green, yellow or red. To delegate is to act."""
        return Risk.of(self.risk, writes=self.writes or self.kind == "delegate").zone


class Stance(IntEnum):
    """Ordered by strictness: the highest of several answers wins."""

    ALLOW = 0
    HOLD = 1
    DENY = 2


@dataclass(frozen=True, slots=True)
class Verdict:
    """A gate's answer. `gate` and `reason` are shown to people; `detail` goes to whoever opens the question. Where
    several agreed, `parts` are their answers and this is what they say together.

    A hold may say in its `detail` what it takes to let the action through: `level` (1 to 4), `votes`, `zone` (green,
    yellow or red), `sla_minutes`, `expires_minutes`, and the `rule` that asks. One that only says `window_s` asks
    nobody: the action goes ahead after that many seconds unless somebody stops it.
    """

    stance: Stance
    gate: str = ""
    reason: str = ""
    detail: Json = field(default_factory=dict)
    parts: "Sequence[Verdict]" = ()


ALLOW = Verdict(Stance.ALLOW)


class Gate(Protocol):
    """Asked before every action. `ask` only answers. `admit` runs in the transaction that writes the intent and may
    reserve or verify there; it refuses by raising `errors.DomainError`."""

    def ask(self, action: Action) -> Verdict:
        """Allow, hold or deny."""
        ...

    def admit(self, action: Action) -> None:
        """Let through, or raise."""
        ...


# --- money ----------------------------------------------------------------------------------------------------------
@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens of one model call; None where nobody told. `input` includes cache reads and writes, as OpenTelemetry
    says."""

    input: int | None = None
    output: int | None = None
    cache_read: int | None = None
    cache_write: int | None = None
    estimated: bool = False


@dataclass(frozen=True, slots=True)
class Price:
    """What a call costs in USD. kind: priced | recorded | estimated | unpriced (amount None, never 0) | cached (0:
    nobody was called, so nothing is billed). `basis` says how."""

    amount: Decimal | None
    kind: str
    basis: Json = field(default_factory=dict)


Pricer = Callable[[str, str, Usage, datetime], Price]
"""`price(provider, model, usage, at) -> Price`, named by the setting AGENT_PRICER."""


@dataclass(frozen=True, slots=True)
class ModelRequest:
    """What the gateway sends. `chain` is the release's models, first choice first: {provider, model, base_url?,
    key_env?}.

    `tools` are {name, description, schema, writes}; `seed` makes a simulated model repeat itself; `timeout` in seconds;
    `attempt` counts the tries of the step, the same `idempotency_key` goes with all of them. `agent` and `team` are the
    slugs of who asks; `concurrency` is how many calls at a time the agent's release allows, 0 where it does not say;
    `degraded` is what the release says of the time while its first model is away.
    """

    chain: Sequence[Json]
    messages: Sequence[Json]
    tools: Sequence[Json]
    settings: Json
    seed: int
    idempotency_key: str
    timeout: float = 60.0
    attempt: int = 1
    agent: str = ""
    team: str = ""
    concurrency: int = 0
    degraded: Json = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ModelAttempt:
    """One try at one model, kept on the step. `kind` is the class of its `error`, both empty when it answered; `usage`
    is set when it may be charged for though it failed."""

    provider: str
    model: str
    started_at: datetime
    seconds: float
    error: str = ""
    usage: Usage | None = None
    kind: str = ""


@dataclass(frozen=True, slots=True)
class ModelReply:
    """What a model said: `message` is an OpenTelemetry assistant message {role, parts, finish_reason}.

    `confidences` hold what the model said of each tool call, in the order of the calls; `degraded` says why the
    question was asked as the release wants it while its first model is away.
    """

    message: Json
    provider: str
    model: str
    response_model: str
    usage: Usage
    confidences: Sequence[Confidence] = ()
    attempts: Sequence[ModelAttempt] = ()
    degraded: str = ""


@dataclass(frozen=True, slots=True)
class BilledCall:
    """One call to be booked exactly once; `(run_id, seq, attempt)` is its key."""

    run_id: UUID
    seq: int
    attempt: int
    agent_id: UUID
    team_id: UUID
    release_id: UUID
    use_case: str
    provider: str
    model: str
    usage: Usage
    price: Price
    at: datetime
