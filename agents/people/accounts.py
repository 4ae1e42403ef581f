"""Making accounts and keys: people who sign in, service accounts that a token speaks for.

Apart from the models because these are acts: checked, announced to the audit log, and open only to administrators.
A token is `ck_` and 32 random bytes; only its SHA-256 is kept, which is enough for a secret that nobody can guess.
"""

import hashlib
import re
import secrets
from datetime import datetime, timedelta
from typing import Any

from django.contrib.auth.password_validation import validate_password
from django.core.exceptions import ValidationError
from django.db import transaction
from django.utils import timezone

from agents import errors, signals
from agents.people.models import Membership, Permission, Role, Team, Token, User

PREFIX = "ck_"
SHOWN = 10  # characters of a token that lists may show
NOTED_EVERY = timedelta(minutes=1)
_NAME = re.compile(r"[\w.@+-]{1,80}")


@transaction.atomic
def create_user(
    username: str, *, role: str, team: Team | None = None, password: str | None = None, by: User | None
) -> User:
    """A person with one role, in a team or (None) everywhere. Without a password nobody can sign in as them."""
    _require_administrator(by, team)
    user = User(username=_free(username), name=username)
    if password is not None:
        _require_good(password, user)
    user.set_password(password)
    user.save()
    _admit(user, role, team)
    _announce("person.created", user, by, role=role, team=team.slug if team else None)
    return user


@transaction.atomic
def create_token(
    name: str,
    *,
    role: str,
    owner: User | None,
    by: User | None,
    expires_at: datetime | None = None,
    team: Team | None = None,
) -> tuple[Token, str]:
    """A service account called `name` and the key to it, which is shown this once.

    `owner` is the person behind it: what either of them started, neither may decide.
    """
    _require_administrator(by, team)
    if owner is not None and owner.kind != User.Kind.PERSON:
        raise errors.Invalid(f"{owner} is a service account; only a person can stand behind a token.", field="owner")
    if expires_at is not None and expires_at <= timezone.now():
        raise errors.Invalid("A token has to expire in the future.", field="expires_at")
    user = User(username=_free(name), name=name, kind=User.Kind.SERVICE, owner=owner)
    user.set_unusable_password()
    user.save()
    _admit(user, role, team)
    plain = PREFIX + secrets.token_urlsafe(32)
    token = Token.objects.create(
        user=user, name=name, prefix=plain[:SHOWN], digest=_digest(plain), expires_at=expires_at
    )
    told: dict[str, Any] = {"team": team.slug if team else None, "behind": owner.username if owner else None}
    _announce("token.created", token, by, role=role, until=expires_at.isoformat() if expires_at else None, **told)
    return token, plain


def authenticate(plain: str) -> User | None:
    """The account that a token speaks for; None for anything unknown, revoked, expired or switched off."""
    if not plain.startswith(PREFIX):
        return None
    now = timezone.now()
    token = Token.objects.select_related("user__owner").filter(digest=_digest(plain), revoked_at=None).first()
    if token is None or (token.expires_at and token.expires_at <= now):
        return None
    if not token.user.is_active or (token.user.owner and not token.user.owner.is_active):
        return None
    if token.last_used_at is None or now - token.last_used_at >= NOTED_EVERY:
        Token.objects.filter(pk=token.pk).update(last_used_at=now)
    return token.user


@transaction.atomic
def revoke_token(token: Token, *, by: User | None, reason: str = "") -> None:
    """End a key at once and for good; its account stays, since the log speaks of it."""
    _require_administrator(by, None)
    if not Token.objects.filter(pk=token.pk, revoked_at=None).update(revoked_at=timezone.now()):
        raise errors.Conflict(f"The token {token.name} is revoked already.")
    token.refresh_from_db()
    _announce("token.revoked", token, by, reason=reason)


def _announce(verb: str, about: User | Token, by: User | None, *, reason: str = "", **detail: Any) -> None:
    signals.account_changed.send(type(about), verb=verb, about=about, by=by, reason=reason, detail=detail)


def _digest(plain: str) -> str:
    return hashlib.sha256(plain.encode()).hexdigest()


def _require_administrator(by: User | None, team: Team | None) -> None:
    """An administrator of a team makes accounts for that team only; `by=None` is whoever runs the installation."""
    if by is not None and not by.may(Permission.ADMINISTER, team.pk if team else None):
        raise errors.Forbidden(
            f"You may not make or end accounts in {team or 'every team'}; that takes the role admin."
        )


def _require_good(password: str, user: User) -> None:
    try:
        validate_password(password, user)
    except ValidationError as error:
        raise errors.Invalid(" ".join(error.messages), field="password") from error


def _free(username: str) -> str:
    """A name that can be typed into a command and that nobody has, whatever the case."""
    if not _NAME.fullmatch(username):
        sentence = (
            f"{username!r} cannot be an account's name: use up to 80 letters, digits and . @ + - _ without spaces."
        )
        raise errors.Invalid(sentence, field="username")
    if User.objects.filter(username__iexact=username).exists():
        raise errors.Conflict(f"There is an account called {username} already; choose another name.", field="username")
    return username


def _admit(user: User, role: str, team: Team | None) -> None:
    if role not in Role.values:
        raise errors.Invalid(f"{role!r} is no role; there are {', '.join(Role.values)}.", field="role")
    if role == Role.AGENT and user.kind == User.Kind.PERSON:
        raise errors.Invalid("The role agent is for the tokens of programs; a person cannot hold it.", field="role")
    Membership.objects.create(user=user, team=team, role=role)
