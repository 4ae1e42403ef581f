"""What somebody chose to decide together: requests they ticked, whole groups, or all that match a filter."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from uuid import UUID

from django.db.models import Count, Q

from agents import errors
from agents.models import User
from approvals import queue
from approvals.bulk import fitness
from approvals.models import FIT, Approval, ApprovalQuerySet
from approvals.queue import Filters

JUDGED = ("kind", "tier", "zone", "level", "votes_needed")
"""What decides whether a request can be decided with others."""


@dataclass(frozen=True, slots=True)
class Choice:
    """Ticked requests (`ids`) and groups (any member of each), or, with `filters`, all that match; of groups and of
    what matches only what was asked `until` then: what came after somebody looked is not decided with what they saw.
    """

    ids: Sequence[UUID] = ()
    groups: Sequence[UUID] = ()
    filters: Filters | None = None
    until: datetime | None = None

    @property
    def words(self) -> str:
        """What was chosen, as the filter's query or in words."""
        if self.filters is not None:
            return self.filters.as_words or "everything that waits"
        groups = f"{len(self.groups)} group{'s' * (len(self.groups) > 1)} of alike ones" if self.groups else ""
        return " and ".join(filter(None, [f"{len(self.ids)} selected" if self.ids else "", groups]))


def select(choice: Choice, user: User) -> ApprovalQuerySet:
    """The requests that were chosen, of those that this person can see. Ticked ones are kept though they are closed
    meanwhile: they are named with who was faster."""
    seen = Approval.objects.visible_to(user)
    if choice.filters is not None:
        found = queue.select(user, replace(choice.filters, state="")).order_by()
        return found.filter(_asked(choice.until))
    chosen = Q(pk__in=choice.ids)
    for team_id, alike in seen.filter(pk__in=choice.groups).values_list("team_id", "alike"):
        chosen |= Q(FIT, _asked(choice.until), team_id=team_id, alike=alike)
    return seen.filter(chosen)


def _asked(until: datetime | None) -> Q:
    return Q(requested_at__lte=until) if until else Q()


def members(leader: Approval, user: User) -> ApprovalQuerySet:
    """What stands in one row with this one, itself included, in the order of the queue."""
    alike = FIT & Q(team_id=leader.team_id, alike=leader.alike) if leader.alike else Q(pk=leader.pk)
    found: ApprovalQuerySet = Approval.objects.visible_to(user).filter(alike).order_by("due_at", "id")
    return found


@dataclass(frozen=True, slots=True)
class Outlook:
    """How many were chosen, how many of them can be decided together, and why the others cannot."""

    total: int
    fit: int
    unfit: Sequence[tuple[str, int]]


def outlook(choice: Choice, user: User) -> Outlook:
    """Counted now, in one query. Who may decide what is seen when it is decided."""
    counted = select(choice, user).filter(state=Approval.State.OPEN).order_by().values(*JUDGED).annotate(n=Count("pk"))
    fit, unfit = 0, dict[str, int]()
    for row in counted:
        number = row.pop("n")
        sentence = fitness.unfit(Approval(**row))
        fit += number * (not sentence)
        if sentence:
            unfit[sentence] = unfit.get(sentence, 0) + number
    return Outlook(fit + sum(unfit.values()), fit, sorted(unfit.items(), key=lambda one: -one[1]))


def require_something(choice: Choice) -> None:
    """Refuse a choice of nothing, one of two kinds at once, and one that would take in what nobody has seen."""
    if choice.filters is None and not choice.ids and not choice.groups:
        raise errors.Invalid("Nothing is selected: name `ids`, or a `filter` that says which.", field="ids")
    if choice.filters is not None and (choice.ids or choice.groups):
        raise errors.Invalid("Name either `ids` or a `filter`, not both.", field="filter")
    if choice.until is None and (choice.groups or choice.filters is not None):
        raise errors.Invalid(
            "Say `until` when you looked: what was asked after that is not decided with what you saw.", field="until"
        )
