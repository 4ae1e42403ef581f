"""Alike requests as one row of the queue: the first of them stands for all, with how many more there are."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from django.db.models import Count, Exists, OuterRef, Q

from agents.keyset import Cut
from agents.models import User
from approvals.bulk import fitness
from approvals.models import FIT, Approval, ApprovalQuerySet

MOST_SHOWN = 100
"""Rows of a group that one page shows, each to be looked at; more of them are decided by a job, named by number."""
LONGEST_VALUE = 80


def leaders(found: ApprovalQuerySet) -> ApprovalQuerySet:
    """The rows of the queue: whatever stands alone, and of what can be decided together the first of each group.

    A row asks for itself whether one of its group stands before it (one probe of `approval_groups`), so that a page
    costs what it shows and not what is open. Whoever sees a row sees its team, thus all of its group.
    """
    due, pk = OuterRef("due_at"), OuterRef("pk")
    before = Q(due_at__lte=due) & (Q(due_at__lt=due) | Q(pk__lt=pk))
    group = Approval.objects.filter(FIT, before, team_id=OuterRef("team_id"), alike=OuterRef("alike"))
    rows: ApprovalQuerySet = found.filter(~FIT | Q(alike="") | ~Exists(group))
    return rows


def counted(page: Cut[Approval], user: User) -> Cut[Approval]:
    """Each row of a page with `more`: how many others it stands for."""
    groups = {(row.team_id, row.alike) for row in page.rows if row.alike}
    alike = Approval.objects.visible_to(user).filter(FIT, alike__in={name for _, name in groups})
    sizes = {
        (team, name): size
        for team, name, size in alike.order_by().values_list("team_id", "alike").annotate(size=Count("pk"))
    }
    for row in page.rows:
        is_first = (row.team_id, row.alike) in sizes and is_fit(row)
        row.more = sizes[row.team_id, row.alike] - 1 if is_first else 0
    return page


def is_fit(approval: Approval) -> bool:
    """Whether it may stand in a group: what `FIT` asks of a row, of one that is at hand."""
    return approval.is_open and not fitness.unfit(approval)


@dataclass(frozen=True, slots=True)
class Table:
    """Members of a group beside each other: what they share once, a column for each value that differs, whether their
    tool says what changes, and what their runs are for: in one sentence, or with each where it is not the same."""

    shared: Sequence[tuple[str, str]]
    columns: Sequence[str]
    rows: Sequence[tuple[Approval, Sequence[tuple[str, str]]]]
    changes: bool
    because: str


def table(members: Sequence[Approval]) -> Table:
    """What is the same and what differs, in the order in which the arguments stand."""
    values = [{name: written(value) for name, value in one.arguments.items()} for one in members]
    names = list(dict.fromkeys(name for one in values for name in one))
    same = [name for name in names if len({one.get(name) for one in values}) == 1]
    differing = [name for name in names if name not in same]
    given = zip(members, values, strict=True)
    rows = [(one, [(name, its.get(name, "—")) for name in differing]) for one, its in given]
    shared = [(name, values[0][name]) for name in same]
    whys = {one.run.objective for one in members}
    because = whys.pop() if len(whys) == 1 else ""
    return Table(shared, differing, rows, any(one.preview for one in members), because)


def written(value: Any) -> str:
    """A value in a cell: short enough that rows stay rows."""
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return text if len(text) <= LONGEST_VALUE else f"{text[: LONGEST_VALUE - 1]}…"
