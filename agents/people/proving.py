"""Showing a second factor to this session: what a form asks for, and what came with it.

Between the doors and the factors: pages of every app put the same fields into their forms, and the same click that
acts shows the factor first.
"""

from dataclasses import dataclass
from datetime import datetime

from django.db import transaction
from django.http import HttpRequest
from django.utils import timezone

from agents import errors, signals
from agents.people import factors, tries
from agents.people.assurance import Assurance, Door, fresh_for
from agents.people.models import User

SHOWN_AT = "second_factor_at"


@dataclass(frozen=True, slots=True)
class Proof:
    """What the fields of a form ask for: a code, a passkey, or where there is no factor the password."""

    code: bool = False
    passkey: bool = False
    password: bool = False

    @property
    def minutes(self) -> int:
        """How long it counts."""
        return int(fresh_for().total_seconds() // 60)


NOTHING = Proof()


def wanted(user: User, *, password: bool = False) -> Proof:
    """What this person has to show now; nothing while the last time is fresh."""
    if user.assurance.is_fresh:
        return NOTHING
    held = factors.kinds(user)
    if not held:
        return Proof(password=password)
    return Proof(code=bool(held - {factors.PASSKEY}), passkey=factors.PASSKEY in held)


def of_session(request: HttpRequest) -> Assurance:
    """How sure this session is who sits there."""
    text = request.session.get(SHOWN_AT)
    return Assurance(Door.BROWSER, datetime.fromisoformat(text) if text else None)


def note(request: HttpRequest, user: User) -> None:
    """Keep that a factor was shown in this session just now."""
    now = timezone.now()
    request.session[SHOWN_AT] = now.isoformat()
    user.assurance = Assurance(Door.BROWSER, now)


def prove(request: HttpRequest, user: User) -> None:
    """Check the factor that came with a form, if one is wanted and came; raises `Invalid` when it is not right."""
    came = request.POST.get("factor_code", "").strip() or request.POST.get("passkey")
    if not came or user.assurance.is_fresh:
        return
    try:
        with transaction.atomic():  # the lock on the factor is kept until the second of two clicks can see this one
            kind = _judged(request, user)
            note(request, user)
            request.session.save()
    except errors.Invalid as error:
        if _came_twice(request, user):
            return
        error.field = "factor_code"  # as the forms of pages call it
        _refused(request, user, error)
        raise
    _accepted(user, kind)


def require_fresh(user: User, what: str) -> None:
    """Refuse what takes a second factor to anybody who has not shown one just now: `what` is `Publishing a policy`."""
    if user.assurance.door != Door.BROWSER:
        raise errors.Forbidden(f"{what} takes a person with a second factor, in the browser.")
    if not factors.kinds(user):
        raise errors.Forbidden(f"{what} takes a second factor; set one up at /me/security/ first.")
    if not user.assurance.is_fresh:
        minutes = wanted(user).minutes
        raise errors.Forbidden(f"{what} takes your second factor, shown within the last {minutes} minutes.")


def check(request: HttpRequest, user: User) -> str:
    """The kind of factor that came with this form; wrong ones are counted, and kept in the log."""
    try:
        kind = _judged(request, user)
    except errors.Invalid as error:
        _refused(request, user, error)
        raise
    _accepted(user, kind)
    return kind


def _judged(request: HttpRequest, user: User) -> str:
    code, credential = request.POST.get("factor_code", "").strip(), request.POST.get("passkey", "")
    if not code:
        return factors.check_passkey(user, credential)
    if tries.are_used_up(_key(user)):
        raise errors.Invalid(f"Too many wrong codes. Wait {tries.FORGET_AFTER // 60} minutes, then try again.")
    return factors.check_code(user, code)


def _refused(request: HttpRequest, user: User, error: errors.Invalid) -> None:
    if request.POST.get("factor_code", "").strip():
        tries.count(_key(user))
    signals.account_changed.send(
        User, verb="person.factor_shown", about=user, by=user, reason=error.message, outcome="denied", detail={}
    )


def _accepted(user: User, kind: str) -> None:
    tries.forget(_key(user))
    signals.account_changed.send(
        User, verb="person.factor_shown", about=user, by=user, reason="", detail={"factor": kind}
    )


def _key(user: User) -> str:
    return f"second_factor:{user.pk}"


def _came_twice(request: HttpRequest, user: User) -> bool:
    """Whether the first of two clicks has shown the same factor meanwhile, in this very session."""
    text = type(request.session)(request.session.session_key).get(SHOWN_AT)
    if text:
        request.session[SHOWN_AT] = text
        user.assurance = of_session(request)
    return user.assurance.is_fresh
