"""The API's door to what it cost: the figures of the costs page, read by the same function."""

from datetime import UTC, datetime, time, timedelta
from typing import Any

from django.utils import timezone
from ninja import Field, Query, Router, Schema

from agents.wire import ActorRequest, Moment, MomentFilter, Money, Out, Wanted, Words
from finops import reports

router = Router(tags=["costs"])

USUAL = timedelta(days=30)
GROUPS: dict[str, Any] = {"enum": list(reports.GROUPS)}


class CostOut(Out):
    """What one group of calls cost, in USD; the estimated, recorded and simulated amounts are parts of `amount`."""

    group: Words
    label: str
    amount: Money | None
    estimated_amount: Money | None
    recorded_amount: Money | None
    simulated_amount: Money | None
    calls: int
    priced_calls: int
    estimated_calls: int
    unpriced_calls: int
    tokens_in: int | None
    tokens_out: int | None


class CostsOut(Out):
    """A report over the ledger, whole."""

    group_by: str
    since: Moment
    until: Moment | None
    total: CostOut
    items: list[CostOut]
    next_cursor: None = None


class CostFilters(Schema):
    """Which calls, and how they are put together."""

    group_by: str = Field("agent", json_schema_extra=GROUPS)
    since: MomentFilter = None
    until: MomentFilter = None
    agent: Wanted = ""
    team: Wanted = ""
    use_case: Wanted = ""
    provider: Wanted = ""
    model: Wanted = ""

    @property
    def narrowed(self) -> dict[str, str]:
        """The filters that were given."""
        given = {name: getattr(self, name) for name in reports.FILTERS}
        return {name: value for name, value in given.items() if value}


@router.get("", response=CostsOut, operation_id="list_costs", summary="What it cost")
def list_costs(request: ActorRequest, filters: Query[CostFilters]) -> CostsOut:
    """Sums over the ledger, which has one entry per billed call."""
    since = filters.since or _usual_start(filters.until)
    rows = reports.costs(
        filters.group_by,
        user=request.actor,
        since=since,
        until=filters.until,
        zone=UTC,
        filters=filters.narrowed,
    )
    return CostsOut(
        group_by=filters.group_by,
        since=since,
        until=filters.until,
        total=CostOut.taken_from(reports.total(rows)),
        items=[CostOut.taken_from(row) for row in rows],
    )


def _usual_start(until: datetime | None) -> datetime:
    """Thirty days before the end, from midnight on."""
    return datetime.combine(((until or timezone.now()) - USUAL).date(), time(), tzinfo=UTC)
