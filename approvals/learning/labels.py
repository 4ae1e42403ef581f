"""Labels: what each decision says about an act, for whoever trains a model on it.

Derived and never stored: a decision cannot change, and what is deleted with its run is in no copy. Only what a reviewer
had before their eyes could not be known afterwards, so that is kept as a `Look`.
"""

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from django.db.models import QuerySet

from agents.contracts import Json
from agents.keyset import cut
from agents.models import User
from agents.wire import say_moment
from approvals.learning import outcomes
from approvals.learning.models import Look
from approvals.models import Approval, Decision

AT_A_TIME = 500
LEEWAY = timedelta(minutes=5)
"""How much older than its decision an id may be: it is made first, and clocks of hosts differ."""


@dataclass(frozen=True, slots=True)
class Label:
    """One lesson. `context` is what was asked and how sure the agent was, `correction` what a person wanted instead
    (None: nothing), `rationale` their reason, `right` what it says of the agent (None: nothing), and `outcome` in one
    word."""

    id: UUID
    at: datetime
    agent: str
    team: str
    release: str
    run: UUID
    seq: int
    context: Json
    answer: str
    correction: Json | None
    rationale: str
    right: bool | None
    outcome: str | None
    reviewer: str
    seconds: float
    looked_s: float | None
    planted: bool


def decisions(user: User | None, *, agents: Sequence[UUID] = (), since: datetime | None = None) -> QuerySet[Decision]:
    """Decisions that a person may see (None: all), as `labelled` needs them; of some agents, from a moment on."""
    related = ("by", "approval__plant", "approval__agent", "approval__team", "approval__release")
    found = Decision.objects.select_related(*related).defer("approval__release__bundle")
    if user is not None:
        found = found.filter(approval__in=Approval.objects.visible_to(user))
    if agents:
        found = found.filter(approval__agent__in=agents)
    if since:
        found = found.filter(at__gte=since, pk__gte=floor(since))
    return found.annotate(came_to=outcomes.of_decisions())


def floor(since: datetime) -> UUID:
    """No id (UUIDv7) of a decision made since then is smaller: lists are read by id and end there."""
    milliseconds = max(0, int((since - LEEWAY).timestamp() * 1000))
    return UUID(int=milliseconds << 80)


def labelled(rows: Sequence[Decision]) -> list[Label]:
    """The labels of decisions that `decisions` found, in one more query however many there are."""
    asked = [row.approval_id for row in rows]
    looks = {(one.approval_id, one.by_id): one for one in Look.objects.filter(approval__in=asked)}
    return [_label(row, looks.get((row.approval_id, row.by_id))) for row in rows]


def every(found: QuerySet[Decision]) -> Iterator[Label]:
    """All of them, the newest first, a few hundred in memory at a time."""
    cursor: str | None = ""
    while cursor is not None:
        labels, cursor = some(found, cursor)
        yield from labels


def some(found: QuerySet[Decision], cursor: str) -> tuple[list[Label], str | None]:
    """The next few hundred of them, and where it goes on (None: these are the last)."""
    page = cut(found, key="-id", limit=AT_A_TIME, cursor=cursor)
    return labelled(page.rows), page.next_cursor


def line(label: Label) -> str:
    """A label as a line of a JSONL file."""
    told = {name: _said(value) for name, value in asdict(label).items()}
    return json.dumps(told, ensure_ascii=False) + "\n"


def _said(value: Any) -> Any:
    if isinstance(value, datetime):
        return say_moment(value)
    return str(value) if isinstance(value, UUID) else value


def _label(decision: Decision, look: Look | None) -> Label:
    asked = decision.approval
    outcome: str | None = decision.came_to  # type: ignore[attr-defined]  # annotated
    return Label(
        id=decision.pk,
        at=decision.at,
        agent=asked.agent.slug,
        team=asked.team.slug,
        release=asked.release.version,
        run=asked.run_id,
        seq=asked.seq,
        context=_context(asked, look),
        answer=decision.answer,
        correction=_correction(decision),
        rationale=decision.reason,
        right=None if outcome is None else outcome in outcomes.RIGHT,
        outcome=outcome,
        reviewer=decision.by.username,
        seconds=round(decision.seconds, 3),
        looked_s=round((decision.at - look.at).total_seconds(), 3) if look else None,
        planted=hasattr(asked, "plant") and asked.plant.revealed_at is not None,
    )


def _context(asked: Approval, look: Look | None) -> Json:
    """What was asked, as it was asked; `shown` is the digest of what this reviewer had before their eyes."""
    return {
        "kind": asked.kind,
        "tool": asked.tool,
        "arguments": asked.arguments,
        "says": asked.says,
        "preview": asked.preview,
        "tier": asked.tier,
        "zone": asked.zone,
        "level": asked.level,
        "confidence": {"value": asked.confidence, "source": asked.confidence_source},
        "reasons": asked.reasons,
        "digest": asked.digest,
        "shown": look.digest if look else None,
    }


def _correction(decision: Decision) -> Json | None:
    """What the reviewer wanted instead: which arguments, or that it does not happen."""
    if decision.answer == Decision.Answer.REJECT:
        return {"kind": "reject", "code": decision.code or None}
    if decision.arguments is None:
        return None
    before, after = decision.approval.arguments, decision.arguments
    changed = [name for name in sorted(before.keys() | after.keys()) if before.get(name) != after.get(name)]
    edits = [{"argument": name, "before": before.get(name), "after": after.get(name)} for name in changed]
    return {"kind": "edit", "arguments": after, "edits": edits}
