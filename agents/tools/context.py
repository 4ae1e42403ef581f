"""What the author of a tool meets: the context a tool may ask for, the records it names, the error it may raise."""

from dataclasses import dataclass
from decimal import Decimal
from uuid import UUID

from agents.cancellation import Cancellation


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolContext:
    """For whom and why a tool is used right now.

    `idempotency_key` is the same for every attempt at a step: pass it on to whoever can refuse to act twice. `seed`
    makes what looks random repeatable. `cancellation` tells a tool that works in pieces when to stop.
    """

    run_id: UUID
    seq: int
    attempt: int
    idempotency_key: str
    environment: str
    agent: str
    team_id: UUID
    seed: int
    cancellation: Cancellation


@dataclass(frozen=True, slots=True)
class Touched:
    """A record outside that an act changes: what it is, whose it is, for how much (in `currency`, ISO 4217)."""

    kind: str
    record: str
    customer: str = ""
    amount: Decimal | None = None
    currency: str = ""


class ToolError(Exception):
    """A tool could not do it. `permanent`: the same use would fail again, so nobody need try."""

    def __init__(self, message: str, *, permanent: bool = True, kind: str = "") -> None:
        super().__init__(message)
        self.permanent = permanent
        self.kind = kind or type(self).__name__
