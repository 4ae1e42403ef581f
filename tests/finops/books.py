"""Ways to fill the ledger. Plain functions with defaults that a test need not name."""

from datetime import UTC, datetime
from decimal import Decimal
from uuid import UUID

from uuid_utils.compat import uuid7

from agents.contracts import BilledCall, Price, Usage
from agents.models import Agent
from finops import ledger
from tests import factories

NOON = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)
USED = Usage(100, 10)


def agent(slug: str = "desk", *, team: str = "service", use_case: str = "tickets") -> Agent:
    """An agent of a team."""
    return factories.agent(slug, of=factories.team(team), use_case=use_case)


def call(
    of: Agent,
    amount: str | None = "0.01",
    *,
    run_id: UUID | None = None,
    seq: int = 1,
    attempt: int = 1,
    kind: str = "",
    at: datetime = NOON,
    usage: Usage = USED,
    provider: str = "openai",
    model: str = "gpt-4o",
) -> BilledCall:
    """A call as the runner would bill it; of a run of its own unless one is named."""
    assert of.release_id
    price = Price(None if amount is None else Decimal(amount), kind or ("unpriced" if amount is None else "priced"))
    return BilledCall(
        run_id=run_id or uuid7(),
        seq=seq,
        attempt=attempt,
        agent_id=of.id,
        team_id=of.team_id,
        release_id=of.release_id,
        use_case=of.use_case,
        provider=provider,
        model=model,
        usage=usage,
        price=price,
        at=at,
    )


def spend(of: Agent, amount: str | None = "0.01", **fields: object) -> BilledCall:
    """Book a call; what was booked."""
    made = call(of, amount, **fields)  # type: ignore[arg-type]  # the fields of `call`
    ledger.book(made)
    return made
