"""Handing a question to somebody else who may decide it, with a note.

It is a claim made for another: they hold it for as long as a shift lasts, others leave it to them, and what they do not
decide in that time goes back to everybody. Whoever may decide it can still take it over with a reason.
"""

from datetime import timedelta
from uuid import UUID

from django.db import transaction
from django.db.models import Q
from django.utils import timezone

from agents import errors
from agents.audit import log as audit
from agents.models import Permission, User
from agents.people.models import GRANTS
from approvals import asking, claiming, duties, limits, signals
from approvals.delegation_models import Delegation
from approvals.models import Approval

MOST = 100
"""Colleagues that are offered by name; anybody else can be typed."""

LASTS = timedelta(hours=8)
"""How long it is theirs alone."""


def delegate(approval: Approval, *, to: User, note: str, by: User, request_id: UUID) -> Delegation:
    """Give a question to `to`. The same request id is one act. Raises `Forbidden` where this person may not decide it,
    `Conflict` where somebody else holds it, it is closed, or `to` may not decide it either."""
    claiming.require(by, approval, "approval.delegated")
    if not note.strip():
        raise errors.Invalid("Say why you hand it over; whoever gets it reads this first.", field="note")
    limits.require_short(note, "note")
    with transaction.atomic():
        found = claiming.lock(approval)
        if earlier := Delegation.objects.filter(request_id=request_id).first():
            return _same(earlier, found, to, by)
        _require_fit(found, to, by)
        made: Delegation = Delegation.objects.create(
            approval=found, to=to, by=by, note=note.strip(), request_id=request_id
        )
        claiming.keep(found, to, timezone.now() + LASTS)
        audit.record(
            "approval.delegated",
            about=found,
            by=by,
            reason=made.note,
            request_id=request_id,
            to=to.username,
            **asking.links(found),
        )
        signals.approval_claimed.send(Approval, **asking.subject(found))
        signals.approval_delegated.send(Approval, approval=found, to=to)
    return made


def _same(earlier: Delegation, approval: Approval, to: User, by: User) -> Delegation:
    if (earlier.approval_id, earlier.to_id, earlier.by_id) != (approval.pk, to.pk, by.pk):
        raise errors.Conflict("This request id was used for something else; make a new one.", field="request_id")
    return earlier


def _require_fit(approval: Approval, to: User, by: User) -> None:
    """Somebody else, a person, who may decide it; and nobody else is at work on it."""
    claiming.require_free(by, approval)
    if to.pk == by.pk:
        raise errors.Conflict("It is with you already; choose somebody else.", field="to")
    if to.kind != User.Kind.PERSON or not to.is_active:
        raise errors.Conflict(f"{to.name} cannot decide it: only people who can sign in do.", field="to")
    if why := duties.refusal_of_absent(to, approval):
        raise errors.Conflict(f"{to.name} cannot decide it and would be told: “{why}”", field="to")


def named(username: str) -> User:
    """Whoever is called so. Raises `Invalid` where nobody is."""
    try:
        return User.objects.get_by_natural_key(username.strip())
    except User.DoesNotExist:
        remedy = "Give the name that a colleague who may decide it signs in with; the form on the page offers them."
        raise errors.Invalid(f"`to`: there is nobody called {username.strip()!r}. {remedy}", field="to") from None


def colleagues(approval: Approval, by: User) -> list[User]:
    """Who else may decide it, by name."""
    where = Q(memberships__team=approval.team_id) | Q(memberships__team__isnull=True)
    people = User.objects.filter(where, is_active=True, kind=User.Kind.PERSON).exclude(pk=by.pk)
    may = people.filter(memberships__role__in=GRANTS[Permission.DECIDE]).distinct().order_by("name")
    return [one for one in may[:MOST] if not duties.refusal_of_absent(one, approval)]


def last(approval: Approval) -> Delegation | None:
    """How it came to whoever holds it, where somebody handed it over."""
    holder = approval.held_by
    if holder is None:
        return None
    found: Delegation | None = approval.delegations.select_related("by", "to").order_by("-id").first()
    return found if found and found.to_id == holder.pk else None
