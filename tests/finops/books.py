"""Ways to fill the ledger: who works here, what they spent. Plain functions with defaults that a test need not name."""

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

from uuid_utils.compat import uuid7

from agents.contracts import BilledCall, Price, Usage
from agents.models import Agent, Membership, Release, Run, Team, User
from finops import ledger

NOON = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)
USED = Usage(100, 10)


def agent(slug: str = "desk", *, team: str = "care", use_case: str = "tickets") -> Agent:
    """An agent with one release, in a team that is made when it is missing."""
    place, _ = Team.objects.get_or_create(slug=team, defaults={"name": team.title()})
    made = Agent.objects.create(slug=slug, name=slug.title(), team=place, use_case=use_case)
    bundle = {"models": [{"provider": "simulated", "model": "sim-large"}]}
    made.release = Release.objects.create(agent=made, version="1.0", digest=slug * 8, program="llm", bundle=bundle)
    made.save()
    return made


def run(of: Agent, **fields: Any) -> Run:
    """A run of an agent."""
    assert of.release
    return Run.objects.create(agent=of, release=of.release, team=of.team, objective="answer a ticket", **fields)


def person(name: str, *, role: str, team: str | None) -> User:
    """Somebody with a role in a team, or in every team when none is named."""
    made = User.objects.create_user(name)
    place = Team.objects.get_or_create(slug=team, defaults={"name": team.title()})[0] if team else None
    Membership.objects.create(user=made, role=role, team=place)
    return made


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


def spend(of: Agent, amount: str | None = "0.01", **fields: Any) -> BilledCall:
    """Book a call; what was booked."""
    made = call(of, amount, **fields)
    ledger.book(made)
    return made
