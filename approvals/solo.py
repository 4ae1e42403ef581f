"""Solo mode: the separation of duties lifted for one named person, where there is nobody else.

It is switched on from the shell only, with a reason; every page shows it, and every decision that it allowed says so.
It lifts nothing else: neither the role, nor the second factor, nor how many people it takes.
"""

from collections.abc import Sequence

from django.db import IntegrityError, transaction
from django.utils import timezone

from agents import errors
from agents.audit import log as audit
from agents.models import User
from approvals.models import Solo


def is_on(user: User) -> bool:
    """Whether this very account, and not one of its tokens, is exempt."""
    return Solo.objects.filter(user=user.pk, ended_at=None).exists()


def in_force() -> Sequence[Solo]:
    """For whom it is on, the longest first."""
    return list(Solo.objects.filter(ended_at=None).select_related("user").order_by("since"))


@transaction.atomic
def switch_on(user: User, *, reason: str) -> Solo:
    """Let one person decide what they started and what they own."""
    if not reason.strip():
        raise errors.Invalid("Say why there is nobody else to decide: everybody will read it.", field="reason")
    if user.kind != User.Kind.PERSON or not user.is_active:
        raise errors.Invalid(f"{user} is not a person who can sign in; solo mode is for one.", field="name")
    try:
        with transaction.atomic():
            made: Solo = Solo.objects.create(user=user, reason=reason.strip())
    except IntegrityError:
        raise errors.Conflict(f"Solo mode is on for {user} already.") from None
    audit.record("solo.switched_on", about=user, by=None, reason=made.reason)
    return made


@transaction.atomic
def switch_off(user: User, *, reason: str = "") -> None:
    """Nobody decides alone any more."""
    if not Solo.objects.filter(user=user, ended_at=None).update(ended_at=timezone.now()):
        raise errors.Conflict(f"Solo mode is not on for {user}.")
    audit.record("solo.switched_off", about=user, by=None, reason=reason)
